"""The runs: a table to sort, filter and choose from, and below it everything about one of them."""

from __future__ import annotations

import hashlib
import os
import shlex
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlsplit

import polars as pl
import streamlit as st

from app import address
from app.filtering import narrowed
from app.markdown import escaped
from app.runs import Runs
from app.widgets import clock, figure, nothing_yet, table
from workbench import figures, tables
from workbench.errors import UserError
from workbench.figures import paper
from workbench.figures.style import label
from workbench.metrics import score
from workbench.tracking.run_dir import RunDir

TITLE = "Runs"
FOLLOWS = True
ORDER = 60

MLFLOW_UI = "WORKBENCH_MLFLOW_UI"
"""Environment variable: where the MLflow UI answers, e.g. `http://127.0.0.1:5000`."""
REFRESH = 5
"""Seconds between looks at a run that is running."""
PARTS = {
    "curves": "Curves",
    "masks": "Masks",
    "config": "Configuration",
    "environment": "Environment",
    "cost": "Cost and results",
    "log": "Log",
}

FILTERED = ("run", "cell", "state", "failure", "reason", "recipe")
"""Columns whose words the filter looks at; a configuration would hold most numbers anyway."""


def render(runs: Runs) -> None:
    st.header(escaped(f"Runs of {runs.study}"))
    if runs.table.is_empty():
        nothing_yet(runs, "No run has started yet.")
        return
    left, right = st.columns([1, 2])
    with left:
        wanted = address.text(
            "filter", "Filter", placeholder="failed 0.9, or r1 > 40",
            help="Runs whose name, cell, state, reason or recipe hold all of these words; also conditions on "
            "columns of numbers with < > <= >=.",
        )  # fmt: skip
    with right:
        words = _columns(runs.table)
        columns = address.choose_many("columns", "Columns", words, _usual(runs))
    found, unknown = narrowed(_in_order(runs), wanted, FILTERED)
    if unknown:
        st.caption(escaped(f"There is no column of numbers called {', '.join(unknown)}; it is left out."))
    _listing(runs, found, {column: words[column] for column in columns})
    names = dict(zip(runs.table["run"], _labels(runs.table), strict=True))
    shown = {"": "none"} | {run: names[run] for run in found["run"]}
    asked = st.query_params.get("run", "")
    if asked in names:  # a link to a run is followed whatever the filter says
        shown.setdefault(asked, names[asked])
    name = address.choose("run", "Run", shown, "", help="Or select a row of the table.")
    if name:
        running = runs.table.filter(pl.col("run") == name)["state"].item() == "running"
        st.fragment(_page, run_every=REFRESH if running else None)(runs, name)


def _in_order(runs: Runs) -> pl.DataFrame:
    """The runs in the order of their cells in the plan, then by seed; those of other plans last."""
    order = {key: i for i, key in enumerate(runs.asked.cells)} if runs.asked is not None else {}
    rank = pl.col("key").replace_strict(order, default=len(order), return_dtype=pl.Int64)
    return runs.table.sort(rank, "cell", "seed", nulls_last=True, maintain_order=True)


def _listing(runs: Runs, found: pl.DataFrame, words: dict[str, str]) -> None:
    """The table; selecting a row writes its run into the address."""
    caption = f"{found.height} of {runs.table.height} runs."
    names = found["run"].to_list()
    # A selection is the number of a row, so it must not outlive the rows.
    listed = hashlib.blake2b(" ".join(names).encode(), digest_size=6).hexdigest()
    key = f"table: {runs.study}-runs {listed}"

    def select() -> None:
        if rows := st.session_state[key].selection.rows:
            address.put("run", names[rows[0]], "")

    content = found.select(_shown(column).alias(name) for column, name in words.items())
    table(
        f"{runs.study}-runs", content, caption=caption, exact=found.select("run", *words),
        key=key, selection_mode="single-row", on_select=select,
        height=min(420, 38 + 35 * max(1, found.height)),
        config={name: form for column, name in words.items() if (form := _config(column)) is not None},
    )  # fmt: skip


def _page(runs: Runs, name: str) -> None:
    """Everything about one run; looks anew at what is still running."""
    runs = runs.now()
    row = next(iter(runs.table.filter(pl.col("run") == name).iter_rows(named=True)), None)
    if row is None:
        st.info("This run is no longer there.")
        return
    directory = runs.directory(name)
    st.subheader(escaped(next(iter(_labels(runs.table.filter(pl.col("run") == name))))), divider="gray")
    _standing(row)
    _mlflow(directory)
    part = address.choose("part", "Show", PARTS, "curves", form="buttons")
    try:
        {"curves": _curves, "masks": _masks, "config": _config_table, "environment": _environment,
         "cost": _cost, "log": _log}[part](runs, directory)  # fmt: skip
    except UserError as error:
        st.error(escaped(str(error)))


