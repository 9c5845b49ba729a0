"""Measured costs of a run: FLOPs, encoder passes, tokens, memory, utilisation."""

from __future__ import annotations

import resource
import sys
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Self

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from workbench import distributed
from workbench.models.attention import attention_kernels
from workbench.models.encoder import Encoder, as_written
from workbench.models.video import VideoEncoder
from workbench.recipe.base import BaseRecipe


@dataclass(frozen=True)
class EncoderCost:
    """Costs of the forward passes through one encoder, whole batch."""

    flops: float = 0.0
    rows: int = 0
    """Sequences that went through its first block (twice the batch counts as two)."""
    tokens: int = 0
    """Tokens in these, without class tokens."""


@dataclass(frozen=True)
class StepCost:
    """One training step. FLOPs count a multiply-add as two, as `torch.utils.flop_counter` does."""

    flops: float
    """FLOPs of forward and backward pass of the whole batch, and of the recipe's `after_step`."""
    batch: int
    tokens_in: int
    """Tokens of a clip before masking."""
    encoders: Mapping[str, EncoderCost]
    """By the names that the recipe gives them; `video` and `text` always."""

    def passes(self, name: str) -> float:
        """Sequences that an encoder reads per clip."""
        return self.encoders[name].rows / self.batch

    @property
    def tokens_out(self) -> float:
        """Tokens that the video encoder reads per clip, over all passes."""
        return self.encoders["video"].tokens / self.batch

    def metrics(self) -> dict[str, float]:
        """`cost/*` per clip."""
        found = {"cost/train_gflops_per_clip": self.flops / self.batch / 1e9}
        for name, cost in self.encoders.items():
            found[f"cost/{name}_gflops_per_clip"] = cost.flops / self.batch / 1e9
        for name in self.encoders:
            found[f"cost/{name}_passes"] = self.passes(name)
        return found | {
            "cost/video_tokens_in": float(self.tokens_in),
            "cost/video_tokens_out": self.tokens_out,
        }


class StepCounter:
    """Counts the FLOPs inside its `with` blocks, several of which make up one step.

    Attention runs as plain matrix products meanwhile: fused kernels recompute scores in their backward
    pass and are counted differently on different devices, and equal budgets must be equal everywhere.
    """

    def __init__(self, recipe: BaseRecipe, batch: int) -> None:
        self._recipe, self._batch = recipe, batch
        self._counter = FlopCounterMode(display=False)
        encoders: dict[str, Encoder | None] = {"video": None, "text": None}
        self._sides = {n: _Side(e, self._counter) for n, e in (encoders | recipe.encoders()).items()}
        self._flops = 0.0

    def __enter__(self) -> Self:
        self._open = ExitStack()
        self._open.callback(self._free_memory)
        for side in self._sides.values():
            self._open.enter_context(side.watching())
        self._open.enter_context(as_written(self._recipe))
        self._open.enter_context(attention_kernels(self._recipe, fused=False))
        self._open.enter_context(self._counter)
        return self

    def __exit__(self, *raised: object) -> None:
        self._open.close()
        self._flops += self._counter.get_total_flops()  # it begins anew with each block

    def _free_memory(self) -> None:
        # Plain products keep whole score matrices, which the steps to come do not.
        if (device := next(self._recipe.parameters()).device).type == "cuda":
            torch.cuda.reset_peak_memory_stats(device)

    @property
    def cost(self) -> StepCost:
        """What was counted so far, by all processes together."""
        own: list[float] = [self._flops, self._batch]
        for side in self._sides.values():
            own += [side.flops, side.rows, side.tokens]
        flops, batch, *rest = distributed.all_reduce_sum(own)
        parts = zip(rest[::3], rest[1::3], rest[2::3], strict=True)
        return StepCost(
            flops=flops,
            batch=int(batch),
            tokens_in=self._recipe.grid.tokens,
            encoders={
                name: EncoderCost(found, int(rows), int(tokens))
                for name, (found, rows, tokens) in zip(self._sides, parts, strict=True)
            },
        )


