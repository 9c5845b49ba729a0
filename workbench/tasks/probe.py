"""Probes of frozen video features: a linear probe, nearest neighbours, and baselines without features.

Probes are fitted on at most 2,000 clips of the training split (one fixed sample) and measured on the
evaluated
split: colour, shape, first and second action and background if the data have these attributes, and the class
of a clip (in moving_shapes its ordered pair of actions). Other attributes, and those with a single value, are
left out. A clip with a value that no training clip has counts as missed.

- `probe_WHAT_linear`: a ridge classifier on standardised features, its penalty chosen by leave-one-out;
- `probe_WHAT_knn`: the 20 nearest by cosine, each with the weight exp(cosine / 0.07) (arXiv:1805.01978);
- `probe_WHAT_pixels`: the linear probe on the mean frame, 8 x 8 pixels of it, instead of features;
- `probe_WHAT_majority`: always the commonest value of the training clips;
- `probe_WHAT_chance`: a guess among the values of the training clips.

Features of a clip are the mean over the tokens of `features(video)` if a recipe defines it, else the pooled
vector of its `video` encoder before any projection, because projections are trained in some stages only.
There is no attentive probe (arXiv:2205.01917), which would need every token of every clip in memory.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from workbench.metrics import Metric, Queries

if TYPE_CHECKING:
    from torch import Tensor

    from workbench.data.store import FrameStore
    from workbench.tasks.gallery import Judged, TaskResult

CLIPS, NEIGHBOURS, TEMPERATURE, SIDE = 2_000, 20, 0.07, 8
SEED = 20_221_202
"""Seed of the sample of training clips."""
PENALTIES = tuple(10.0**n for n in range(-2, 6))
"""Ridge penalties among which leave-one-out chooses."""
FILE = "probe.npz"
WHAT = {
    "colour": "colour",
    "shape": "shape",
    "first": "first action",
    "second": "second action",
    "background": "background",
    "label": "class",
}


def _metrics(what: str, words: str) -> Iterator[Metric]:
    ways = {
        "linear": f"{words} accuracy, linear probe",
        "knn": f"{words} accuracy, {NEIGHBOURS} nearest neighbours",
        "pixels": f"{words} accuracy, linear probe on pixels",
    }
    baselines = {"majority": f"{words}, majority class", "chance": f"{words}, chance"}
    for way, label in (ways | baselines).items():
        name = f"probe_{what}_{way}"
        queries = Queries(file=FILE, values=f"{what}_{way}", ids=f"{what}_id")
        yield Metric(
            name=name,
            label=label,
            unit="%",
            low=0.0,
            high=100.0,
            queries=queries if way in ways else None,
            counted=way in baselines,
        )


METRICS = tuple(metric for what, words in WHAT.items() for metric in _metrics(what, words))
NEEDS = (("features",), ("encoders",))
KNOWN = tuple((what,) for what in WHAT)
EACH_TIME = False


def evaluate(judged: Judged) -> TaskResult:
    from workbench.tasks.gallery import TaskResult

    part = judged.gallery
    clips = np.unique(part.store.splits["train"].clips)
    train = np.sort(np.random.default_rng(SEED).permutation(clips)[:CLIPS])
    taught = replace(judged, gallery=replace(part, clips=train))  # only its frames are used
    seen = [features(one) for one in (taught, judged)]
    pixels = [small_frames(one) for one in (taught, judged)]
    values: dict[str, float] = {}
    arrays: dict[str, np.ndarray] = {}
    for what, answers in known(part.store).items():
        fit, asked = answers[train] > 0, answers[part.clips] > 0
        right, truth = answers[train][fit], answers[part.clips][asked]
        kinds, counts = np.unique(right, return_counts=True)
        if len(kinds) < 2 or not len(truth):
            continue
        judged.between()
        found = {
            "linear": linear(seen[0][fit], right, seen[1][asked]),
            "knn": neighbours(seen[0][fit], right, seen[1][asked]),
            "pixels": linear(pixels[0][fit], right, pixels[1][asked]),
            "majority": np.full(len(truth), kinds[counts.argmax()]),
        }
        hits = {f"{what}_{way}": np.where(said == truth, 100.0, 0.0) for way, said in found.items()}
        values |= {f"probe_{name}": float(hit.mean()) for name, hit in hits.items()}
        values[f"probe_{what}_chance"] = 100 / len(kinds)
        arrays |= hits | {f"{what}_id": np.array(part.clip_ids)[asked]}
    return TaskResult(values=values, files={FILE: arrays})


def known(store: FrameStore) -> dict[str, np.ndarray]:
    """Probed attribute -> number of each clip's value, int64 [N]; 0 if it is not known."""
    found = {}
    for what in WHAT:
        if what in store.attributes:
            values = ["" if value is None else str(value) for value in store.attributes[what]]
            number = {value: i for i, value in enumerate(sorted({"", *values}))}
            found[what] = np.array([number[value] for value in values])
    if store.labels.any():
        found["label"] = store.labels
    return found


def features(judged: Judged) -> np.ndarray:
    """Features of the clips of a gallery, float32 [V, D]."""
    recipe = judged.recipe

    def vectors(video: Tensor) -> Tensor:
        if hasattr(recipe, "features"):
            mean: Tensor = recipe.features(video).float().mean(1)  # of [B, N, D]
            return mean
        pooled: Tensor = recipe.encoders()["video"](video).pooled
        return pooled

    found = _each(judged, vectors)
    if not np.isfinite(found).all():
        raise FloatingPointError("features are not finite: the model has diverged")
    return found


def small_frames(judged: Judged) -> np.ndarray:
    """The mean frame of each clip, float32 [V, SIDE * SIDE * 3]."""
    import torch.nn.functional as F

    return _each(judged, lambda v: F.adaptive_avg_pool2d(v.float().mean(1).movedim(-1, 1), SIDE).flatten(1))


def _each(judged: Judged, of: Callable[[Tensor], Tensor]) -> np.ndarray:
    """Results of `of` for clips uint8 [B, T, H, W, 3], float32 [V, ...]."""
    import torch

    with torch.no_grad():
        parts = [of(judged.video(rows)).float().cpu() for rows in judged.batches(len(judged.gallery.clips))]
    found: np.ndarray = torch.cat(parts).numpy()
    return found


def linear(train: np.ndarray, right: np.ndarray, asked: np.ndarray) -> np.ndarray:
    """Answers [V] of a ridge classifier, fitted on `train` [N, D] with classes `right` [N]."""
    from sklearn.linear_model import RidgeClassifierCV
    from sklearn.preprocessing import StandardScaler

    scale = StandardScaler().fit(train.astype(float))
    model = RidgeClassifierCV(PENALTIES).fit(scale.transform(train.astype(float)), right)
    found: np.ndarray = model.predict(scale.transform(asked.astype(float)))
    return found


def neighbours(train: np.ndarray, right: np.ndarray, asked: np.ndarray) -> np.ndarray:
    """Answers [V] of the nearest of `train` [N, D] with classes `right` [N], by cosine."""
    from sklearn.neighbors import KNeighborsClassifier

    count = min(NEIGHBOURS, len(train))
    model = KNeighborsClassifier(count, metric="cosine", weights=lambda far: np.exp(-far / TEMPERATURE))
    with warnings.catch_warnings():  # few clips of many classes are no regression problem
        warnings.filterwarnings("ignore", "The number of unique classes")
        found: np.ndarray = model.fit(train.astype(float), right).predict(asked.astype(float))
    return found
