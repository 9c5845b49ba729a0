"""Learning curves: the training loss, or any metric on val, of several cells over steps, FLOPs or seconds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import polars as pl
import streamlit as st

from app import address, marked_cells, widgets
from app.markdown import escaped
from app.runs import Runs
from app.widgets import nothing_yet
from workbench import figures, naming
from workbench.figures import paper
from workbench.figures.style import MOST_MARKERS, label
from workbench.metrics import score
from workbench.report.pictures import Picture, worth_showing

TITLE = "Learning curves"
ORDER = 25
FOLLOWS = True

REFRESH = 5
"""Seconds between looks at runs that are under way."""
MOST = 7
"""Largest number of cells, as there are as many colours."""
LOSS = "train/loss"
SMOOTHING = 0.9
"""Default smoothing of metrics that are recorded at every step."""
FEW = 10
"""Smallest number of points of a loss curve; runs from an archive have fewer."""
ARCHIVED = "Runs from an archive have only what was recorded together with an evaluation."
"""Shown if a metric that is recorded at every step has no curve."""


def render(runs: Runs) -> None:
    st.header("Learning curves")
    if runs.table.is_empty():
        nothing_yet(runs, "No run has started yet.")
        return
    keys = widgets.cells(runs, default=_usual(runs), most=MOST, pin=True)
    names = _metrics(runs, keys)
    if not names:
        st.info("None of these cells has written a curve yet.")
        return
    left, middle, right = st.columns([3, 2, 2], vertical_alignment="bottom")
    with left:
        few = _few(runs, keys)
        first = (f"val/{runs.metric}", LOSS) if few else (LOSS, f"val/{runs.metric}")
        usual = next((name for name in first if name in names), names[0])
        metric = address.choose("curve", "Curve", {name: label(name) for name in names}, usual)
    with middle:
        clock = widgets.clock()
    with right:
        # Each kind has its own, so that changing the curve does not smooth a handful of evaluations.
        kind, default = ("eval", 0.0) if score(metric) else ("train", 0.0 if few else SMOOTHING)
        weight = address.number(
            f"smoothing_{kind}", "Smoothing", 0.0, 0.99, default, step=0.01,
            help="Weight of what came before, in an exponential mean over the points of a curve. Each run "
            "has at most 200 points; 0 shows them as they were recorded.",
        )  # fmt: skip
    running = (runs.table.filter(pl.col("key").is_in(keys))["state"] == "running").any()
    st.fragment(_picture, run_every=REFRESH if running else None)(runs, keys, metric, clock, weight)


def _usual(runs: Runs) -> list[str]:
    """The cells at first: those of the report, and before there are any those that have runs."""
    answer = runs.answer()
    if answer is not None and not answer.cells.is_empty():
        return worth_showing(answer)
    known = list(runs.asked.cells) if runs.asked is not None else []
    there = runs.table["key"].drop_nulls().unique(maintain_order=True).to_list()
    return [key for key in known or there if key in there][:MOST]


def _metrics(runs: Runs, keys: Sequence[str]) -> list[str]:
    """What a run of each of these cells has noted: the loss, the metrics on val, then the rest."""
    first = runs.table.filter(pl.col("key").is_in(list(keys))).sort("step", descending=True, nulls_last=True)
    names = first.unique("key", keep="first", maintain_order=True)["run"].sort().to_list()
    found = runs.curves(names, points=1)["metric"].unique(maintain_order=True).to_list()
    return sorted(found, key=lambda name: (name != LOSS, score(name) is None, not name.startswith("train/")))


def _few(runs: Runs, keys: Sequence[str]) -> bool:
    """Whether a cell has complete runs that noted fewer than `FEW` losses: an archive keeps rows with
    evaluations alone, of which a run has a handful."""
    done = runs.done.filter(pl.col("key").is_in(list(keys))).unique("key", keep="first", maintain_order=True)
    counts = runs.curves(done["run"], [LOSS], points=FEW)["run"].value_counts()
    known = dict(counts.iter_rows())
    return any(known.get(run, 0) < FEW for run in done["run"])


def _picture(runs: Runs, keys: Sequence[str], metric: str, clock: str, weight: float) -> None:
    """The curves as they are now: looks again by itself while runs are under way."""
    runs = runs.now()
    mine = runs.table.filter(pl.col("key").is_in(list(keys))).sort("seed")
    curves = figures.smoothed(runs.curves(mine["run"], [metric]).drop_nulls(clock), weight)
    cells, labels, owners = _named(runs, mine, set(curves["run"]), keys)
    table = figures.curves_table(curves, cells, metric, list(labels))
    rest = "" if score(metric) else ARCHIVED
    if table is None:
        st.info(f"None of these cells has recorded {escaped(label(metric))} yet. {rest}")
        return
    if lacking := _without(runs, mine, keys, {owners.get(key, key) for key in table["key"]}):
        noted = f"{label(metric)} over {label(clock)}"
        text = f"Without a curve, since no run has recorded {noted}: {'; '.join(lacking)}."
        st.caption(escaped(f"{text} {rest}"))
    labels = {key: labels[key] for key in labels if key in set(table["key"])}
    given: dict[str, Any] = {"metric": metric, "clocks": [clock], "owners": owners}
    picture = Picture(
        name="learning",
        caption=naming.first(_caption(table, metric, clock, weight, owners)),
        drawn=lambda: paper.curves(table, labels, **given),
        moving=figures.curves_figure(table, labels, **given),
    )
    answer = runs.answer()
    if answer is None:  # nobody knows what is asked, so the curves are shown alone
        widgets.figure(f"{runs.study}-learning", picture.caption, picture.moving, picture.drawn)
    else:
        marked_cells.figure(runs, answer, picture, first=True)
    address.commit()  # what is marked here refreshes this part alone


def _without(runs: Runs, mine: pl.DataFrame, keys: Sequence[str], shown: set[str]) -> list[str]:
    """Cells that were chosen and have no curve, each with how many runs it has."""
    found = []
    for key in keys:
        cells = mine.filter(pl.col("key") == key)["cell"]
        if key not in shown:
            count = f"{len(cells)} run{'' if len(cells) == 1 else 's'}" if len(cells) else "no run yet"
            found.append(f"{runs.name_of(key, next(iter(cells), None))} ({count})")
    return found


def _named(
    runs: Runs, mine: pl.DataFrame, there: set[str], keys: Sequence[str]
) -> tuple[dict[str, str], dict[str, str], dict[str, str]]:
    """Run -> its curve, curve -> what to call it, dotted curve -> the cell whose colour it has.

    The complete runs of a cell are one curve; each other run is one of its own, since it ends earlier.
    """
    cells: dict[str, str] = {}
    labels: dict[str, str] = {}
    owners: dict[str, str] = {}
    for key in keys:
        for row in mine.filter(pl.col("key") == key).iter_rows(named=True):
            name, run = runs.name_of(key, row["cell"]), row["run"]
            if run not in there:
                continue
            if row["state"] == "complete":
                cells[run], labels[key] = key, name
            else:
                cells[run] = owned = run
                labels[owned], owners[owned] = f"{name}, seed {row['seed']} ({row['state']})", key
    return cells, labels, owners


def _caption(table: pl.DataFrame, metric: str, clock: str, weight: float, owners: Mapping[str, str]) -> str:
    """What was drawn, in words."""
    whole = table.filter(~pl.col("key").is_in(list(owners)))
    text = f"{label(metric)} over {label(clock)}"
    if (whole["seeds"] > 1).any():
        few = whole.group_by("key").len()["len"].max()
        spread = "error bars" if isinstance(few, int) and few <= MOST_MARKERS else "bands"
        most = max(whole["seeds"].to_list())
        text += f", means over complete runs of up to {most} seeds; {spread} span the minimum to the maximum"
    elif not whole.is_empty():
        text += ", one complete run of each cell, so there is no spread to show"
    text += ". " + (f"Smoothed with a weight of {weight:.2g}. " if weight else "")
    return text + ("Dotted lines are runs that are not complete." if owners else "")
