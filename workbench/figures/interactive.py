"""Figures drawn by plotly, from the tables of `workbench.figures.tables`.

`customdata` of each point that stands for a cell ends with the cell's key.
"""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence
from typing import Any

import plotly.graph_objects as go
import polars as pl
from plotly.subplots import make_subplots

from workbench.figures.point_labels import screen_names
from workbench.figures.style import (
    BESIDE_AXIS,
    CLOCKS,
    DASHES,
    HOLM,
    MAP,
    MOST_BARS,
    MOST_MARKERS,
    PLOTLY_MARKERS,
    SCREEN_COLOURS,
    STANDING,
    STANDING_MARKERS,
    broken,
    is_number,
    label,
    plain,
    safe,
    standings,
    wrapped,
)
from workbench.figures.tables import MOST_COLUMNS
from workbench.metrics import score

FONT = {"family": "system-ui, sans-serif", "size": 13}
LINE = 18
"""Height of a line of text in pixels."""
FIELD, BESIDE = (56, 54), (70, 206)
"""Pixels, across and down, of a field of a map with a number and its interval, and of what is around it."""


def sweep_figure(table: pl.DataFrame, *, axis: str, metric: str, chance: float | None = None) -> go.Figure:
    """The metric over an axis with its intervals; one colour a curve. chance: the chance level."""
    panels = _texts(table, "panel")
    figure = make_subplots(1, len(panels), shared_yaxes=True, subplot_titles=[safe(p) for p in panels])
    curves = _texts(table, "curve")
    words = table.filter(pl.col("position").is_not_null()).unique("position").sort("position")
    connected = all(is_number(x) for x in words["x"])
    positions = table["position"].to_list()
    reach = max(positions) - min(positions) or 1.0
    for column, panel in enumerate(panels, 1):
        for i, name in enumerate(curves):
            part = table.filter((pl.col("panel") == panel) & (pl.col("curve") == name))
            shift = 0.008 * reach * (i - (len(curves) - 1) / 2)
            figure.add_trace(
                go.Scatter(
                    x=[p + shift for p in part["position"]],
                    y=part["mean"].to_list(),
                    error_y=_bars(part),
                    mode="lines+markers" if connected else "markers",
                    marker={"symbol": PLOTLY_MARKERS[i % len(PLOTLY_MARKERS)], "size": 8},
                    line={"color": SCREEN_COLOURS[i % len(SCREEN_COLOURS)]},
                    name=safe(name) or safe(axis),
                    legendgroup=name,
                    showlegend=column == 1 and len(curves) > 1,
                    customdata=[
                        [safe(x), "" if low is None else f" [{low:.1f}, {high:.1f}]", key]
                        for x, low, high, key in part.select("x", "low", "high", "key").iter_rows()
                    ],
                    hovertemplate=f"{safe(axis)} %{{customdata[0]}}: %{{y:.1f}}%{{customdata[1]}}",
                ),
                1,
                column,
            )
    figure.update_xaxes(title_text=safe(axis))
    if words.height <= MOST_COLUMNS or not connected:
        figure.update_xaxes(tickvals=words["position"].to_list(), ticktext=[safe(x) for x in words["x"]])
        if not connected:  # plotly leaves out a name that reaches beyond the picture
            half = reach / max(1, 2 * (words.height - 1))
            figure.update_xaxes(range=[min(positions) - half, max(positions) + half])
    _beside(figure, metric)
    if chance is not None:
        figure.add_hline(y=chance, line={"color": "#777777", "width": 1, "dash": "dash"})
        said = {"text": f"chance {chance:.1f}", "font": {"color": "#777777"}, "showarrow": False}
        # Outside, where it covers no point.
        figure.add_annotation(x=1, y=chance, xref="paper", xanchor="left", xshift=6, **said)
        return finished(figure).update_layout(margin={"r": 90})
    return finished(figure)


