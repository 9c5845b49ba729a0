"""Captions that a recipe generates without a prompt, compared with references and parsed by the grammar.

CIDEr-D, BLEU-4 and ROUGE-L are those of pycocoevalcap, COCO's evaluation in Python, over words in lower case
without accents and punctuation. CIDEr-D is given times 100, as in tables, and weights words by the number of
clips of the split that they describe. References of a synthetic clip are 20 fixed ones of the 24 or 48
captions that the grammar of moving_shapes produces for it; those of any other clip are its own captions.

The content of a synthetic clip is known, so its caption is also parsed by the grammar: the share that parses;
for each of the five slots the share that is right (none is in a caption that does not parse) and their mean;
the share with all five right; and among the captions with the two right actions the share with the right
order.

The baselines of each metric are a caption of the commonest value of every slot (`_common`), a random training
caption (`_random`), random values (`_chance`), and the CIDEr-D of the synthetic clips' own captions (`_own`),
which are right but differ from most references.

Nothing is measured if the last stage has not trained `generate`.
"""

from __future__ import annotations

import itertools
import math
import re
import unicodedata
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from workbench.data.moving_shapes import world
from workbench.data.moving_shapes.grammar import WORDS, parse, say
from workbench.data.moving_shapes.questions import scene_values
from workbench.metrics import Metric, Queries

if TYPE_CHECKING:
    from workbench.tasks.gallery import Gallery, Judged, TaskResult

FILE = "captioning.npz"
REFERENCES = 20
SEED = 20_221_202
"""Seed of the random training captions."""
EACH_TIME = False
NEEDS = (("generate",),)

_SAID = {slot: f"captions with the right {slot}" for slot in ("colour", "shape", "background")} | {
    slot: f"captions with the right {slot} action" for slot in ("first", "second")
}
_LABELS = {
    "cider": "CIDEr-D",
    "bleu4": "BLEU-4",
    "rouge_l": "ROUGE-L",
    "parsed": "captions that fit the grammar",
    "slots": "slot accuracy",
    **{slot: _SAID[slot] for slot in WORDS},
    "exact": "captions with all slots right",
    "order": "captions with the right actions in the right order, of those with the right actions",
}
_CORPUS = ("bleu4", "order")
"""Metrics that are not means over clips: BLEU is over the whole split, order over some of its clips."""
CHANCE = {slot: 100.0 / len(WORDS[slot]) for slot in WORDS} | {
    "slots": sum(100.0 / len(values) for values in WORDS.values()) / len(WORDS),
    "exact": 100.0 / (math.prod(map(len, WORDS.values())) * (1 - 1 / len(WORDS["second"]))),
    "order": 50.0,
}
"""Accuracy of random values in percent; the two actions differ."""
_BESIDE = {
    "common": "majority value of every slot",
    "random": "a random training caption",
    "chance": "chance",
    "own": "the clips' own captions",
}


def _metrics(name: str) -> tuple[Metric, ...]:
    unit = "" if name == "cider" else "%"
    queries = Queries(file=FILE, values=name, ids="id")
    measured = Metric(
        name=f"caption_{name}",
        label=_LABELS[name],
        unit=unit,
        difference="points of CIDEr-D" if name == "cider" else "",
        low=0.0,
        high=1000.0 if name == "cider" else 100.0,
        queries=None if name in _CORPUS else queries,
    )
    beside = [
        Metric(
            name=f"caption_{name}_{kind}",
            label=f"{_LABELS[name]}: {words}",
            unit=unit,
            low=0.0,
            high=measured.high,
            counted=True,
        )
        for kind, words in _BESIDE.items()
        if name != "parsed" and (kind != "chance" or name in CHANCE) and (kind != "own" or name == "cider")
    ]
    return measured, *beside


METRICS = tuple(metric for name in _LABELS for metric in _metrics(name))


def evaluate(judged: Judged) -> TaskResult:
    import torch

    from workbench.tasks.gallery import TaskResult

    if not judged.can("generate"):
        return TaskResult(values={})
    part = judged.gallery
    written: list[str] = []
    with torch.no_grad():
        for rows in judged.batches(len(part.clips)):
            written += judged.recipe.generate(judged.video(rows))

    scenes, captions = _scenes(part), _captions(part)
    known = [references(scene) for scene in scenes] or captions
    found = scores(written, known, scenes)
    values, beside = _means(found), {"random": _random(part)}
    if scenes:
        common = {slot: Counter(s[slot] for s in scenes).most_common(1)[0][0] for slot in WORDS}
        beside["common"] = [say(0, common, dict.fromkeys(WORDS, 0))] * len(scenes)
        values |= {f"{name}_chance": value for name, value in CHANCE.items()}
        values["cider_own"] = _means(scores([own[0] for own in captions], known))["cider"]
    for kind, said in beside.items():
        means = _means(scores(said, known, scenes)) if said else {}
        values |= {f"{name}_{kind}": value for name, value in means.items() if name != "parsed"}
    arrays = {name: each for name, each in found.items() if name not in _CORPUS}
    arrays |= {"id": np.array(part.clip_ids), "written": np.array(written)}
    return TaskResult(
        values={f"caption_{name}": value for name, value in values.items()}, files={FILE: arrays}
    )


