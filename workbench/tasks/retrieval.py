"""Text-video retrieval, unmasked: recall, median and mean rank in both directions.

Protocol: every caption searches all clips of the split and every clip all captions, by cosine similarity;
ties count against the model; of a clip with several captions the best-ranked one counts.
"""

from __future__ import annotations

from workbench.metrics import Metric, Queries

SIDES = {"t2v": ("text-to-video", "t2v_group"), "v2t": ("video-to-text", "")}
"""Direction -> its label, and the array of the clips that its queries belong to."""


def _metrics(side: str) -> list[Metric]:
    label, groups = SIDES[side]

    def queries(at_most: int = 0) -> Queries:
        where = {"values": f"{side}_rank", "ids": f"{side}_id", "groups": groups}
        return Queries(file="ranks.npz", **where, at_most=at_most)

    recalls = [
        Metric(
            name=f"{side}_r{k}",
            label=f"{label} R@{k}",
            unit="%",
            difference=f"points of R@{k}" if side == "t2v" else f"points of {side}_r{k}",
            low=0.0,
            high=100.0,
            queries=queries(k),
        )
        for k in (1, 5, 10)
    ]
    mean = Metric(
        name=f"{side}_meanr", label=f"{label} mean rank", direction="minimize", low=1.0, queries=queries()
    )
    median = Metric(name=f"{side}_medr", label=f"{label} median rank", direction="minimize", low=1.0)
    return [*recalls, median, mean]


METRICS = (*_metrics("t2v"), *_metrics("v2t"))
