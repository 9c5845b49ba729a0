"""True motion of synthetic clips as targets of masked prediction; no network estimates it.

Letters: n clips, T frames, H W cells of the cover map of a frame, S patches of a frame. For poses and covers
see `workbench.data.truth.Truth`.
"""

from __future__ import annotations

import torch
from torch import Tensor


def patch_flow(pose: Tensor, cover: Tensor, size: int, cells: tuple[int, int]) -> Tensor:
    """Flow of each patch to the next frame: the mean over the points of the patch where it is known.

    The pose of a frame (centre c, radius r, angle a) maps a point p of the actor to the actor's coordinates,
    and the next frame's pose maps it back to the frame: p' = c' + r'/r R(a' - a) (p - c). The background does
    not move. The flow is unknown where the actor is gone in the next frame and where it newly covers the
    background.

    Args:
        pose: float32 [n, T, 4].
        cover: float32 [n, T, H, W].
        size: side of the frames in pixels, in which the pose is given.
        cells: patches of a frame along height and width.

    Returns:
        float32 [n, (T - 1) * S, 3]: flow along x and along y in pixels, and 1 if it is known in at least half
        of the patch, else 0.
    """
    height, width = cover.shape[-2:]
    rows, columns = _averages(height, cells[0]), _averages(width, cells[1])
    y, x = ((torch.arange(side) + 0.5) * size / side for side in (height, width))
    actor = cover > 0.5
    now, then = actor[:, :-1], actor[:, 1:]
    seen = then.flatten(2).any(2)[..., None, None]
    moves = (now & seen).float()
    known = rows @ torch.where(now, seen, ~then).float() @ columns.T  # [n, T - 1, rows, columns]
    # The flow is linear in p, so the means of 1, x and y over the actor's points are enough.
    count, mean_x, mean_y = (rows * a @ moves @ (columns * b).T for a, b in ((1, 1), (1, x), (y, 1)))
    centre, radius, angle = pose[..., :2, None, None], pose[..., 2, None, None], pose[..., 3, None, None]
    grows, turns = radius[:, 1:] / radius[:, :-1], angle[:, 1:] - angle[:, :-1]
    along, across = grows * turns.cos(), grows * turns.sin()
    from_x, from_y = mean_x - count * centre[:, :-1, 0], mean_y - count * centre[:, :-1, 1]
    moved_x = count * centre[:, 1:, 0] + along * from_x - across * from_y - mean_x
    moved_y = count * centre[:, 1:, 1] + across * from_x + along * from_y - mean_y
    share = known.clamp(min=1e-6)
    return torch.stack([moved_x / share, moved_y / share, (known > 0.5 - 1e-6).float()], -1).flatten(1, 3)


def patch_depth(cover: Tensor, cells: tuple[int, int]) -> Tensor:
    """Mean layer of each patch of a synthetic clip, actor 1 and background 0: [n, T * S, 1]."""
    rows, columns = (_averages(*pair) for pair in zip(cover.shape[-2:], cells, strict=True))
    return (rows @ (cover > 0.5).float() @ columns.T).flatten(1)[..., None]


def _averages(places: int, cells: int) -> Tensor:
    """Weights of the points in the mean of each cell, [cells, points]; two cells may share a point."""
    place, cell = torch.arange(places), torch.arange(cells)[:, None]
    start, end = cell * places // cells, -(-(cell + 1) * places // cells)
    inside = ((place >= start) & (place < end)).float()
    return inside / inside.sum(1, keepdim=True)