def grid_figure(table: pl.DataFrame, *, row: str, column: str, metric: str) -> go.Figure:
    """The metric over two axes as a map; arrows where a cell may be said to differ from the baseline."""
    panels = _texts(table, "panel")
    figure = make_subplots(1, len(panels), shared_yaxes=True, subplot_titles=[safe(p) for p in panels])
    for number, panel in enumerate(panels, 1):
        part = table.filter(pl.col("panel") == panel)
        rows, columns = _texts(part, "row"), _texts(part, "column")
        found = {(r["row"], r["column"]): r for r in part.iter_rows(named=True)}
        cells = [[found.get((r, c)) for c in columns] for r in rows]
        figure.add_trace(
            go.Heatmap(
                x=[safe(c) for c in columns],
                y=[_level(r, row) for r in rows],
                z=[[None if cell is None else cell["mean"] for cell in line] for line in cells],
                text=[["" if cell is None else _cell_text(cell) for cell in line] for line in cells],
                texttemplate="%{text}",
                coloraxis="coloraxis",
                hoverinfo="skip",
            ),
            1,
            number,
        )
        figure.add_trace(_targets(part, f"{safe(row)} %{{y}}, {safe(column)} %{{x}}", row), 1, number)
    figure.update_xaxes(title_text=safe(column), type="category")
    figure.update_yaxes(title_text=safe(row), type="category", col=1)
    height = max(416, BESIDE[1] + FIELD[1] * table["row"].n_unique())
    # Below the axis, where it takes no room from the fields.
    bar = {"title": {"text": safe(label(metric)), "side": "top"}, "thickness": 12, "len": 0.6,
           "orientation": "h", "y": -66 / (height - 156), "yanchor": "top"}  # fmt: skip
    figure.update_layout(coloraxis={"colorscale": MAP, "colorbar": bar})
    return finished(figure).update_layout(height=height, margin={"b": 141})


def grid_width(table: pl.DataFrame) -> int:
    """Pixels that a map takes for all its numbers to be read."""
    return BESIDE[0] + FIELD[0] * table.select("panel", "column").n_unique()


