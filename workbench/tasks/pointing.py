"""The pointing game: the point of each frame that fits the caption best, compared with the true boxes.

The query is the part of the caption that names the actor, such as "a red star". A recipe points at the centre
of the best of its `regions`, or if it has none, of the patch that it has `attended` to most; a patch that
spans several frames counts in each of them. A box contains all pixels of a frame that an actor covers. Frames
in which an actor is not visible, as while it blinks, are left out.

- `pointing`: the point is in the box of the named actor;
- `pointing_choice`: the share of points in any actor's box that are in the named actor's box, if a clip has
  another actor (chance 50 % for a model that ignores the words);
- `pointing_iou`: intersection over union of the best region and the named actor's box.

Baselines without a model are `pointing_centre`, always the centre of the frame, about 59 % in moving_shapes,
whose one actor is large, and 13 % in moving_shapes_pairs; `pointing_area`, a random point; and
`pointing_foil`, the centre of a random actor: 50 % with two actors, one of which is the foil.

Abilities that the last stage has not trained are not measured.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from workbench.data.moving_shapes.grammar import actor, parse
from workbench.errors import UserError
from workbench.metrics import Metric, Queries

if TYPE_CHECKING:
    import torch

    from workbench.tasks.gallery import Judged, TaskResult, Text

FILE = "pointing.npz"


def _metric(name: str, label: str, *, first: str = "", counted: bool = False) -> Metric:
    queries = Queries(file=FILE, values=name, ids=f"{first}id", groups=f"{first}group")
    return Metric(
        name=name,
        label=label,
        unit="%",
        low=0.0,
        high=100.0,
        queries=None if counted else queries,
        counted=counted,
    )


METRICS = (
    _metric("pointing", "pointing accuracy, named actor"),
    _metric("pointing_choice", "share of hits on an actor that hit the named one", first="choice_"),
    _metric("pointing_iou", "IoU of the best region with the named actor's box"),
    _metric("pointing_centre", "pointing accuracy of the frame centre", counted=True),
    _metric("pointing_area", "pointing accuracy of a random point", counted=True),
    _metric("pointing_foil", "pointing accuracy of the centre of a random actor", counted=True),
)
NEEDS = (("regions",), ("attended",))
KNOWN = (("box",),)
EACH_TIME = False


class Pointed(NamedTuple):
    """Points of a recipe in each of t steps of Q clips, in shares of the frame."""

    places: np.ndarray
    """[Q, t, 2], x and y."""
    boxes: np.ndarray | None
    """[Q, t, 4], the regions around these centres; None if there are only patches."""


def evaluate(judged: Judged) -> TaskResult:
    from workbench.data import truth_of
    from workbench.tasks.gallery import TaskResult

    part, truth = judged.gallery, truth_of(judged.gallery.store).boxes
    parsed = {row: said for row, caption in enumerate(part.captions) if (said := parse(caption)) is not None}
    if truth is None or not parsed:
        raise UserError(f"pointing asks about actors of synthetic clips, and {part.store.name} has none")
    if not (judged.can("regions") or judged.can("attended")):
        return TaskResult(values={})
    rows = np.array(list(parsed))
    known = truth(part.clips)[part.owner[rows]][:, part.taken]  # [Q, T, actors, 4]
    seen = np.isfinite(known).all((2, 3))  # [Q, T]
    rows, known, seen = (some[seen.any(1)] for some in (rows, known, seen))
    if not len(rows):  # for example clips of one frame in which an actor blinks
        return TaskResult(values={})
    pointed = _pointed(judged, part.owner[rows], [actor(parsed[row]) for row in rows])

    frames = np.arange(known.shape[1])
    step = frames * pointed.places.shape[1] // len(frames)  # [T], the step of each frame
    hits = inside(pointed.places[:, step, None], known) & seen[..., None]  # [Q, T, actors]
    middles = (known[..., :2] + known[..., 2:]) / 2
    area = (known[..., 2:] - known[..., :2]).prod(-1)
    named = known[:, :, :1]
    shares = {
        "pointing": hits[..., 0],
        "pointing_centre": inside(np.full(2, 0.5), named)[..., 0],
        "pointing_area": area[..., 0],
        "pointing_foil": inside(middles, named).mean(-1),
    }
    if pointed.boxes is not None:
        shares["pointing_iou"] = overlap(pointed.boxes[:, step], named[:, :, 0])
    found = {name: 100 * (np.where(seen, share, 0).sum(1) / seen.sum(1)) for name, share in shares.items()}
    ids, groups = np.array(part.caption_ids)[rows], np.array(part.owners)[rows]
    arrays = {"id": ids, "group": groups}
    if known.shape[2] > 1:
        either = hits.any(2).sum(1)  # [Q]
        some = either > 0
        found["pointing_choice"] = 100 * hits[some, :, 0].sum(1) / either[some]
        arrays |= {"choice_id": ids[some], "choice_group": groups[some]}
    counted = {metric.name for metric in METRICS if metric.counted}
    arrays |= {name: values for name, values in found.items() if name not in counted}
    values = {name: float(value.mean()) for name, value in found.items() if len(value)}
    return TaskResult(values=values, files={FILE: arrays})


def inside(places: np.ndarray, boxes: np.ndarray) -> np.ndarray:
    """Whether points [..., 2] are in boxes [..., 4]; False for missing boxes."""
    return np.asarray(((boxes[..., :2] <= places) & (places < boxes[..., 2:])).all(-1))


def overlap(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Intersection over union of boxes [..., 4], [...]."""
    sides = np.minimum(one[..., 2:], other[..., 2:]) - np.maximum(one[..., :2], other[..., :2])
    common = sides.clip(0).prod(-1)
    areas = [(box[..., 2:] - box[..., :2]).prod(-1) for box in (one, other)]
    share: np.ndarray = common / (areas[0] + areas[1] - common)
    return share


def _pointed(judged: Judged, clips: np.ndarray, asked: list[str]) -> Pointed:
    """Points of the model for clips [Q], given by their numbers, and these queries."""
    import torch

    known, number = np.unique(np.array(asked), return_inverse=True)
    said = judged.saying(known.tolist())
    parts = []
    with torch.no_grad():
        for batch in judged.batches(len(clips)):
            parts.append(point(judged, judged.video(clips[batch]), said.text(number[batch])))
    boxes = None if parts[0].boxes is None else np.concatenate([part.boxes for part in parts])
    return Pointed(np.concatenate([part.places for part in parts]), boxes)


def point(judged: Judged, video: torch.Tensor, text: Text) -> Pointed:
    """Points of the model in clips uint8 [Q, T, H, W, 3] for their queries [Q, L]."""
    import torch

    recipe = judged.recipe
    if judged.can("regions"):
        boxes, scores = recipe.regions(video, text)  # [Q, t, R, 4] and [Q, t, R]
        best = finite(scores).argmax(-1)[..., None, None].expand(-1, -1, -1, 4)
        found = boxes.gather(2, best)[:, :, 0].float().cpu().numpy()
        return Pointed((found[..., :2] + found[..., 2:]) / 2, found)
    time, height, width = recipe.grid
    best = finite(recipe.attended(video, text)).unflatten(1, (time, height * width)).argmax(-1)  # [Q, t]
    places = torch.stack([(best % width + 0.5) / width, (best // width + 0.5) / height], -1)
    return Pointed(places.float().cpu().numpy(), None)


def finite(scores: torch.Tensor) -> torch.Tensor:
    """The scores unchanged. Raises `FloatingPointError` if one is not a number."""
    if not bool(scores.isfinite().all()):
        raise FloatingPointError("scores of places are not finite: the model has diverged")
    return scores
