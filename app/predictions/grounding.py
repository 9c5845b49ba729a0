"""Predicted times of the actions in a clip on a time line, beside the true times."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import plotly.graph_objects as go
import streamlit as st

from app import widgets
from app.markdown import escaped
from app.predictions.request import Request
from workbench.figures.interactive import finished
from workbench.figures.style import COLOURS, safe

TRUE, FOUND = "true", "found"
SHADES = {TRUE: "#777777", FOUND: COLOURS[1]}


def show(asked: Request) -> None:
    """The clip, and for each thing that happens in it the true and the found segment."""
    left, right = st.columns([1, 3])
    with left:
        asked.play()
    queries = asked.ask("moments")[0]["queries"]
    with right:
        st.subheader(escaped(asked.caption))
        st.markdown(verdict(queries))
        st.caption(escaped(f"By {asked.name}, from similarities: nothing is trained for it. {asked.trained}"))
    caption = "When it happens, as a share of the clip: true, and as the model finds it."
    widgets.figure(f"{asked.run.path.name}-moments", caption, line_of_time(queries))


def verdict(queries: Sequence[Mapping[str, Any]]) -> str:
    """The overlap of each found segment with the true one."""
    each = "; ".join(f"“{escaped(one['words'])}” {100 * one['overlap']:.0f} %" for one in queries)
    return f"Overlap of the found time with the true one (intersection over union): {each}."


def line_of_time(queries: Sequence[Mapping[str, Any]]) -> go.Figure:
    """Two bars for each query, from its start to its end, in percent of the clip."""
    figure = go.Figure()
    for name, before in ((TRUE, ""), (FOUND, "found_")):
        starts = [100 * one[f"{before}start"] for one in queries]
        ends = [100 * one[f"{before}end"] for one in queries]
        figure.add_trace(
            go.Bar(
                y=[f"{number}. {safe(one['words'])}" for number, one in enumerate(queries, 1)],
                x=[end - start for start, end in zip(starts, ends, strict=True)],
                base=starts,
                customdata=ends,
                orientation="h",
                name=name,
                marker={"color": SHADES[name]},
                hovertemplate=f"{name}: %{{base:.0f}} to %{{customdata:.0f}} %<extra></extra>",
            )
        )
    figure.update_xaxes(title_text="share of the clip (%)", range=[0, 100])
    figure.update_yaxes(autorange="reversed", automargin=True)
    room = {"height": 170 + 70 * len(queries), "margin": {"t": 15, "b": 80}}
    return finished(figure).update_layout(barmode="group", legend={"traceorder": "normal"}, **room)
