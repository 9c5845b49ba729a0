"""The pictures drawn by plotly, from the tables of `workbench.figures.tables`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import plotly.graph_objects as go
import polars as pl
from plotly.subplots import make_subplots

from workbench.figures.style import COLOURS, MAP, PLOTLY_MARKERS, STANDING, label, safe
from workbench.figures.tables import MOST_COLUMNS

FONT = {"family": "system-ui, sans-serif", "size": 13}


def sweep_figure(table: pl.DataFrame, *, axis: str, metric: str) -> go.Figure:
    """The metric over an axis with its intervals; one colour a curve."""
    panels = _texts(table, "panel")
    figure = make_subplots(1, len(panels), shared_yaxes=True, subplot_titles=[safe(p) for p in panels])
    curves = _texts(table, "curve")
    words = table.filter(pl.col("position").is_not_null()).unique("position").sort("position")
    connected = all(_is_number(x) for x in words["x"])
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
                    line={"color": COLOURS[i % len(COLOURS)]},
                    name=safe(name) or safe(axis),
                    legendgroup=name,
                    showlegend=column == 1 and len(curves) > 1,
                    customdata=part.select("x", "low", "high").rows(),
                    hovertemplate=f"{safe(axis)} %{{customdata[0]}}: %{{y:.1f}} "
                    "[%{customdata[1]:.1f}, %{customdata[2]:.1f}]",
                ),
                1,
                column,
            )
    figure.update_xaxes(title_text=safe(axis))
    if words.height <= MOST_COLUMNS:
        names = [safe(x) for x in words["x"]]
        figure.update_xaxes(tickvals=words["position"].to_list(), ticktext=names)
    figure.update_yaxes(title_text=safe(label(metric)), col=1)
    return _finished(figure)


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
                y=[safe(r) for r in rows],
                z=[[None if cell is None else cell["mean"] for cell in line] for line in cells],
                text=[["" if cell is None else _cell_text(cell) for cell in line] for line in cells],
                texttemplate="%{text}",
                coloraxis="coloraxis",
                hovertemplate=f"%{{y}}, {safe(column)} %{{x}}: %{{text}}<extra></extra>",
            ),
            1,
            number,
        )
    figure.update_xaxes(title_text=safe(column), type="category")
    figure.update_yaxes(title_text=safe(row), type="category", col=1)
    figure.update_layout(coloraxis={"colorscale": MAP, "colorbar": {"title": safe(label(metric))}})
    return _finished(figure)


def cost_figure(table: pl.DataFrame, *, metric: str) -> go.Figure:
    """The metric against each cost; the Pareto front is connected."""
    costs, curves = _texts(table, "cost"), _texts(table, "curve")
    figure = make_subplots(1, len(costs), shared_yaxes=True)
    for column, cost in enumerate(costs, 1):
        part = table.filter(pl.col("cost") == cost)
        front = part.filter(pl.col("on_front")).sort("x")
        line = {"color": "#777777", "dash": "dot"}
        figure.add_trace(
            go.Scatter(x=front["x"].to_list(), y=front["mean"].to_list(), mode="lines", line=line,
                       name="Pareto front", legendgroup="front", showlegend=column == 1, hoverinfo="skip"),
            1, column,
        )  # fmt: skip
        for i, name in enumerate(curves):
            mine = part.filter(pl.col("curve") == name)
            figure.add_trace(
                go.Scatter(
                    x=mine["x"].to_list(),
                    y=mine["mean"].to_list(),
                    error_y=_bars(mine),
                    mode="markers",
                    marker={
                        "symbol": PLOTLY_MARKERS[i % len(PLOTLY_MARKERS)],
                        "color": COLOURS[i % len(COLOURS)],
                        "size": 9,
                    },
                    name=safe(name) or "cells",
                    legendgroup=name,
                    showlegend=column == 1 and len(curves) > 1,
                    text=[safe(cell) for cell in mine["cell"]],
                    customdata=[[f"{100 * f:.0f} %"] for f in mine["frequency"]],
                    hovertemplate="%{text}: %{y:.1f} at %{x:.4g}; on the front in %{customdata[0]} "
                    "of resamples<extra></extra>",
                ),
                1,
                column,
            )
        figure.update_xaxes(title_text=safe(label(cost)), col=column)
    figure.update_yaxes(title_text=safe(label(metric)), col=1)
    return _finished(figure)


def curves_figure(table: pl.DataFrame, labels: dict[str, str], *, metric: str) -> go.Figure:
    """Learning curves over steps, PFLOPs and seconds; labels: key of a cell -> what to call it."""
    figure = make_subplots(1, 3, shared_yaxes=True)
    for column, clock in enumerate(("step", "pflops", "seconds"), 1):
        for i, key in enumerate(_texts(table, "key")):
            part = table.filter(pl.col("key") == key)
            figure.add_trace(
                go.Scatter(
                    x=part[clock].to_list(),
                    y=part["mean"].to_list(),
                    error_y=_bars(part),
                    mode="lines+markers",
                    marker={"symbol": PLOTLY_MARKERS[i % len(PLOTLY_MARKERS)]},
                    line={"color": COLOURS[i % len(COLOURS)]},
                    name=safe(labels[key]),
                    legendgroup=key,
                    showlegend=column == 1,
                ),
                1,
                column,
            )
        figure.update_xaxes(title_text=label(clock), rangemode="tozero", col=column)
    figure.update_yaxes(title_text=safe(label(metric)), rangemode="tozero", col=1)
    return _finished(figure)


def effects_figure(table: pl.DataFrame, *, baseline: str, unit: str) -> go.Figure:
    """Differences to the baseline with 95 % intervals, coloured where one may be claimed after Holm."""
    figure = go.Figure()
    for standing, name in (("better", "better, after Holm"), ("worse", "worse, after Holm"), ("", "open")):
        part = table.filter(pl.col("standing") == standing)
        if part.is_empty():
            continue
        known = {"mean": pl.col("effect")}
        figure.add_trace(
            go.Scatter(
                x=part["effect"].to_list(),
                y=[safe(cell) for cell in part["cell"]],
                error_x=_bars(part.with_columns(**known)),
                mode="markers",
                marker={"color": STANDING[standing], "size": 9},
                name=name,
                customdata=part.select("low", "high", "p_adjusted").rows(),
                hovertemplate="%{y}: %{x:+.1f} [%{customdata[0]:.1f}, %{customdata[1]:.1f}], p after Holm "
                "%{customdata[2]:.2g}<extra></extra>",
            )
        )
    figure.add_vline(x=0, line={"color": "black", "width": 1})
    order = [safe(cell) for cell in reversed(table["cell"].to_list())]
    figure.update_yaxes(categoryorder="array", categoryarray=order, automargin=True)
    figure.update_xaxes(title_text=safe(f"difference to {baseline} ({unit})"))
    figure = _finished(figure)
    return figure.update_layout(height=160 + 24 * table.height)


def _finished(figure: go.Figure) -> go.Figure:
    return figure.update_layout(
        template="plotly_white", font=FONT, height=420, margin={"t": 40, "r": 20}, legend={"title": None}
    )


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


def _cell_text(cell: dict[str, Any]) -> str:
    arrow = {"better": " ↑", "worse": " ↓"}.get(cell["standing"], "")
    if cell["low"] is None:
        return f"{cell['mean']:.1f}{arrow}"
    return f"{cell['mean']:.1f}{arrow}<br>[{cell['low']:.1f}, {cell['high']:.1f}]"


def _texts(table: pl.DataFrame, column: str) -> list[str]:
    return table[column].unique(maintain_order=True).to_list()


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
