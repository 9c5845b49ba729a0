"""Zero-shot classification: a clip gets the class whose captions have the nearest embedding.

Captions of a class are generated, not taken from clips: for a value of colour, shape, first or second action
or background, `PROMPTS` captions with this value by the grammar of moving_shapes, whose other parts are
sampled once with a fixed seed; the same for the class of a clip (in moving_shapes its ordered pair of
actions). If clips have a class but no such parts, the caption is the name of the class. The vector of a class
is the mean of its captions' embeddings. Classes are those of training clips; a clip of another class counts
as missed, and a tie counts against the model. A model that ignores order cannot distinguish a pair of actions
from its reverse.

- `prompted_WHAT`: accuracy;
- `prompted_WHAT_majority`: accuracy of the commonest class of the training clips;
- `prompted_WHAT_chance`: accuracy of a random class of the training clips.

The task `probe` measures what a classifier that is fitted to the features finds.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

import numpy as np

from workbench.data.moving_shapes.grammar import WORDS, say
from workbench.data.moving_shapes.world import TEMPLATES
from workbench.metrics import Metric, Queries

if TYPE_CHECKING:
    from workbench.data.store import FrameStore
    from workbench.tasks.gallery import Judged, TaskResult

PROMPTS = 8
"""Number of captions of a class."""
SEED = 20_221_202
"""Seed of their other parts."""
FILE = "classification.npz"
LABEL = "label"
WHAT = {slot: slot for slot in WORDS} | {"first": "first action", "second": "second action", LABEL: "class"}


def _metrics(what: str, words: str) -> Iterator[Metric]:
    queries = Queries(file=FILE, values=what, ids=f"{what}_id")
    baselines = {"majority": "majority class", "chance": "chance"}
    labels = {"": f"{words} by its captions"} | {
        f"_{n}": f"{words}, {label}" for n, label in baselines.items()
    }
    for ending, label in labels.items():
        name = f"prompted_{what}{ending}"
        yield Metric(
            name=name,
            label=label,
            unit="%",
            low=0.0,
            high=100.0,
            queries=None if ending else queries,
            counted=bool(ending),
        )


METRICS = tuple(metric for what, words in WHAT.items() for metric in _metrics(what, words))
NEEDS = (("embed_video", "embed_text"),)
KNOWN = (tuple(WORDS), (LABEL,))
EACH_TIME = False


def evaluate(judged: Judged) -> TaskResult:
    from torch.nn.functional import normalize

    from workbench.tasks.gallery import TaskResult

    part = judged.gallery
    if not judged.embeds:
        return TaskResult(values={})
    video = judged.embed_videos().double()
    values: dict[str, float] = {}
    arrays: dict[str, np.ndarray] = {}
    for what, captions in prompts(part.store).items():
        known = classes(part.store, what)
        truth = known[part.clips]
        asked = truth != ""
        trained = known[np.unique(part.store.splits["train"].clips)]
        names, counts = np.unique(trained[trained != ""], return_counts=True)
        if len(names) < 2 or not asked.any():
            continue
        said = judged.saying([caption for name in names for caption in captions[name]]).embed_texts()
        vectors = normalize(said.double().view(len(names), -1, said.shape[1]).mean(1), dim=1)  # [C, E]
        scores = (video @ vectors.T).float().numpy()[asked]  # [Q, C]
        if not np.isfinite(scores).all():
            raise FloatingPointError("similarities are not finite: the model has diverged")
        right = truth[asked][:, None] == names  # [Q, C], nowhere for a class of no training clip
        best = np.where(right, -np.inf, scores).max(1)
        hit = np.where(right, scores, -np.inf).max(1) > best
        arrays |= {what: np.where(hit, 100.0, 0.0), f"{what}_id": np.array(part.clip_ids)[asked]}
        values[f"prompted_{what}"] = float(100 * hit.mean())
        values[f"prompted_{what}_majority"] = float(100 * (truth[asked] == names[counts.argmax()]).mean())
        values[f"prompted_{what}_chance"] = 100 / len(names)
    return TaskResult(values=values, files={FILE: arrays})


def texts(store: FrameStore, split: str) -> list[str]:
    """All captions of classes; none for the training split, because they are not trained on."""
    found = prompts(store).values() if split != "train" else ()
    return [caption for captions in found for one in captions.values() for caption in one]


def classes(store: FrameStore, what: str) -> np.ndarray:
    """The class of each clip in words, [N]; empty if it is not known."""
    if what == LABEL:
        return np.array(store.label_names)[store.labels]
    return np.array(["" if value is None else str(value) for value in store.attributes[what]])


def prompts(store: FrameStore) -> dict[str, dict[str, list[str]]]:
    """Attribute of a store -> class -> its captions, the same number for each class."""
    drawn = set(WORDS) <= store.known
    found = {
        slot: {value: _captions({slot: value}) for value in sorted(set(classes(store, slot)))}
        for slot in (WORDS if drawn else ())
    }
    if LABEL in store.known:
        label = classes(store, LABEL)
        parts = (
            zip(classes(store, "first"), classes(store, "second"), strict=True)
            if drawn
            else [("", "")] * len(label)
        )
        shown = dict(zip(label, parts, strict=True))
        found[LABEL] = {
            name: _captions({"first": one, "second": two}) if drawn else [name]
            for name, (one, two) in sorted(shown.items())
            if name
        }
    return found


def _captions(fixed: Mapping[str, str]) -> list[str]:
    """Captions with some given parts and random other parts; the two actions always differ."""
    found = []
    for draw in np.random.default_rng(SEED).random((PROMPTS, 1 + 2 * len(WORDS))):
        parts, words = dict(fixed), {}
        for (slot, values), place, word in zip(WORDS.items(), draw[1::2], draw[2::2], strict=True):
            if slot not in parts:
                other = {"first": parts.get("second"), "second": parts.get("first")}.get(slot)
                free = [value for value in values if value != other]
                parts[slot] = free[int(place * len(free))]
            words[slot] = int(word * len(values[parts[slot]]))
        found.append(say(int(draw[0] * len(TEMPLATES)), parts, words))
    return found
