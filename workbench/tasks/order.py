"""Order of actions: captions with other parts, and clips changed in time.

Every caption by the grammar of moving_shapes is used; a tie counts against the model.

- `order_pairs`: the clip scores higher with its caption than with the same words and the two actions swapped
  (chance 50 %; a model that ignores word order ties, and so gets 0).
- `foils_SLOT`: the clip scores higher with its caption than with each of four that differ in one slot (chance
  20 %); `foils` is the mean over the five slots. Wrong values and their words are sampled once with a fixed
  seed; an action is never replaced by the clip's other one.
- `order_halves`: with its halves exchanged, the clip scores higher with the swapped caption than with its own
  (chance 50 %). The contents are equal, only the order differs. But the position of the actor jumps where the
  halves meet, which no training clip shows and a model may detect. For clips in which an action does not fill
  a half, such as those of moving_shapes_timed, it is not informative.
- `order_reversal`: with its frames reversed, the clip scores higher with the caption of the reversal than
  with its own caption (chance 50 %). That caption is computed: the two actions are swapped, left becomes
  right, up down, grows shrinks, and vice versa; spinning and blinking stay. Clips with the same caption in
  both directions ("moves left then moves right") are left out. It also tests the direction of motion: a model
  that knows which actions there are, but not which is first, fails only if a clip spins and blinks. A
  reversed spin turns the other way and a reversed blink begins visible, which no training clip shows.
- `still_drop_*`: the R@1 lost when all frames of a clip are its middle one, the end of the first half.

The last three change a clip in time and are not measured for clips of one frame.

Scores are cosine similarities if embeddings are trained, else those of judged pairs (`match`); if the last
stage has not trained these either, nothing is measured.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from workbench.data.moving_shapes.grammar import WORDS, ParsedCaption, backwards, changed, parse, say, swapped
from workbench.errors import UserError
from workbench.metrics import Metric, Queries
from workbench.tasks.frame_change_drops import drop_metrics, drops

if TYPE_CHECKING:
    from workbench.tasks.gallery import Judged, TaskResult

FOILS = 4
"""Number of wrong captions for each slot."""
SEED = 20_221_202
"""Seed of the foils."""
FILE, STILL = "order.npz", "still.npz"


def _metric(name: str, label: str, chance: int, *, ids: str = "") -> Metric:
    return Metric(
        name=name,
        label=label,
        unit="%",
        low=0.0,
        high=100.0,
        chance=chance,
        queries=Queries(file=FILE, values=name, ids=f"{ids}id", groups=f"{ids}group"),
    )


_SLOTS = {slot: slot for slot in WORDS} | {"first": "first action", "second": "second action"}
METRICS = (
    _metric("order_pairs", "accuracy, caption against action-swapped caption", 50),
    _metric("foils", f"accuracy, caption against {FOILS} foils that differ in one slot", 20),
    *(
        _metric(f"foils_{slot}", f"accuracy, caption against {FOILS} foils with another {words}", 20)
        for slot, words in _SLOTS.items()
    ),
    _metric("order_halves", "swapped caption preferred for exchanged halves (the cut is visible)", 50),
    _metric("order_reversal", "caption of the reversal preferred for reversed frames", 50, ids="reversal_"),
    *drop_metrics(STILL, "still", "still_drop", "one frame repeated", "repeating one frame"),
)
NEEDS = (("embed_video", "embed_text"), ("match",))
KNOWN = (tuple(WORDS),)
EACH_TIME = False


def evaluate(judged: Judged) -> TaskResult:
    from workbench.tasks.gallery import TaskResult

    part = judged.gallery
    parsed = {row: said for row, caption in enumerate(part.captions) if (said := parse(caption)) is not None}
    if not parsed:
        raise UserError(f"order asks about captions as in moving_shapes, and {part.store.name} has none")
    if not judged.scores:
        return TaskResult(values={})
    rows, asked = np.array(list(parsed)), list(parsed.values())
    clips, time = part.owner[rows], np.arange(part.length)
    back = [backwards(said) for said in asked]
    differs = np.array([a.parts != b.parts for a, b in zip(back, asked, strict=True)])

    # Three captions of each clip, [Q] each.
    true, other, turned = ([say(*said) for said in form] for form in (asked, map(swapped, asked), back))
    plain = _scores(judged, clips, list(zip(true, other, *foils(asked), strict=True)))
    wrong = plain[:, 2:].reshape(len(rows), len(WORDS), FOILS).max(2)  # [Q, slots]
    hits = {
        "order_pairs": plain[:, 0] > plain[:, 1],
        **{f"foils_{slot}": plain[:, 0] > wrong[:, i] for i, slot in enumerate(WORDS)},
    }
    still = TaskResult(values={})
    if len(time) > 1:
        halves = _scores(judged, clips, list(zip(other, true, strict=True)), np.roll(time, -(len(time) // 2)))
        reverse = _scores(judged, clips, list(zip(turned, true, strict=True)), time[::-1])[differs]
        hits["order_halves"] = halves[:, 0] > halves[:, 1]
        hits["order_reversal"] = reverse[:, 0] > reverse[:, 1]
        middle = np.full((len(part.clips), len(time)), (len(time) - 1) // 2)
        still = drops(judged, [middle], STILL, "still", "still_drop")
    found = {name: np.where(hit, 100.0, 0.0) for name, hit in hits.items()}
    found["foils"] = np.mean([found[f"foils_{slot}"] for slot in WORDS], axis=0)
    values = {name: float(hit.mean()) for name, hit in found.items() if hit.size}
    ids, owners = np.array(part.caption_ids)[rows], np.array(part.owners)[rows]
    names = {"id": ids, "group": owners}
    if "order_reversal" in found:
        names |= {"reversal_id": ids[differs], "reversal_group": owners[differs]}
    return TaskResult(values={**values, **still.values}, files={FILE: found | names, **still.files})


def foils(asked: Sequence[ParsedCaption]) -> list[list[str]]:
    """Wrong captions [slots * FOILS][Q]: for each slot, `FOILS` other values.

    Their words are sampled as in the data set, so that a foil cannot be recognised by its words.
    """
    most = max(map(len, WORDS.values()))
    draws = np.random.default_rng(SEED).random((len(asked), len(WORDS), 2, most))
    found = []
    for said, draw in zip(asked, draws, strict=True):
        actions = (said.parts["first"], said.parts["second"])
        for (slot, values), (place, word) in zip(WORDS.items(), draw, strict=True):
            taken = actions if slot in ("first", "second") else (said.parts[slot],)
            free = [value for value in values if value not in taken]
            for n in place[: len(free)].argsort()[:FOILS]:
                found.append(say(*changed(said, slot, free[n], int(word[n] * len(values[free[n]])))))
    return [found[i :: len(WORDS) * FOILS] for i in range(len(WORDS) * FOILS)]


def _scores(
    judged: Judged, clips: np.ndarray, captions: Sequence[Sequence[str]], time: np.ndarray | None = None
) -> np.ndarray:
    """Scores float32 [Q, C] of each clip [Q] with C captions; `time` [T]: the frames in another order."""
    import torch

    from workbench.tasks.pair_retrieval import finite

    part = judged.gallery
    order = None if time is None else np.tile(time, (len(part.clips), 1))
    known, number = np.unique(np.array(captions), return_inverse=True)
    number = number.reshape(len(captions), -1)  # [Q, C]
    asked = judged.saying(known.tolist())
    if judged.by_pairs:
        pairs = np.broadcast_to(clips[:, None], number.shape)
        return finite(asked.match(pairs.ravel(), number.ravel(), order)).reshape(number.shape)
    video, text = judged.embed_videos(order)[clips].double(), asked.embed_texts().double()
    columns = [(video * text[torch.from_numpy(one)]).sum(1) for one in number.T]
    return finite(torch.stack(columns, 1).float().numpy())
