"""Names beside points of a matplotlib picture, of which none covers another one or a point."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from matplotlib.axes import Axes

SIZE = 8
"""Of the letters, in points."""
RADII = (6, 12, 19, 27, 36, 46, 57, 69)
"""How far a name may stand from its point, in points; the nearest free place is taken."""
DIRECTIONS = 16
LINE_FROM = 12
"""A name that stands so far away is connected with its point."""
POINT = 5
"""Half of the side of the square that a point takes."""


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