def references(parts: Mapping[str, str]) -> list[str]:
    """20 captions of a synthetic clip, spread evenly over all that the grammar produces for it."""
    numbers = itertools.product(*(range(len(WORDS[slot][parts[slot]])) for slot in WORDS))
    words = [dict(zip(WORDS, chosen, strict=True)) for chosen in numbers]
    every = [say(template, parts, one) for template in range(len(world.TEMPLATES)) for one in words]
    return [every[i * len(every) // REFERENCES] for i in range(REFERENCES)]


def scores(
    said: Sequence[str], known: Sequence[Sequence[str]], scenes: Sequence[Mapping[str, str]] = ()
) -> dict[str, np.ndarray]:
    """All measures of one caption for each clip, [V] each; BLEU-4 is one number for all clips, [1].

    Args: said: [V]; known: [V], references of each clip; scenes: [V], contents of clips, if they are known.
    """
    from pycocoevalcap.bleu.bleu import Bleu
    from pycocoevalcap.cider.cider import Cider
    from pycocoevalcap.rouge.rouge import Rouge

    right = {clip: [words(one) for one in own] for clip, own in enumerate(known)}
    given = {clip: [words(one)] for clip, one in enumerate(said)}
    bleu, _ = Bleu(4).compute_score(right, given, verbose=0)
    found = {
        "cider": 100.0 * Cider().compute_score(right, given)[1],
        "bleu4": 100.0 * np.array(bleu[3:]),
        "rouge_l": 100.0 * Rouge().compute_score(right, given)[1],
    }
    return found | (read(said, scenes) if scenes else {})


def words(caption: str) -> str:
    """The words in lower case, without accents and punctuation, separated by spaces."""
    plain = unicodedata.normalize("NFD", caption.lower())
    return " ".join(re.findall(r"\w+", "".join(c for c in plain if unicodedata.category(c) != "Mn")))


def read(said: Sequence[str], scenes: Sequence[Mapping[str, str]]) -> dict[str, np.ndarray]:
    """100 for what is right in each caption and 0 for what is not, [V] each; `order` of those that count."""
    parsed = [found.parts if (found := parse(caption)) is not None else {} for caption in said]
    pairs = list(zip(parsed, scenes, strict=True))
    slots = {
        slot: np.array([100.0 * (one.get(slot) == scene[slot]) for one, scene in pairs]) for slot in WORDS
    }
    order = [
        100.0 * (one["first"] == scene["first"])
        for one, scene in pairs
        if one and {one["first"], one["second"]} == {scene["first"], scene["second"]}
    ]
    each = np.stack(list(slots.values()))  # [slots, V]
    return {
        "parsed": np.array([100.0 * bool(one) for one in parsed]),
        "slots": each.mean(0),
        **slots,
        "exact": each.min(0),
        "order": np.array(order),
    }


def _means(found: Mapping[str, np.ndarray]) -> dict[str, float]:
    """The mean of each measure that is defined for some caption."""
    return {name: float(each.mean()) for name, each in found.items() if each.size}


def _captions(part: Gallery) -> list[list[str]]:
    """The captions of each clip of the gallery."""
    found: list[list[str]] = [[] for _ in part.clips]
    for caption, clip in zip(*part.pairs, strict=True):
        found[clip].append(part.captions[caption])
    return found


def _scenes(part: Gallery) -> list[dict[str, str]]:
    """The content of each clip of the gallery; empty if it is not known."""
    known = scene_values(part.store)
    return [{slot: known[slot][row] for slot in WORDS} for row in part.clips] if known else []


def _random(part: Gallery) -> list[str]:
    """A random training caption for each clip, with a fixed seed; empty if there is none."""
    captions = part.store.splits["train"].captions
    draws = np.random.default_rng(SEED).random(len(part.clips))
    return [captions[int(u * len(captions))] for u in draws] if captions else []