def cost_figure(table: pl.DataFrame, *, metric: str) -> go.Figure:
    """The metric against each cost; the Pareto front is connected."""
    costs, curves = _texts(table, "cost"), _texts(table, "curve")
    across = min(2, len(costs))
    lines = -(-len(costs) // across)
    figure = make_subplots(lines, across, shared_yaxes=True, vertical_spacing=0.3 / lines)
    for number, cost in enumerate(costs):
        line, column = number // across + 1, number % across + 1
        part = table.filter(pl.col("cost") == cost)
        front = part.filter(pl.col("on_front")).sort("x")
        many = part.height > MOST_BARS
        dotted = {"color": "#777777", "dash": "dot"}
        figure.add_trace(
            go.Scatter(x=front["x"].to_list(), y=front["mean"].to_list(), mode="lines+markers", line=dotted,
                       error_y=_bars(front) if many else None,
                       marker={"symbol": "circle-open", "size": 17, "color": "#777777"},
                       name="Pareto front", legendgroup="front", showlegend=number == 0, hoverinfo="skip"),
            line, column,
        )  # fmt: skip
        for i, name in enumerate(curves):
            mine = part.filter(pl.col("curve") == name)
            figure.add_trace(
                go.Scatter(
                    x=mine["x"].to_list(),
                    y=mine["mean"].to_list(),
                    error_y=None if many else _bars(mine),
                    mode="markers+text",
                    cliponaxis=False,
                    **screen_names(mine, part),
                    marker={
                        "symbol": PLOTLY_MARKERS[i % len(PLOTLY_MARKERS)],
                        "color": SCREEN_COLOURS[i % len(SCREEN_COLOURS)],
                        "size": 9,
                    },
                    name=safe(name) or "cells",
                    legendgroup=name,
                    showlegend=number == 0 and len(curves) > 1,
                    hovertext=[safe(cell) for cell in mine["cell"]],
                    customdata=[
                        ["" if low is None else f" [{low:.1f}, {high:.1f}]", f"{100 * share:.0f} %", key]
                        for low, high, share, key in mine.select(
                            "low", "high", "frequency", "key"
                        ).iter_rows()
                    ],
                    hovertemplate="%{hovertext}: %{y:.1f}%{customdata[0]} at %{x:.4g}; on the front in "
                    "%{customdata[1]} of resamples<extra></extra>",
                ),
                line,
                column,
            )
        figure.update_xaxes(title_text=safe(label(cost)), row=line, col=column)
    _beside(figure, metric)
    return finished(figure).update_layout(height=60 + 340 * lines)


def curves_figure(
    table: pl.DataFrame,
    labels: Mapping[str, str],
    *,
    metric: str,
    clocks: Sequence[str] = CLOCKS,
    owners: Mapping[str, str] | None = None,
) -> go.Figure:
    """Learning curves, a panel for each clock; seeds spread as bars, or as a band where points are many.

    labels: key of a curve -> what to call it; owners: key of a dotted curve -> key of the one whose colour it
    has.
    """
    figure = make_subplots(1, len(clocks), shared_yaxes=True)
    keys, owners = _texts(table, "key"), owners or {}
    colours = {key: i for i, key in enumerate(dict.fromkeys(owners.get(key, key) for key in keys))}
    for column, clock in enumerate(clocks, 1):
        for key in keys:
            part = table.filter(pl.col("key") == key)
            i = colours[owners.get(key, key)]
            colour = SCREEN_COLOURS[i % len(SCREEN_COLOURS)]
            few, varies = part.height <= MOST_MARKERS, (part["low"] < part["high"]).any()
            dash = "dot" if key in owners else DASHES[i // len(SCREEN_COLOURS) % len(DASHES)]
            if varies and not few:
                figure.add_trace(_band(part, clock, colour, key), 1, column)
            figure.add_trace(
                go.Scatter(
                    x=part[clock].to_list(),
                    y=part["mean"].to_list(),
                    error_y=_bars(part) if varies and few else None,
                    mode="lines+markers" if few else "lines",
                    marker={"symbol": PLOTLY_MARKERS[i % len(PLOTLY_MARKERS)]},
                    line={"color": colour, "dash": dash, "width": 1.2 if key in owners else 2},
                    name=wrapped(labels[key]),
                    legendgroup=key,
                    showlegend=column == 1 and len(keys) > 1,
                    customdata=[[key]] * part.height,
                    hovertemplate=f"%{{y:.4g}} at %{{x:.4g}} {safe(label(clock))}",
                ),
                1,
                column,
            )
        figure.update_xaxes(title_text=label(clock), rangemode="tozero", col=column)
    # Of a loss zero says nothing.
    base = "normal" if score(metric) is None else "tozero"
    _beside(figure, metric).update_yaxes(rangemode=base, col=1)
    # On a narrow page each name is below the one before, which must not take the curves' room.
    below = max(0, len(keys) - 2 + sum("<br>" in wrapped(labels[key]) for key in keys))
    # Where the picture is drawn anew as runs go on, a part that was zoomed into stays.
    return finished(figure).update_layout(uirevision=f"{metric} {clocks}", height=400 + LINE * below)


def _band(part: pl.DataFrame, clock: str, colour: str, group: str) -> go.Scatter:
    """The area between minimum and maximum as a closed outline."""
    x = part[clock].to_list()
    red, green, blue = (int(colour[i : i + 2], 16) for i in (1, 3, 5))
    return go.Scatter(
        x=[*x, *reversed(x)], y=[*part["high"].to_list(), *reversed(part["low"].to_list())], fill="toself",
        fillcolor=f"rgba({red},{green},{blue},0.18)", line={"width": 0}, mode="lines", hoverinfo="skip",
        legendgroup=group, showlegend=False,
    )  # fmt: skip


def effects_figure(table: pl.DataFrame, *, title: str, rule: str = HOLM) -> go.Figure:
    """Differences with their intervals, coloured where one may be claimed.

    rule: by which it may, such as "after Holm"; empty where none was tested.
    """
    figure = go.Figure()
    # Heights are numbers, because long names are cut and two cut names may be the same.
    table = table.with_columns(height=-pl.int_range(pl.len()))
    tested = (f", p {rule} %{{customdata[2]:.2g}}" if rule else "") + "<extra></extra>"
    for standing, name in standings(rule).items():
        part = table.filter(pl.col("standing") == standing)
        if part.is_empty():
            continue
        figure.add_trace(
            go.Scatter(
                x=part["effect"].to_list(),
                y=part["height"].to_list(),
                error_x=_bars(part.with_columns(mean="effect")),
                mode="markers",
                marker={"color": STANDING[standing], "symbol": STANDING_MARKERS[standing], "size": 9},
                name=name,
                customdata=part.select("low", "high", "p_adjusted", "key").rows(),
                text=[html.escape(cell, quote=False) for cell in part["cell"]],
                hovertemplate="%{text}: %{x:+.1f} [%{customdata[0]:.1f}, %{customdata[1]:.1f}]" + tested,
            )
        )
    figure.add_vline(x=0, line={"color": "#777777", "width": 1})
    names = [wrapped(cell) for cell in table["cell"]]
    line = 36 if any("<br>" in name for name in names) else 24
    figure.update_yaxes(tickvals=table["height"].to_list(), ticktext=names, zeroline=False, automargin=True)
    figure.update_xaxes(title_text=broken(title))
    more = LINE * broken(title).count("<br>")
    figure = finished(figure)
    return figure.update_layout(height=175 + more + line * table.height, margin={"b": 50 + more})


def finished(figure: go.Figure) -> go.Figure:
    """The figure in the common style: font, margins (phones show plotly's buttons above), legend below."""
    figure.update_xaxes(exponentformat="none")  # 0.0003, not 300µ
    return figure.update_layout(
        template="plotly_white",
        font=FONT,
        height=400,
        margin={"t": 40 if figure.layout.annotations else 30, "r": 15, "b": 50},
        legend={"title": None, "orientation": "h", "yref": "container", "y": 0, "yanchor": "bottom"},
    )


def _beside(figure: go.Figure, metric: str) -> go.Figure:
    """Names the axis on the left."""
    title = broken(label(metric), BESIDE_AXIS)
    return figure.update_yaxes(title_text=title, automargin="<br>" in title or None, col=1)


def _bars(part: pl.DataFrame) -> dict[str, Any]:
    """Error bars from mean, low, high; none where the limits are not known."""

    def away(limit: str, sign: int) -> list[float]:
        pairs: Sequence[tuple[float, float | None]] = part.select("mean", limit).rows()
        return [0.0 if edge is None else max(0.0, sign * (edge - mean)) for mean, edge in pairs]

    return {
        "type": "data",
        "symmetric": False,
        "array": away("high", 1),
        "arrayminus": away("low", -1),
        "thickness": 1.2,
        "width": 3,
    }


def _targets(part: pl.DataFrame, where: str, row: str) -> go.Scatter:
    """What is clicked on a map: unseen squares over its cells, since plotly lets nobody select the cells."""
    return go.Scatter(
        x=[safe(column) for column in part["column"]],
        y=[_level(name, row) for name in part["row"]],
        mode="markers",
        marker={"symbol": "square", "size": 44, "opacity": 0},
        showlegend=False,
        text=[_cell_text(cell).replace(",<br>", ", ") for cell in part.iter_rows(named=True)],
        customdata=[[key] for key in part["key"]],
        hovertemplate=f"{where}: %{{text}}<extra></extra>",
    )


def _level(name: str, row: str) -> str:
    """A row of a map without the name of its axis, which stands beside the map."""
    return safe(plain(name).removeprefix(plain(row)).strip())


def _cell_text(cell: dict[str, Any]) -> str:
    arrow = {"better": " ↑", "worse": " ↓"}.get(cell["standing"], "")
    if cell["low"] is None:
        return f"{cell['mean']:.1f}{arrow}"
    return f"{cell['mean']:.1f}{arrow}<br>[{cell['low']:.1f},<br>{cell['high']:.1f}]"


def _texts(table: pl.DataFrame, column: str) -> list[str]:
    return table[column].unique(maintain_order=True).to_list()