def encoder_flops(encoder: VideoEncoder, video: Tensor, mask: Tensor | None) -> int:
    """Forward FLOPs of the video encoder for these clips."""
    plain = attention_kernels(encoder, fused=False)
    with torch.no_grad(), plain, FlopCounterMode(display=False) as counter:
        encoder(video, mask)
    return counter.get_total_flops()


def peak_memory_gb(device: torch.device) -> float:
    """Largest memory so far in GB: of the accelerator, or of this process on the CPU.

    Without what is only mapped from files: every arm maps the same frame store, and the system may drop it.
    """
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 1e9
    unit = 1 if sys.platform == "darwin" else 1024
    return (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit - _mapped_from_files()) / 1e9


def _mapped_from_files() -> int:
    """Bytes of this process that are pages of files; 0 where the system does not tell."""
    try:
        lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    except FileNotFoundError:
        return 0
    return sum(int(line.split()[1]) * 1024 for line in lines if line.startswith("RssFile:"))


def matmul_flops_per_s(device: torch.device, dtype: torch.dtype, side: int = 2048) -> float:
    """Speed of a plain matrix product in this process, the yardstick of model FLOPs utilisation."""
    a = torch.randn(side, side, device=device).to(dtype)
    best = float("inf")
    for _ in range(4):
        synchronise(device)
        start = time.perf_counter()
        a @ a
        synchronise(device)
        best = min(best, time.perf_counter() - start)
    return 2 * side**3 / best


def synchronise(device: torch.device) -> None:
    """Waits until the device has done all it was given; only where time is measured."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def typical_step_seconds(rows: Iterable[Mapping[str, float]]) -> float:
    """Seconds that a step takes when nothing else gets in its way: the mean over stages of their median.

    A neighbour that holds the processor for a while, a pause, or a machine that slept would spoil the mean
    of all steps, and with it a comparison of two runs. `rows`: those of training in `metrics.jsonl`, `step`,
    `stage` and `seconds` so far; a stage counts by its steps. The first step, which sets things up, counts
    only where there is no other.
    """
    paces: dict[float, list[float]] = {}
    steps: dict[float, float] = {}
    before, earlier = 0.0, 0.0
    for row in rows:
        step, seconds, stage = row["step"], row["seconds"], row["stage"]
        if step > before:
            paces.setdefault(stage, []).append((seconds - earlier) / (step - before))
            steps[stage] = steps.get(stage, 0.0) + step - before
        before, earlier = step, seconds
    if len(paces.get(0, [])) > 1:
        paces[0] = paces[0][1:]
    return sum(steps[stage] * median(pace) for stage, pace in paces.items()) / sum(steps.values())


class _Side:
    """Counts the forward FLOPs of one encoder's modules, and what enters its first block."""

    def __init__(self, encoder: Encoder | None, counter: FlopCounterMode) -> None:
        self.flops, self.rows, self.tokens = 0.0, 0, 0
        self._encoder, self._counter, self._before = encoder, counter, 0

    @contextmanager
    def watching(self) -> Iterator[None]:
        hooks = []
        if self._encoder is not None:
            for module in self._encoder.counted:
                hooks.append(module.register_forward_pre_hook(self._enter))
                hooks.append(module.register_forward_hook(self._leave))
            if self._encoder.layers:
                hooks.append(self._encoder.layers[0].register_forward_pre_hook(self._count))
        try:
            yield
        finally:
            for hook in hooks:
                hook.remove()

    def _enter(self, module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        self._before = self._counter.get_total_flops()

    def _leave(self, module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        self.flops += self._counter.get_total_flops() - self._before

    def _count(self, module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        assert self._encoder is not None
        rows, length, _ = inputs[0].shape
        self.rows += rows
        self.tokens += rows * (length - self._encoder.extra_tokens)
