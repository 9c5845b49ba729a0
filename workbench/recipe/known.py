"""True motion of the clips that a recipe trains on, found by their rows; no checkpoint holds it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from workbench.errors import UserError
from workbench.masking.video import Grid
from workbench.recipe.batch import Batch
from workbench.targets.motion import patch_depth, patch_flow

if TYPE_CHECKING:
    from workbench.data.truth import Truth

KNOWN = ("flow", "depth")


class MotionTable(nn.Module):
    """One kind of motion, for each patch of each clip of all data sets, one set after another."""

    values: Tensor
    """float32 [rows, n, C]; see `targets.motion`."""
    starts: Tensor
    """int64 [sources], first row of each data set."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("values", torch.zeros(0, 0, 0), persistent=False)
        self.register_buffer("starts", torch.zeros(0, dtype=torch.int64), persistent=False)

    def fill(self, kind: str, truths: Sequence[Truth], grid: Grid, size: int, others: Sequence[str]) -> None:
        """Takes the `flow` or the `depth` of all clips.

        Raises `UserError` where a data set does not know it, naming the other targets, which are possible.
        """
        parts: list[Tensor] = []
        starts, cells = [], (grid.height, grid.width)
        for truth in truths:
            if truth.motion is None:
                raise UserError(
                    f"target={kind!r} needs drawn clips whose motion is known, such as moving_shapes; with "
                    f"{truth.data} the target is {', '.join(others[:-1])} or {others[-1]}"
                )
            starts.append(sum(map(len, parts)))
            for pose, cover in truth.motion():
                if pose.shape[1] != grid.time:
                    raise UserError(f"target={kind!r} needs all stored frames in each step: data.stored is 0")
                here, seen = torch.from_numpy(pose), torch.from_numpy(cover)
                flow = kind == "flow"
                parts.append(patch_flow(here, seen, size, cells) if flow else patch_depth(seen, cells))
        self.values = torch.cat(parts).to(self.values.device)
        self.starts = torch.tensor(starts, device=self.starts.device)

    def forward(self, batch: Batch) -> Tensor:
        """What is known of these clips, float32 [B, n, C]."""
        return self.values[self.starts[batch.source] + batch.index]