def _standing(row: dict[str, Any]) -> None:
    """State, progress, time, and the reason where it went wrong."""
    step, steps = row["step"] or 0, row["steps"] or 0
    facts = {
        "State": row["state"] or "unknown",
        "Step": f"{step} of {steps}" if steps else f"{step}",
        "Training time": tables.duration(row["seconds"] or 0),
        "Last sign of life": _moment(row["updated"]),
        "Attempt": str(row["attempt"] or 1),
    }
    for column, (name, value) in zip(st.columns(len(facts)), facts.items(), strict=True):
        column.caption(name)
        column.text(value)
    if row["state"] == "running" and steps:
        st.progress(min(1.0, step / steps))
    if row["reason"] or row["failure"]:
        tell = st.warning if row["state"] in ("interrupted", "pruned") else st.error
        tell(escaped(": ".join(part for part in (row["failure"], row["reason"]) if part)))


def _mlflow(directory: RunDir) -> None:
    """Where MLflow shows the run: a link where its UI has an address, else what serves its store."""
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
                f"This serves the store that has the run; look there for {directory.path.name}, id {run_id}:"
            )
            serve = ["mlflow", "ui", "--host", "127.0.0.1", "--backend-store-uri", store]
            st.code(shlex.join(serve), language="shell")
            st.caption(f"`{MLFLOW_UI}` tells the dashboard where such a server answers: then this is a link.")


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
        st.info("This run has drawn no preview of its masks (yet).")
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
    _facts(f"{directory.path.name}-results", found, "neither cost.json nor summary.json")


def _log(runs: Runs, directory: RunDir) -> None:
    text = directory.log_tail()
    if text.strip():
        st.caption("The end of train.log")
        st.code("".join(c if c.isprintable() or c in "\n\t" else "�" for c in text), language=None)
    else:
        st.info("The log is empty.")


def _facts(name: str, facts: dict[str, Any], lacking: str) -> None:
    if not facts:
        st.info(f"The run has {lacking} (yet).")
        return
    values = [tables.number(value) for value in facts.values()]
    table(name, pl.DataFrame({"name": list(facts), "value": values}), height="content")


def _labels(table: pl.DataFrame) -> list[str]:
    """Cell and seed of each run; its name where it tells neither."""
    rows = table.select("run", "cell", "seed").iter_rows()
    return [f"{cell} seed {seed}" if cell else run for run, cell, seed in rows]


def _columns(table: pl.DataFrame) -> dict[str, str]:
    """Each column in words, of which none appears twice."""
    found: dict[str, str] = {}
    for name in table.columns:
        if name not in ("run", "study"):
            words = _title(name)
            found[name] = name if words in found.values() else words
    return found


def _usual(runs: Runs) -> list[str]:
    """The columns at first: who, how far, and what came out."""
    have = set(runs.table.columns)
    troubled = runs.table["reason"].is_not_null() & (runs.table["reason"] != "")
    reason = ["reason"] if troubled.any() else []
    measured = [
        f"metric.{name}" for name in (f"test/{runs.metric}", f"val/{runs.metric}", "speed/clips_per_s")
    ]
    wanted = ["cell", "seed", "state", *reason, "step", "steps", *measured, "seconds", "updated"]
    return [name for name in wanted if name in have]


def _title(column: str) -> str:
    """A column of the run table as people call it."""
    known = {"seconds": "training time (s)", "updated": "last sign of life"}
    kind, _, rest = column.partition(".")
    if kind == "metric":
        return label(rest)
    if kind in ("axis", "config", "env") and rest:
        return rest if kind == "axis" else column
    return known.get(column, column)


def _shown(column: str) -> pl.Expr:
    if column in ("started", "updated"):  # UTC, which st.dataframe takes for granted
        return pl.from_epoch(pl.col(column).cast(pl.Int64), time_unit="s")
    return pl.col(column)


def _config(column: str) -> Any:
    if column in ("started", "updated"):
        return st.column_config.DatetimeColumn(format="distance")
    if column.startswith("metric.") and score(column.removeprefix("metric.")) is not None:
        return st.column_config.NumberColumn(format="%.1f")
    if column.startswith("metric.") or column == "seconds":
        return st.column_config.NumberColumn(format="%.4g")
    return None


def _moment(seconds: float | None) -> str:
    if not seconds:
        return "never"
    return f"{tables.duration(max(0.0, datetime.now(UTC).timestamp() - seconds))} ago"
