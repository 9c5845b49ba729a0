"""Loss and gradient norm of recent steps, copied to the host asynchronously and checked one step late."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Mapping
from typing import NamedTuple

import torch
from torch import Tensor

LOSS, NORM = "loss", "grad_norm"


class NotFinite(ArithmeticError):
    """A loss or gradient became NaN or infinite."""


class DeferredScalars:
    """Scalars of steps on their way from the device to the host, where each is checked to be finite.

    A step that is not finite spoils the weights for those after it, until that is read. Whoever saves,
    evaluates or records has to `read` before.
    """

    def __init__(self, lag: int) -> None:
        """lag: steps that the device may be behind the host; 0 where there is none but the host."""
        self._lag = lag
        self._coming: deque[_Found] = deque()
        self.last: dict[str, float] = {}
        """The numbers that were read last."""

    @staticmethod
    def of(device: torch.device) -> DeferredScalars:
        """One step behind beside an accelerator, which then has its next step before it ends one."""
        return DeferredScalars(int(device.type != "cpu"))

    def note(self, step: int, values: Mapping[str, Tensor]) -> None:
        """Takes the terms, `loss` and `grad_norm` of a step, and reads what the lag leaves behind.

        Raises `NotFinite` for a step whose loss or gradient is not finite.
        """
        numbers = torch.stack([value.detach().double() for value in values.values()])
        # The copy fills memory of its own while the host goes on; the event says when it is complete.
        numbers, done = numbers.to("cpu", non_blocking=True), None
        if values[LOSS].device.type == "cuda":
            done = torch.cuda.Event()
            done.record()
        self._coming.append(_Found(step, tuple(values), numbers, done))
        while len(self._coming) > self._lag:
            self._take()

    def read(self) -> None:
        """Waits for all that was noted; raises `NotFinite` as `note` does."""
        while self._coming:
            self._take()

    def _take(self) -> None:
        found = self._coming.popleft()
        if found.done is not None:
            found.done.synchronize()
        self.last = dict(zip(found.names, found.numbers.tolist(), strict=True))
        bad = [name for name, value in self.last.items() if not math.isfinite(value)]
        if LOSS in bad:
            terms = " and ".join(name for name in bad if name not in (LOSS, NORM))
            raise NotFinite(f"the loss {terms or 'sum'} is not finite at step {found.step}")
        if NORM in bad:
            raise NotFinite(f"the gradient is not finite at step {found.step}")


class _Found(NamedTuple):
    step: int
    names: tuple[str, ...]
    numbers: Tensor
    done: torch.cuda.Event | None
