"""Words that earlier versions wrote in reports, as they are written now, so that `check` reads old files."""

from __future__ import annotations

import re
from dataclasses import replace

from workbench.report.page import CHOICES, MATTERED, ORDER, ORIGIN, OVER
from workbench.report.saved import Table

HEADINGS = {
    "What mattered": MATTERED,
    "What more compute brings": OVER,
    "What a small budget foretells": ORDER,
    "What each choice does on average": CHOICES,
    "Where it comes from": ORIGIN,
}
"""Former heading above a table -> its heading now."""

_NO_TELLING = "Nothing was learned that can be told from chance"
_SAME = "all seeds gave the same answers and count as one"
_LIMITS = "no single crossing; where they may cross, the limits say"
_NO_SPREAD = "without any spread there is nothing to judge that by"
_WORDS = (
    (r"^does not$", "does not hold"),
    (_LIMITS, "no single crossing; limits give the range in which they may cross"),
    (_SAME, "all seeds gave identical answers, so they count as one"),
    (
        rf"the figure is the same in each seed; {_NO_SPREAD}",
        "the figure is the same for every seed, so its uncertainty cannot be estimated",
    ),
    (rf"; {_NO_SPREAD}", ", so the uncertainty of this difference cannot be estimated"),
    (_NO_TELLING, "Nothing was learned that is distinguishable from chance"),
    ("have one that misses the truth;", "have one that misses the true difference;"),
    ("seeds would not do to see a difference", "seeds would not be enough to detect a difference"),
    ("would have been seen with a chance of", "would have been detected with a probability of"),
    ("seeds to see a difference", "seeds to detect a difference"),
    (r"(text|video) gflops per clip", r"\1 GFLOPs/clip"),
    ("mean overlap of found and true times", "mIoU of predicted segments"),
    (r"times found with an overlap of (0\.\d)", r"R@1 at IoU \1"),
    (r"(segments|IoU 0\.\d): any segment", r"\1: random segment"),
    (": always the segment that suits the training clips", ": best constant segment on the training clips"),
    (": the best segment of whole steps", ": best segment on the step grid"),
    ("places in the named actor's box", "pointing accuracy, named actor"),
    (
        "places in an actor's box that are in the named one's",
        "share of hits on an actor that hit the named one",
    ),
    ("overlap of the best region with the", "IoU of the best region with the"),
    ("named actors found by the middle of the picture", "pointing accuracy of the frame centre"),
    ("named actors found by any place", "pointing accuracy of a random point"),
    (
        "named actors found by the middle of an actor, whichever",
        "pointing accuracy of the centre of a random actor",
    ),
    (
        "captions told from those with their actions swapped",
        "accuracy, caption against action-swapped caption",
    ),
    (
        r"captions told from (\d) that differ in one part",
        r"accuracy, caption against \1 foils that differ in one slot",
    ),
    (r"captions told from (\d) of another", r"accuracy, caption against \1 foils with another"),
    (
        r"swapped captions chosen for exchanged halves \(jumps are visible\)",
        "swapped caption preferred for exchanged halves (the cut is visible)",
    ),
    (
        "captions of the reversal chosen for reversed frames",
        "caption of the reversal preferred for reversed frames",
    ),
    (r"best (\d+) judged as pairs", r"top \1 re-ranked by the matching head"),
    (r"all pairs of a gallery of (\d+)", r"matching head, gallery of \1"),
    ("captions that the grammar makes", "captions that fit the grammar"),
    ("parts of captions that are right", "slot accuracy"),
    ("captions with all parts right", "captions with all slots right"),
    (": the commonest value of every part", ": majority value of every slot"),
    (" by a linear probe of pixels", " accuracy, linear probe on pixels"),
    (" by a linear probe", " accuracy, linear probe"),
    (r" by (\d+) nearest neighbours", r" accuracy, \1 nearest neighbours"),
    (", always the commonest(?! answer)", ", majority class"),
)
"""Pattern of what was written -> what is written now, applied in this order."""


def renewed(text: str) -> str:
    """A text with today's words in place of former ones."""
    for pattern, now in _WORDS:
        text = re.sub(pattern, now, text)
    return text


def renewed_table(table: Table) -> Table:
    """A saved table with today's heading, heads and words."""
    return replace(
        table,
        heading=HEADINGS.get(table.heading, table.heading),
        columns=tuple(map(renewed, table.columns)),
        rows=tuple(tuple(map(renewed, row)) for row in table.rows),
    )
