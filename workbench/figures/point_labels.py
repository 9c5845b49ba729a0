"""Labels of points that cover neither each other nor a point.

Figures for print have all labels; figures for screens, whose width is unknown, only those that always fit."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from workbench.figures.style import safe

if TYPE_CHECKING:
    from matplotlib.axes import Axes

SIZE = 8
"""Font size in points."""
RADII = (6, 12, 19, 27, 36, 46, 57, 69)
"""Distances of a label from its point, in points; the nearest free position is used."""
DIRECTIONS = 16
LINE_FROM = 12
"""Distance from which a label is connected with its point."""
POINT = 5
"""Half of the side of the square around a point."""


MOST_NAMES = 8
"""Names in a panel of a screen; of more, those on the front alone, and the others where somebody points."""
SHORT = 4
"""Number of characters of a label that fits at every point, such as a number."""


def screen_names(points: pl.DataFrame, panel: pl.DataFrame) -> dict[str, Any]:
    """The texts of a plotly trace and where they stand: those of points at the right edge to their left, so
    that they are not cut.

    points: of the trace, with x, beside and on_front; panel: all points of the panel, these among them.
    """
    long = panel.filter(pl.col("beside").str.len_chars() > SHORT).height
    shown = points.select(
        pl.when(pl.col("on_front") | (long <= MOST_NAMES)).then("beside").otherwise(pl.lit(""))
    ).to_series()
    low, high = panel.select(pl.col("x").min().alias("low"), pl.col("x").max().alias("high")).row(0)
    right = [x > low + (high - low) * 2 / 3 for x in points["x"]]
    return {
        "text": [safe(word) for word in shown],
        "textposition": ["top left" if far else "top right" for far in right],
    }


def name_points(axes: Axes, points: Sequence[tuple[float, float, str]]) -> None:
    """Writes a name beside each point (x, y, name) of axes that are finished otherwise.

    A name stands where it fits inside the axes; where there is no such place, where it covers least.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = axes.figure
    assert isinstance(figure, Figure), "no picture in a picture"
    renderer = FigureCanvasAgg(figure).get_renderer()
    figure.draw_without_rendering()  # decides where the axes are
    unit = figure.dpi / 72  # pixels of a point
    centres = axes.transData.transform([(x, y) for x, y, _ in points])
    taken = [_box(centre, 2 * POINT * unit, 2 * POINT * unit) for centre in centres]
    frame = axes.get_window_extent(renderer)
    for i in np.argsort(-centres[:, 1], kind="stable"):  # from above
        text = axes.text(0, 0, points[i][2], fontsize=SIZE)
        extent = text.get_window_extent(renderer)
        text.remove()
        width, height = extent.width + 2 * unit, extent.height + unit
        best: tuple[float, int, np.ndarray] | None = None
        for radius in RADII:
            for turn in range(DIRECTIONS):
                angle = 2 * math.pi * turn / DIRECTIONS + math.pi / 4
                way = np.array([math.cos(angle), math.sin(angle)])
                middle = centres[i] + way * (radius * unit + np.array([width, height]) / 2)
                box = _box(middle, width, height)
                outside = width * height - _common(box, frame.extents)
                covered = 3 * outside + sum(_common(box, other) for k, other in enumerate(taken) if k != i)
                if best is None or covered < best[0] - 1e-6:
                    best = covered, radius, middle
            if best is not None and best[0] <= 1e-6:
                break
        assert best is not None, "there are places to try"
        _, radius, middle = best
        taken.append(_box(middle, width, height))
        line = {"arrowstyle": "-", "color": "#777777", "linewidth": 0.6, "shrinkA": 0, "shrinkB": 3}
        axes.annotate(
            points[i][2],
            points[i][:2],
            xytext=tuple((middle - centres[i]) / unit),
            textcoords="offset points",
            fontsize=SIZE,
            ha="center",
            va="center",
            bbox={"facecolor": "white", "edgecolor": "none", "alpha": 0.75, "pad": 0.4},
            arrowprops=line if radius > LINE_FROM else None,
        ).set_in_layout(False)


def _box(middle: np.ndarray, width: float, height: float) -> np.ndarray:
    """Left, bottom, right, top."""
    half = np.array([width, height]) / 2
    return np.concatenate([middle - half, middle + half])


def _common(one: np.ndarray, other: Sequence[float] | np.ndarray) -> float:
    """The area that two boxes share."""
    sides = np.minimum(one[2:], other[2:]) - np.maximum(one[:2], other[:2])
    return float(np.prod(np.clip(sides, 0, None)))
