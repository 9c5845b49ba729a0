"""Self-attention and cross-attention, and the choice of kernel: plain matrix products or the fused one."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch.nn.functional as F
from torch import Tensor, nn
from transformers import PreTrainedModel


class Attention(nn.Module):
    """Attention of tokens to keys, which may be the tokens themselves or tokens of another width.

    Letters: B batch, q query tokens, k keys, D width.
    """

    def __init__(self, width: int, heads: int, *, keys: int | None = None) -> None:
        """keys: width of the keys, if it differs from that of the query tokens."""
        super().__init__()
        self.heads = heads
        self.fused_attn = True
        """See `set_attention_kernels`."""
        self.query = nn.Linear(width, width)
        self.key_value = nn.Linear(keys or width, 2 * width)
        self.out = nn.Linear(width, width)

    def forward(
        self,
        x: Tensor,
        keys: Tensor,
        bias: Tensor | None = None,
        show: bool = False,
        weight: Tensor | None = None,
    ) -> tuple[Tensor, Tensor | None]:
        """New tokens [B, q, D] and, on request, the attention weights averaged over heads, [B, q, k].

        bias: added to the scores, [B or 1, 1, q or 1, k]; weight: multiplies each key's value, [B, k].
        """
        query = self.query(x).unflatten(-1, (self.heads, -1)).transpose(1, 2)  # [B, heads, q, D / heads]
        key, value = self.key_value(keys).unflatten(-1, (2, self.heads, -1)).permute(2, 0, 3, 1, 4)
        bias = None if bias is None else bias.to(query.dtype)
        if weight is not None:
            value = value * weight[:, None, :, None].to(value.dtype)
        if self.fused_attn and not show:
            y = F.scaled_dot_product_attention(query, key, value, attn_mask=bias)
            return self.out(y.transpose(1, 2).flatten(2)), None
        scores = query * query.shape[-1] ** -0.5 @ key.transpose(-1, -2)
        share = (scores if bias is None else scores + bias).softmax(-1)
        y = (share @ value).transpose(1, 2).flatten(2)
        return self.out(y), share.mean(1) if show else None


def set_attention_kernels(module: nn.Module, *, fused: bool) -> None:
    """Switches every attention inside `module`, ours, timm's and Hugging Face's, to one of the two kernels.

    On CPUs the fused kernel's backward pass in bfloat16 takes more than twice the time of plain products
    (docs/log.md), although its forward pass is faster; on GPUs the fused kernel is used.
    """
    for part in module.modules():
        if hasattr(part, "fused_attn"):
            part.fused_attn = fused  # type: ignore[assignment]
        if isinstance(part, PreTrainedModel):
            part.set_attn_implementation("sdpa" if fused else "eager")


@contextmanager
def attention_kernels(module: nn.Module, *, fused: bool) -> Iterator[None]:
    """`set_attention_kernels` within a context, which restores the previous kernels at its end."""
    before = all(getattr(part, "fused_attn", True) for part in module.modules())
    set_attention_kernels(module, fused=fused)
    try:
        yield
    finally:
        set_attention_kernels(module, fused=before)
