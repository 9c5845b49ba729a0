"""What all pictures share: colours, labels with units, names made harmless."""

from __future__ import annotations

import html
import re

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
"""Okabe and Ito's palette, which colour-blind readers can tell apart; markers differ as well."""
SCREEN_COLOURS = (*COLOURS[:-1], "#777777")
"""The same for pages, whose ground may be light or dark."""
MARKERS = "osD^vPX"
PLOTLY_MARKERS = ("circle", "square", "diamond", "triangle-up", "triangle-down", "cross", "x")
DASHES = ("solid", "dash", "dot")
"""Of lines whose colours have begun anew."""
MOST_MARKERS = 30
"""Points of a curve that are marked one by one."""
MOST_BARS = 100
"""Cells against a cost that all have their interval drawn; of more, those on the front have."""
MAP = "cividis"
"""Colour map of grids: even in brightness and the same to colour-blind readers."""
SCALE = ("#56B4E9", "#D55E00")
"""Ends of the colour scale of thin lines, which are seen on light and on dark ground."""
STANDING = {"better": COLOURS[0], "worse": COLOURS[1], "": "#777777"}
"""Colour of a difference to the baseline: claimed either way, or open."""
STANDING_MARKERS = {"better": "triangle-up", "worse": "triangle-down", "": "circle"}
"""The same by shape on pages, for readers who see no colours."""

CLOCKS = ("step", "pflops", "seconds")
"""The x axes of learning curves."""

LONGEST = 44
"""Letters of a name in a picture."""

LABELS = {
    "t2v_r1": "text-to-video R@1 (%)",
    "t2v_r5": "text-to-video R@5 (%)",
    "t2v_r10": "text-to-video R@10 (%)",
    "v2t_r1": "video-to-text R@1 (%)",
    "v2t_r5": "video-to-text R@5 (%)",
    "v2t_r10": "video-to-text R@10 (%)",
    "t2v_medr": "text-to-video median rank",
    "t2v_meanr": "text-to-video mean rank",
    "v2t_medr": "video-to-text median rank",
    "v2t_meanr": "video-to-text mean rank",
    "cost/video_passes": "video encoder passes",
    "cost/text_passes": "text encoder passes",
    "cost/video_tokens_in": "video tokens of a clip",
    "cost/video_tokens_out": "video tokens encoded, all passes",
    "cost/peak_memory_gb": "peak memory (GB)",
    "train/steps": "training steps",
    "cost/train_gflops_per_clip": "training GFLOPs per clip",
    "cost/train_pflops": "training PFLOPs per run",
    "cost/video_gflops_per_clip": "video encoder, GFLOPs per clip",
    "cost/text_gflops_per_clip": "text encoder, GFLOPs per clip",
    "speed/train_seconds": "training time per run (s)",
    "speed/clips_per_s": "clips per second",
    "step": "steps",
    "seconds": "training time (s)",
    "pflops": "training PFLOPs",
}


def label(metric: str) -> str:
    """A metric with its unit; names that are not known are shown as they are."""
    split, _, name = metric.rpartition("/")
    if split in ("test", "val") and name in LABELS:
        return f"{split} {LABELS[name]}" if split == "val" else LABELS[name]
    return LABELS.get(metric, plain(metric))


def is_better_high(metric: str) -> bool:
    """Whether more of a metric is better: recall and throughput are, ranks, losses, costs are not."""
    return bool(re.search(r"_r\d+$|clips_per_s$|mfu$", metric))


def plain(name: str) -> str:
    """A name as words, on one line, cut where it would leave no room for the picture."""
    words = " ".join(name.replace("_", " ").split())
    return words if len(words) <= LONGEST else f"{words[: LONGEST - 1]}…"


def safe(name: str) -> str:
    """For plotly, which renders a few HTML tags in labels."""
    return html.escape(plain(name), quote=False)


def shown(value: object) -> str:
    """A value of an axis."""
    return f"{value:g}" if isinstance(value, float) else str(value)
