"""The style of all figures: colours, labels with units, escaped names."""

from __future__ import annotations

import html
import textwrap

from workbench import tasks

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
"""Okabe and Ito's palette, which colour-blind readers can tell apart; markers differ as well."""
SCREEN_COLOURS = (*COLOURS[:-1], "#777777")
"""The same for pages, whose background may be light or dark."""
MARKERS = "osD^vPX"
PLOTLY_MARKERS = ("circle", "square", "diamond", "triangle-up", "triangle-down", "cross", "x")
DASHES = ("solid", "dash", "dot")
"""Styles of lines, changed each time the colours begin anew."""
MOST_MARKERS = 30
"""Up to so many points of a curve have a marker each."""
MOST_BARS = 100
"""Up to so many cells against a cost all have their interval drawn; of more, those on the front have."""
MAP = "cividis"
"""Colour map of grids: even in brightness and the same to colour-blind readers."""
SCALE = ("#56B4E9", "#D55E00")
"""Ends of the colour scale of thin lines, which are seen on light and on dark ground."""
STANDING = {"better": COLOURS[0], "worse": COLOURS[1], "": "#777777"}
"""Colour of a difference to the baseline: claimed either way, or open."""
STANDING_MARKERS = {"better": "triangle-up", "worse": "triangle-down", "": "circle"}
"""The same by shape on pages, for readers who see no colours."""

HOLM, IN_ORDER = "after Holm", "in fixed order"
"""Names of the correction: for one family of tests, or for registered contrasts."""

CLOCKS = ("step", "pflops", "seconds")
"""The x axes of learning curves."""

LONGEST = 52
"""Number of characters to which a name in a figure is truncated."""
ONE_LINE = 32
"""Number of characters of a line of a multi-line label."""
BESIDE_AXIS = 38
"""Letters of a title on one line along an axis of usual length."""

CLOCK_LABELS = {"step": "steps", "pflops": "training PFLOPs", "seconds": "training time (s)"}


def standings(rule: str) -> dict[str, str]:
    """Standing of a difference -> what a legend calls it. rule: empty where none was tested."""
    if not rule:
        return {"": "not tested"}
    return {"better": f"better, {rule}", "worse": f"worse, {rule}", "": "no claim"}


def label(name: str) -> str:
    """A clock, or a metric as `tasks.title` has it; a name that is not known is made harmless."""
    known = tasks.metric(name)
    words = plain(name) if known.label == known.name else tasks.title(name)
    return CLOCK_LABELS.get(name) or words


def plain(name: str) -> str:
    """A name as words, on one line, cut where it would leave no room for the picture."""
    words = " ".join(name.replace("_", " ").split())
    return words if len(words) <= LONGEST else f"{words[: LONGEST - 1]}…"


def safe(name: str) -> str:
    """For plotly, which renders a few HTML tags in labels."""
    return html.escape(plain(name), quote=False)


def broken(title: str, letters: int = ONE_LINE) -> str:
    """For plotly, the whole title of an axis, on as many lines as a narrow page needs."""
    return "<br>".join(
        html.escape(line, quote=False) for line in textwrap.wrap(title, letters, break_on_hyphens=False)
    )


def fitted(title: str, letters: int = BESIDE_AXIS) -> str:
    """For matplotlib, the whole title of an axis, on as many lines as its length needs."""
    return textwrap.fill(title, letters, break_on_hyphens=False)


def wrapped(name: str) -> str:
    """For plotly, on two lines where it is long, so that a narrow page has room for the picture too."""
    words = plain(name)
    spaces = [i for i, letter in enumerate(words) if letter == " "]
    if len(words) <= ONE_LINE or not spaces:
        return safe(name)
    commas = [i for i in spaces if words[i - 1] in ",;"]
    at = min(commas or spaces, key=lambda i: abs(i - len(words) / 2))
    return f"{safe(words[:at])}<br>{safe(words[at:])}"


def value_text(value: object) -> str:
    """A value of an axis."""
    return f"{value:g}" if isinstance(value, float) else str(value)


def is_number(text: str) -> bool:
    """Whether a value of an axis, in words, is a number."""
    try:
        float(text)
    except ValueError:
        return False
    return True
