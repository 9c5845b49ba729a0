"""Cells that a reader has marked: rings around their points, frames around their fields, wide curves."""

from __future__ import annotations

from collections.abc import Collection

import plotly.graph_objects as go

COLOUR = "#FF00C8"
"""Colour of rings and frames: in no palette, and visible on light and dark backgrounds and on every map."""
RING, FRAME, WIDE, REST = 22, 54, 4, 0.35
"""Pixels of a ring, of a frame and of a marked curve; opacity of the curves beside it."""


def marked(figure: go.Figure, keys: Collection[str]) -> go.Figure:
    """A copy of the figure in which cells are marked; the figure itself where none of these is in it.

    keys: of the cells, by which the figure knows its points (see `workbench.figures.interactive`).
    """
    if not any(key in keys for trace in figure.data for key in _keys(trace)):
        return figure
    figure = go.Figure(figure)
    curves = [trace for trace in figure.data if _is_curve(trace)]
    for trace in curves if any(_keys(curve)[0] in keys for curve in curves) else ():
        if _keys(trace)[0] in keys:
            trace.line.width = WIDE
        else:
            trace.opacity = REST
    for trace in figure.data:
        there = [] if _is_curve(trace) else [i for i, key in enumerate(_keys(trace)) if key in keys]
        if there:
            field = trace.marker.opacity == 0
            size, symbol = (FRAME, "square-open") if field else (RING, "circle-open")
            figure.add_trace(
                go.Scatter(
                    x=[trace.x[i] for i in there], y=[trace.y[i] for i in there], mode="markers",
                    marker={"symbol": symbol, "size": size, "color": COLOUR, "line": {"width": 3}},
                    xaxis=trace.xaxis, yaxis=trace.yaxis, hoverinfo="skip", showlegend=False, name="marked",
                )
            )  # fmt: skip
    return figure


def _keys(trace: go.Scatter) -> list[str]:
    """The last word of each point's `customdata`; empty where points stand for no cells."""
    known = trace.type == "scatter" and trace.customdata is not None
    return [row[-1] for row in trace.customdata] if known else []


def _is_curve(trace: go.Scatter) -> bool:
    """Whether all points are of one cell and joined by a line."""
    keys = _keys(trace)
    return len(keys) > 1 and len(set(keys)) == 1 and "lines" in (trace.mode or "")
