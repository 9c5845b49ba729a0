"""The runs: a table to sort, filter and choose from, and below it the page of one run."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from typing import Any

import polars as pl
import streamlit as st

from app import address
from app.filtering import narrowed
from app.markdown import escaped
from app.run import notes, page
from app.runs import Runs
from app.widgets import nothing_yet, table
from workbench.figures.style import label
from workbench.metrics import score
from workbench.tracking.notes import Note

TITLE = "Runs"
FOLLOWS = True
ORDER = 60

REFRESH = 5
"""Seconds between looks at a run that is running."""
_RANDOM = re.compile(r"(?:^|, )[^,:]+: random init(?=,|$)")
"""An encoder that starts from random weights, in what a run says of its start."""
FILTERED = ("run", "cell", "state", "failure", "reason", "recipe", "note")
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
    known = notes.of(runs)
    found, left_out = narrowed(_in_order(runs, known), wanted, FILTERED)
    for sentence in left_out:
        st.caption(escaped(sentence))
    chosen = {column: words[column] for column in columns}
    _listing(runs, _sorted(found, chosen), chosen, known)
    names = dict(zip(runs.table["run"], page.names(runs.table), strict=True))
    shown = {"": "none"} | {run: names[run] for run in found["run"]}
    asked = "".join(address.given("run")[-1:])
    if asked in names:  # a link to a run is followed whatever the filter says
        shown.setdefault(asked, names[asked])
    name = address.choose("run", "Run", shown, "", help="Or select a row of the table.")
    if name:
        running = runs.table.filter(pl.col("run") == name)["state"].item() == "running"
        st.fragment(_page, run_every=REFRESH if running else None)(runs, name)


def _page(runs: Runs, name: str) -> None:
    page.show(runs, name)
    address.commit()  # what is chosen there refreshes this part alone


def _in_order(runs: Runs, known: Mapping[str, Mapping[str, Note]]) -> pl.DataFrame:
    """Pinned runs, then the others in the order of their cells in the plan and by seed; those of other plans
    last. With a column `note` that the filter looks at, empty for most."""
    order = {key: i for i, key in enumerate(runs.asked.cells)} if runs.asked is not None else {}
    rank = pl.col("key").replace_strict(order, default=len(order), return_dtype=pl.Int64)
    mine = {name: found.get("", Note()) for name, found in known.items()}
    texts = {name: f"{'pinned ' if note.pinned else ''}{note.note}".strip() for name, note in mine.items()}
    first = ~pl.col("run").is_in([name for name, note in mine.items() if note.pinned])
    said = pl.col("run").replace_strict(texts, default="", return_dtype=pl.String()).alias("note")
    table = runs.table.sort(first, rank, "cell", "seed", nulls_last=True, maintain_order=True)
    return table.with_columns(said)


def _sorted(found: pl.DataFrame, words: dict[str, str]) -> pl.DataFrame:
    """Parameters `sort`, `order`: by a column, those without a value last; else as in the plan."""
    left, right = st.columns([2, 1], vertical_alignment="bottom")
    with left:
        by = address.choose("sort", "Sort by", {"": "order of the plan"} | words, "")
    if not by:
        return found
    with right:
        ways = {"down": "largest first", "up": "smallest first"}
        down = address.choose("order", "Order", ways, "down", form="buttons") == "down"
    return found.sort(by, descending=down, nulls_last=True, maintain_order=True)


def _marks(runs: Runs) -> dict[str, str]:
    """Key -> what the study says of the cell: which ones val selects, one for each stratum where there are
    several, and the baselines. A baseline that is best itself is called both."""
    answer = runs.answer()
    if answer is None:
        return {}
    found = dict.fromkeys(answer.selected, "★ best by val")
    for base in answer.asked.bases:
        found[base] = f"{found[base]}, baseline" if base in found else "baseline"
    return found


def _listing(
    runs: Runs, found: pl.DataFrame, words: dict[str, str], known: Mapping[str, Mapping[str, Note]]
) -> None:
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
    if (marks := _marks(runs)) and "cell" in words:
        mark = found["key"].replace_strict(marks, default="", return_dtype=pl.String()).alias("mark")
        content.insert_column(1 + content.columns.index(words["cell"]), mark)
    if known and "note" not in content.columns:
        content = content.with_columns(found["note"])
    table(
        f"{runs.study}-runs", content, caption=caption, exact=found.select("run", *words),
        key=key, selection_mode="single-row", on_select=select,
        height=min(420, 38 + 35 * max(1, found.height)),
        config={name: form for column, name in words.items() if (form := _config(column)) is not None},
    )  # fmt: skip


def _columns(table: pl.DataFrame) -> dict[str, str]:
    """Each column in words, of which none appears twice."""
    found: dict[str, str] = {}
    for name in table.columns:
        if name not in ("run", "study"):
            words = _title(name)
            found[name] = name if words in found.values() else words
    return found


def _usual(runs: Runs) -> list[str]:
    """The columns at first: who, how far, and what came out; from which weights, where some had others than
    random ones."""
    have = set(runs.table.columns)
    troubled = runs.table["reason"].is_not_null() & (runs.table["reason"] != "")
    reason = ["reason"] if troubled.any() else []
    scores = [f"metric.{split}/{runs.metric}" for split in ("test", "val")]
    costs = ["metric.cost/train_gflops_per_clip", "metric.speed/clips_per_s"]
    begun = runs.table["env.start"].drop_nulls().to_list() if "env.start" in have else []
    start = ["env.start"] if any(set(filter(None, _RANDOM.split(words))) for words in begun) else []
    wanted = [
        "cell",
        "seed",
        "state",
        *reason,
        *start,
        *scores,
        *costs,
        "step",
        "steps",
        "seconds",
        "updated",
    ]
    return [name for name in wanted if name in have]


def _title(column: str) -> str:
    """A column of the run table as people call it."""
    known = {"seconds": "training time (s)", "updated": "last update", "env.start": "started from"}
    kind, _, rest = column.partition(".")
    if kind == "metric":
        return label(rest)
    if kind in ("axis", "config", "env") and rest and column not in known:
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
