"""Which attention kernel runs: plain matrix products or PyTorch's fused kernel."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from torch import nn
from transformers import PreTrainedModel


def explicit_attention(module: nn.Module, explicit: bool) -> None:
    """Switches every timm and Hugging Face attention inside `module`.

    On processors the fused kernel's backward pass in bfloat16 takes more than twice the time of plain
    products (docs/log.md), while its forward pass is the faster one; on GPUs fused is always right.
    """
    for part in module.modules():
        if hasattr(part, "fused_attn"):
            part.fused_attn = not explicit  # type: ignore[assignment]
        if isinstance(part, PreTrainedModel):
            part.set_attn_implementation("eager" if explicit else "sdpa")


@contextmanager
def attention(module: nn.Module, *, explicit: bool) -> Iterator[None]:
    """`explicit_attention` for the length of a block; afterwards everything is as it was."""
    before = any(not getattr(part, "fused_attn", True) for part in module.modules())
    explicit_attention(module, explicit)
    try:
        yield
    finally:
        explicit_attention(module, before)
