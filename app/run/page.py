"""The page of one run, below the table of runs."""

from __future__ import annotations

import os
import shlex
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlsplit

import polars as pl
import streamlit as st

from app import address
from app.markdown import escaped
from app.run import notes
from app.runs import Runs
from app.widgets import clock, figure, table
from workbench import figures, tables
from workbench.errors import UserError
from workbench.figures import paper
from workbench.figures.style import label
from workbench.metrics import score
from workbench.tracking.run_dir import RunDir

MLFLOW_UI = "WORKBENCH_MLFLOW_UI"
"""Environment variable: address of the MLflow UI, e.g. `http://127.0.0.1:5000`."""
PARTS = {
    "curves": "Curves",
    "masks": "Masks",
    "config": "Configuration",
    "environment": "Environment",
    "cost": "Cost and results",
    "log": "Log",
}


def show(runs: Runs, name: str) -> None:
    """Shows one run; refreshes while it is running."""
    runs = runs.now()
    row = next(iter(runs.table.filter(pl.col("run") == name).iter_rows(named=True)), None)
    if row is None:
        st.info("This run is no longer there.")
        return
    directory = runs.directory(name)
    st.subheader(escaped(next(iter(names(runs.table.filter(pl.col("run") == name))))), divider="gray")
    _headline(runs, row)
    _standing(row)
    notes.edit(runs, directory)
    _mlflow(directory)
    part = address.choose("part", "Show", PARTS, "curves", form="buttons")
    try:
        {"curves": _curves, "masks": _masks, "config": _config_table, "environment": _environment,
         "cost": _cost, "log": _log}[part](runs, directory)  # fmt: skip
    except UserError as error:
        st.error(escaped(str(error)))


def names(table: pl.DataFrame) -> list[str]:
    """Cell and seed of each run; its name where it tells neither."""
    rows = table.select("run", "cell", "seed").iter_rows()
    return [f"{cell} seed {seed}" if cell else run for run, cell, seed in rows]


def _headline(runs: Runs, row: dict[str, Any]) -> None:
    """What came out and what it costs, of what has been measured."""
    names = (f"test/{runs.metric}", "cost/train_gflops_per_clip", "speed/clips_per_s")
    found = {name: row.get(f"metric.{name}") for name in names}
    shown = {name: value for name, value in found.items() if value is not None}
    if not shown:
        return
    place = st.container(horizontal=True, gap="large")
    for name, value in shown.items():
        digits = (
            f"{value:.1f}" if score(name) is not None else f"{value:.3g}" if value < 100 else f"{value:.0f}"
        )
        place.metric(label(name), digits, width="content")


def _standing(row: dict[str, Any]) -> None:
    """State, progress, time, the weights it started from, and the reason where it went wrong."""
    step, steps = row["step"] or 0, row["steps"] or 0
    facts = {
        "State": row["state"] or "unknown",
        "Step": f"{step} of {steps}" if steps else f"{step}",
        "Training time": tables.duration(row["seconds"] or 0),
        "Last update": _moment(row["updated"]),
        "Attempt": str(row["attempt"] or 1),
    }
    for column, (name, value) in zip(st.columns(len(facts)), facts.items(), strict=True):
        column.caption(name)
        column.text(value)
    if start := row.get("env.start"):
        st.caption(escaped(f"Started from {start}"))
    if row["state"] == "running" and steps:
        st.progress(min(1.0, step / steps))
    if row["reason"] or row["failure"]:
        tell = st.warning if row["state"] in ("interrupted", "pruned") else st.error
        tell(escaped(": ".join(part for part in (row["failure"], row["reason"]) if part)))


def _mlflow(directory: RunDir) -> None:
    """A link to the run in MLflow if its UI has an address, else the command that serves its store."""
    try:
        known = directory.read_json("mlflow.json")
    except UserError:
        return  # the page does not depend on it
    store = str(known.get("address", ""))
    server = os.environ.get(MLFLOW_UI) or store
    run_id = str(known.get("run_id", ""))
    if not run_id.isalnum():
        return
    if urlsplit(server).scheme in ("http", "https"):
        st.link_button(
            "Open in MLflow", f"{server.rstrip('/')}/#/runs/{run_id}", icon=":material/open_in_new:"
        )
    elif store.startswith("sqlite:///"):
        with st.expander("In MLflow"):
            st.text(
                "This command serves the MLflow store that contains the run "
                f"(name {directory.path.name}, id {run_id}):"
            )
            serve = ["mlflow", "ui", "--host", "127.0.0.1", "--backend-store-uri", store]
            st.code(shlex.join(serve), language="shell")
            st.caption(f"Set `{MLFLOW_UI}` to the address of a running MLflow server to get a link here.")


def _curves(runs: Runs, directory: RunDir) -> None:
    name = directory.path.name
    curves = runs.curves([name])
    if curves.is_empty():
        st.info("No curve has been written yet.")
        return
    names = curves["metric"].unique(maintain_order=True).to_list()
    usual = next((n for n in (f"val/{runs.metric}", "train/loss") if n in names), names[0])
    left, right = st.columns(2)
    with left:
        metric = address.choose("curve", "Curve", {n: label(n) for n in names}, usual)
    with right:
        along = clock()
    made = figures.curves_table(curves, {name: name}, metric, [name])
    if made is None:
        return
    given: dict[str, Any] = {"metric": metric, "clocks": [along]}
    figure(
        f"{name}-curve",
        f"{label(metric)} of this run over {label(along)}.",
        figures.curves_figure(made, {name: name}, **given),
        lambda: paper.curves(made, {name: name}, **given),
    )


def _masks(runs: Runs, directory: RunDir) -> None:
    path = directory.file("mask_preview.png")
    if not path.exists():
        st.info("This run has no preview of its masks (yet).")
        return
    caption = "Clips of the first batch: whole above, what the encoder sees below, with their words."
    try:
        st.image(path.read_bytes(), caption=caption, alt=caption)
    except OSError:  # Pillow's way to say that it is no picture
        st.error("mask\\_preview.png of this run is damaged.")


def _config_table(runs: Runs, directory: RunDir) -> None:
    _facts(f"{directory.path.name}-config", directory.flat_config(), "no config.json")


def _environment(runs: Runs, directory: RunDir) -> None:
    _facts(
        f"{directory.path.name}-environment", directory.read_json("environment.json"), "no environment.json"
    )


def _cost(runs: Runs, directory: RunDir) -> None:
    # Until a run is complete, what it costs so far is in a file of its own.
    found = directory.read_json("cost.json") | directory.summary()
    words = {name: label(name) for name in found}
    _facts(f"{directory.path.name}-results", found, "neither cost.json nor summary.json", words)


def _log(runs: Runs, directory: RunDir) -> None:
    text = directory.log_tail()
    if text.strip():
        st.caption("The end of train.log")
        st.code("".join(c if c.isprintable() or c in "\n\t" else "�" for c in text), language=None)
    else:
        st.info("The log is empty.")


def _facts(name: str, facts: dict[str, Any], lacking: str, words: Mapping[str, str] | None = None) -> None:
    """words: name of a fact -> what it is called on the page; the CSV has the names."""
    if not facts:
        st.info(f"The run has {lacking} (yet).")
        return
    values = [tables.number(value) for value in facts.values()]
    exact = pl.DataFrame({"name": list(facts), "value": values})
    shown = exact.with_columns(pl.col("name").replace(words or {}))
    table(name, shown, exact=exact, height="content")


def _moment(seconds: float | None) -> str:
    if not seconds:
        return "never"
    return f"{tables.duration(max(0.0, datetime.now(UTC).timestamp() - seconds))} ago"
