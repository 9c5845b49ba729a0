"""What a run costs, measured on what really ran: FLOPs, encoder passes, tokens, memory, utilisation."""

from __future__ import annotations

import resource
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from workbench.models.attention import attention
from workbench.models.video import VideoEncoder
from workbench.recipe.base import BaseRecipe


@dataclass(frozen=True)
class StepCost:
    """One training step. FLOPs count a multiply-add as two, as `torch.utils.flop_counter` does."""

    flops: float
    """Forward and backward, whole batch."""
    video_flops: float
    """Forward through the video encoder, whole batch, all passes."""
    text_flops: float
    """Forward through the text encoder, whole batch."""
    video_passes: float
    """Sequences encoded by the video transformer per clip (twice the batch counts as two)."""
    text_passes: float
    tokens_in: int
    """Tokens of a clip before masking."""
    tokens_out: float
    """Tokens encoded per clip, over all passes, class tokens excluded."""

    def metrics(self, batch: int) -> dict[str, float]:
        return {
            "cost/train_gflops_per_clip": self.flops / batch / 1e9,
            "cost/video_gflops_per_clip": self.video_flops / batch / 1e9,
            "cost/text_gflops_per_clip": self.text_flops / batch / 1e9,
            "cost/video_passes": self.video_passes,
            "cost/text_passes": self.text_passes,
            "cost/video_tokens_in": float(self.tokens_in),
            "cost/video_tokens_out": self.tokens_out,
        }


def measured(
    recipe: BaseRecipe, batch: int, forward: Callable[[], Tensor], backward: Callable[[Tensor], None]
) -> StepCost:
    """Runs one real step under the FLOP counter and hooks.

    Attention runs as plain matrix products meanwhile: fused kernels recompute scores in their backward
    pass and are counted differently on different devices, and equal budgets must be equal everywhere.
    """
    counter = FlopCounterMode(display=False)
    blocks, layers = list(recipe.video.blocks), _text_layers(recipe)
    video = _Side([recipe.video.project, *blocks], blocks, counter)
    text = _Side(layers, layers, counter)
    try:
        with attention(recipe, explicit=True), counter:
            backward(forward())
    finally:
        video.remove()
        text.remove()
        # Plain products keep whole score matrices, which the steps to come do not.
        if (device := next(recipe.parameters()).device).type == "cuda":
            torch.cuda.reset_peak_memory_stats(device)
    return StepCost(
        flops=float(counter.get_total_flops()),
        video_flops=video.flops,
        text_flops=text.flops,
        video_passes=video.rows / batch,
        text_passes=text.rows / batch,
        tokens_in=recipe.video.grid.tokens,
        tokens_out=video.tokens / batch,
    )


def encoder_flops(encoder: VideoEncoder, video: Tensor, mask: Tensor | None) -> int:
    """Forward FLOPs of the video encoder for these clips."""
    explicit = attention(encoder, explicit=True)
    with torch.no_grad(), explicit, FlopCounterMode(display=False) as counter:
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
        _synchronise(device)
        start = time.perf_counter()
        a @ a
        _synchronise(device)
        best = min(best, time.perf_counter() - start)
    return 2 * side**3 / best


def _synchronise(device: torch.device) -> None:
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
    """Counts the forward FLOPs of one encoder's parts, and what enters its first block."""

    def __init__(
        self, parts: Iterable[nn.Module], blocks: Sequence[nn.Module], counter: FlopCounterMode
    ) -> None:
        self.flops, self.rows, self.tokens = 0.0, 0, 0
        self._counter, self._before = counter, 0
        self._hooks = []
        for part in parts:
            self._hooks.append(part.register_forward_pre_hook(self._enter))
            self._hooks.append(part.register_forward_hook(self._leave))
        if blocks:
            self._hooks.append(blocks[0].register_forward_pre_hook(self._count))

    def remove(self) -> None:
        for hook in self._hooks:
            hook.remove()

    def _enter(self, module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        self._before = self._counter.get_total_flops()

    def _leave(self, module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        self.flops += self._counter.get_total_flops() - self._before

    def _count(self, module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        rows, length, _ = inputs[0].shape
        self.rows += rows
        self.tokens += rows * (length - 1)  # the class token is not one of the clip's


def _text_layers(recipe: BaseRecipe) -> list[nn.Module]:
    bert = getattr(getattr(recipe, "text", None), "bert", None)
    return [] if bert is None else list(bert.encoder.layer)
