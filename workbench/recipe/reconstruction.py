"""Clips with a recipe's predictions at the hidden positions, for inspection; training does not use them."""

from __future__ import annotations

from typing import Literal, NamedTuple

from torch import Tensor

from workbench.errors import UserError
from workbench.models.video import VideoEncoder
from workbench.recipe.base import BaseRecipe
from workbench.recipe.batch import Batch, Draw


class Reconstruction(NamedTuple):
    """Description of a reconstruction for its viewer; every recipe with `reconstruct` has one."""

    words: Literal["none", "masked", "full"]
    """Words of the caption that the prediction uses: none, the visible ones of the draw, or all."""
    drawn: str = "nothing is taken from the true clip"
    """A clause for the viewer: what the hidden patches take from the true clip and what else is not
    predicted."""


def hidden_places(recipe: BaseRecipe, draw: Draw) -> Tensor:
    """Hidden positions of the clips, Boolean [B, N]. Raises `UserError` if there is nothing to predict."""
    if draw.video_mask is None or not draw.video_mask.any():
        raise UserError(f"{recipe.name} hides nothing of these clips in this draw, so it predicts nothing")
    if not recipe.weights().get("mvm"):
        raise UserError(f"{recipe.name} has not learned to predict what is hidden: its weights.mvm is 0")
    return draw.video_mask


def filled(encoder: VideoEncoder, batch: Batch, mask: Tensor, hidden: Tensor) -> Tensor:
    """Clips [B, T, H, W, 3], float32, with predicted grey levels `hidden` where `mask` [B, N] is True.

    hidden: [B, M, P] or [all hidden positions, P], in the order of the positions, channels varying fastest.
    """
    patches = encoder.patches(batch.video).float()  # [B, N, P]
    patches[mask] = hidden.float().flatten(0, -2)
    return encoder.unpatch(patches)
