"""How far something has come: a bar on a terminal, a few whole lines where the output goes elsewhere."""

from __future__ import annotations

import sys
from types import TracebackType
from typing import Self

from tqdm import tqdm

LINES = 10
"""Of one piece of work, where there is no terminal: a log is no place for carriage returns."""


class Progress:
    """Counts up to `total` on standard error, as a context manager.

    Args:
        total: of steps; with none nothing is shown.
        what: is done, such as `decoding clips`.
        unit: of a step, such as `clip`.
        shown: False for nothing at all.
    """

    def __init__(self, total: int, what: str, unit: str, *, shown: bool = True) -> None:
        self._total, self._what, self._unit = total, what, unit
        self._done = self._said = 0
        terminal = sys.stderr.isatty()
        self._lines = shown and total > 0 and not terminal
        self._bar = tqdm(
            total=total, desc=what, unit=unit, disable=not (shown and total and terminal), file=sys.stderr
        )

    def update(self, steps: int = 1) -> None:
        """So many more are done."""
        self._done += steps
        self._bar.update(steps)
        tenth = LINES * self._done // max(1, self._total)
        if self._lines and tenth > self._said:
            self._said = tenth
            print(f"{self._what}: {self._done} of {self._total} {self._unit}s", file=sys.stderr, flush=True)

    def say(self, text: str) -> None:
        """A line of its own on standard error, above the bar where there is one."""
        if self._bar.disable:
            print(text, file=sys.stderr, flush=True)
        else:
            self._bar.write(text, file=sys.stderr)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.close()
