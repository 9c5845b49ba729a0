"""True motion of the training clips of a recipe, looked up by their rows; it is not saved in checkpoints."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from workbench.errors import UserError
from workbench.masking.video import Grid
from workbench.recipe.batch import Batch
from workbench.targets.motion import patch_depth, patch_flow

if TYPE_CHECKING:
    from workbench.config import DataConfig
    from workbench.data.truth import Truth

KNOWN = ("flow", "depth")


def check_known(kind: str, data: Sequence[DataConfig], drawn: Collection[str], others: Sequence[str]) -> None:
    """Raises `UserError` for a target of `KNOWN` on data without it, before the data are read.

    Args:
        drawn: names of data sets whose motion is known.
        others: targets that are possible with any data.
    """
    for config in data:
        if config.name not in drawn:
            raise no_motion_error(kind, config.name, others)
        if config.stored:
            raise needs_all_frames_error(kind)
        if config.moved:
            raise UserError(
                f"target={kind!r} is known of clips as they are stored: data.stored_size and data.flip must "
                "be 0 and data.crop 1"
            )


def no_motion_error(kind: str, data: str, others: Sequence[str]) -> UserError:
    """The error for data without known motion."""
    return UserError(
        f"target={kind!r} needs clips whose motion is known, such as moving_shapes; with {data} the "
        f"target must be {', '.join(others[:-1])} or {others[-1]}"
    )


def needs_all_frames_error(kind: str) -> UserError:
    """The error for data of which a step uses only some frames."""
    return UserError(f"target={kind!r} needs all stored frames in each step: data.stored must be 0")


class MotionTable(nn.Module):
    """One kind of motion for each patch of each clip; the data sets follow one another."""

    values: Tensor
    """float32 [rows, n, C], see `targets.motion`; NaN in rows that belong to no training clip."""
    starts: Tensor
    """int64 [sources], first row of each data set."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("values", torch.zeros(0, 0, 0), persistent=False)
        self.register_buffer("starts", torch.zeros(0, dtype=torch.int64), persistent=False)

    def fill(
        self, kind: str, truths: Sequence[Truth | None], grid: Grid, size: int, others: Sequence[str]
    ) -> None:
        """Stores the `flow` or the `depth` of all training clips, leaving out data that are None.

        Raises `UserError` if a data set does not have it, or not for the frames that a step uses.
        """
        parts: list[Tensor] = []
        starts, cells = [], (grid.height, grid.width)
        for truth in truths:
            starts.append(sum(map(len, parts)))
            if truth is None:
                continue
            if truth.motion is None:
                raise no_motion_error(kind, truth.data, others)
            known = []
            for pose, cover in truth.motion(truth.training):
                if pose.shape[1] != grid.time:
                    raise needs_all_frames_error(kind)
                poses, covers = torch.from_numpy(pose), torch.from_numpy(cover)
                if kind == "flow":
                    known.append(patch_flow(poses, covers, size, cells))
                else:
                    known.append(patch_depth(covers, cells))
            trained = torch.cat(known)
            whole = trained.new_full((truth.clips, *trained.shape[1:]), float("nan"))
            parts.append(whole.index_copy(0, torch.from_numpy(truth.training), trained))
        if parts:
            self.values = torch.cat(parts).to(self.values.device)
        self.starts = torch.tensor(starts, device=self.starts.device)

    def forward(self, batch: Batch) -> Tensor:
        """Flow or depth of these clips, float32 [B, n, C]."""
        return self.values[self.starts[batch.source] + batch.index]
