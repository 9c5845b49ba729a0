"""True motion of drawn clips, as what a hidden position must predict: never estimated by a network.

Letters: n clips, T frames, H W places of the picture, S patches of a frame. For poses and covers see
`workbench.data.truth.Truth`.
"""

from __future__ import annotations

import torch
from torch import Tensor


def patch_flow(pose: Tensor, cover: Tensor, size: int, cells: tuple[int, int]) -> Tensor:
    """How far each patch moves until the next frame, the mean over those of its places where that is known.

    A place p of the actor is taken back to the actor's own coordinates by the pose of its frame (centre c,
    radius r, angle a), and to the picture by the pose of the next one: p' = c' + r'/r R(a' - a) (p - c). The
    background stands still. Where the actor is gone in the next frame, and where it newly covers the
    background, nothing is known.

    Args:
        pose: float32 [n, T, 4].
        cover: float32 [n, T, H, W].
        size: side of the frames in pixels, in which the pose is given.
        cells: patches of a frame along height and width.

    Returns:
        float32 [n, (T - 1) * S, 3]: along x and along y in pixels, and 1 where at least half of the patch is
        known, else 0.
    """
    height, width = cover.shape[-2:]
    rows, columns = _averages(height, cells[0]), _averages(width, cells[1])
    y, x = ((torch.arange(side) + 0.5) * size / side for side in (height, width))
    actor = cover > 0.5
    now, then = actor[:, :-1], actor[:, 1:]
    seen = then.flatten(2).any(2)[..., None, None]
    moves = (now & seen).float()
    known = rows @ torch.where(now, seen, ~then).float() @ columns.T  # [n, T - 1, rows, columns]
    # The flow is linear in p, so that the means of 1, x and y over the actor's places are enough.
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
    """For each patch the mean layer of the drawn world, actor 1 before background 0: [n, T * S, 1]."""
    rows, columns = (_averages(*pair) for pair in zip(cover.shape[-2:], cells, strict=True))
    return (rows @ (cover > 0.5).float() @ columns.T).flatten(1)[..., None]


def _averages(places: int, cells: int) -> Tensor:
    """Weights of the places in the mean of each cell, [cells, places]; a place may lie in two cells."""
    place, cell = torch.arange(places), torch.arange(cells)[:, None]
    start, end = cell * places // cells, -(-(cell + 1) * places // cells)
    inside = ((place >= start) & (place < end)).float()
    return inside / inside.sum(1, keepdim=True)
