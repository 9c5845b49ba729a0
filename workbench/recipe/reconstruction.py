"""Clips with what a recipe predicts in the hidden places, to be looked at; no part of training."""

from __future__ import annotations

from typing import Literal, NamedTuple

from torch import Tensor

from workbench.errors import UserError
from workbench.models.video import VideoEncoder
from workbench.recipe.base import BaseRecipe
from workbench.recipe.batch import Batch, Draw


class Reconstruction(NamedTuple):
    """What whoever sees a reconstruction has to know; a recipe with `reconstruct` has one."""

    words: Literal["none", "masked", "full"]
    """Which words of the caption it is predicted from: none, those that the draw leaves, or all."""
    drawn: str = "nothing is taken from the true clip"
    """How hidden places are drawn, as a clause: what of the truth they take, what else is not predicted."""


def hidden_places(recipe: BaseRecipe, draw: Draw) -> Tensor:
    """What is hidden of the clips, Boolean [B, N]; `UserError` where there is nothing to predict."""
    if draw.video_mask is None or not draw.video_mask.any():
        raise UserError(f"{recipe.name} hides nothing of these clips in this draw, so it predicts nothing")
    if not recipe.weights().get("mvm"):
        raise UserError(f"{recipe.name} has not learned to predict what is hidden: its weights.mvm is 0")
    return draw.video_mask


def filled(encoder: VideoEncoder, batch: Batch, mask: Tensor, hidden: Tensor) -> Tensor:
    """Clips [B, T, H, W, 3], float32: grey levels `hidden` where `mask` [B, N] holds, the truth elsewhere.

    hidden: [B, M, P] or [all hidden places, P], in the order of the places, channels varying fastest.
    """
    patches = encoder.patches(batch.video).float()  # [B, N, P]
    patches[mask] = hidden.float().flatten(0, -2)
    return encoder.unpatch(patches)
