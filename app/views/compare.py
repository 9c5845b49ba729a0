"""Comparison of cells: settings, learning curves, and clips that one gets right and the other wrong.

It also shows cells of several studies in one table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import polars as pl
import streamlit as st

from app import address, marked_cells, widgets
from app.clips import autoplay, clips_or_sentence, play
from app.joint import studies
from app.markdown import escaped
from app.run import notes
from app.runs import Runs
from workbench import figures, naming, tables
from workbench.answer import wording
from workbench.answer.caveats import not_compared
from workbench.answer.results import Answer
from workbench.errors import UserError
from workbench.figures import paper
from workbench.figures.style import label
from workbench.inspection.answers import (
    Answers,
    disagreements,
    neither,
    only_first,
    read_answers,
    read_captions,
    swapped,
    within,
)
from workbench.report.pictures import Picture
from workbench.report.rows import exact, legend, readable
from workbench.report.write import paper_table

TITLE = "Compare"
ORDER = 40

MOST = 6
"""Cells compared at once with the baseline."""
PER_PAGE = 6
"""Clips shown at once."""


def render(runs: Runs) -> None:
    if runs.asked is None:
        st.warning(escaped(runs.problem))
        return
    st.header("Compare")
    if others := studies.choose(runs):
        studies.show(runs, others)
        return
    left, right = st.columns([3, 2], vertical_alignment="bottom")
    with left:
        base = widgets.baseline(runs)
    with right:
        metric = widgets.metric(runs)
    answer = runs.answer(metric=metric, baseline=base)
    if base is None or answer is None or answer.cells.is_empty():
        widgets.nothing_yet(runs, "No run is complete yet, so there is nothing to compare.")
        return
    _pinned(runs)
    chosen = widgets.cells(runs, default=_default(answer, base), most=MOST, pin=True)
    others = [key for key in chosen if key != base]
    if not others:
        one = len(runs.asked.labels) == 1
        st.info("This study has only one cell so far." if one else "Choose a cell besides the baseline.")
        return
    labels = {key: runs.asked.labels[key] for key in (base, *others)}
    _differences(runs, answer, labels)
    for key in others:
        if (run := _first_run(runs, key)) is not None:
            if len(others) > 1:
                st.caption(escaped(f"{labels[key]} against {labels[base]}"))
            notes.edit(runs, runs.directory(run), base)
    st.subheader("Configuration", divider="gray")
    _configuration(runs, labels)
    st.subheader("Learning curves", divider="gray")
    _curves(runs, answer, metric, labels)
    st.subheader("Queries answered differently", divider="gray")
    _queries(runs, metric, base, others, labels)


def _first_run(runs: Runs, key: str) -> str | None:
    """The complete run of a cell with the smallest seed, which keeps the notes on its comparisons."""
    names = runs.done.filter(pl.col("key") == key).sort("seed")["run"]
    return None if names.is_empty() else str(names[0])


def _pinned(runs: Runs) -> None:
    """Links to the comparisons that somebody pinned, with their notes."""
    assert runs.asked is not None
    labels = runs.asked.labels
    for run, found in notes.of(runs).items():
        key = run.rpartition("-s")[0]
        for base, note in found.items():
            if note.pinned and base in labels and key in labels:
                there = address.link(view="compare", cells=[key], baseline=base)
                words = f"{escaped(labels[key])} against {escaped(labels[base])}"
                st.markdown(f"Pinned: [{words}]({there}){f' · {escaped(note.note)}' if note.note else ''}")


def _default(answer: Answer, base: str) -> list[str]:
    """The cell selected by val, or else the first of the plan that is not the baseline."""
    if answer.best is not None and answer.best != base:
        return [answer.best]
    return [key for key in (*answer.cells["key"], *answer.asked.cells) if key != base][:1]


def _differences(runs: Runs, answer: Answer, labels: Mapping[str, str]) -> None:
    """Comparisons of the study's whole family, so that choosing two cells here changes no p value."""
    some = replace(answer, cells=answer.cells.filter(pl.col("key").is_in(list(labels))))
    for key in labels:
        if key in answer.comparisons:
            st.markdown(f"- {escaped(wording.comparison(answer.comparisons[key]))}.")
        elif key in answer.refused:
            st.markdown(f"- {escaped(not_compared(labels[key], answer.refused[key]))}")
        elif key not in answer.asked.bases:
            st.markdown(f"- {escaped(f'{labels[key]} cannot be compared yet')}: runs are missing.")
    if not some.cells.is_empty():
        name = f"{runs.study}-compare"
        words = readable(some)
        if "" in words.columns:  # which cell is the best and which the baseline, in sight beside its axes
            front = [*some.asked.axes, ""]
            words = words.select(*(c for c in front if c in words.columns), pl.exclude(front))
        given = {"caption": legend(answer), "exact": exact(some), "tex": partial(paper_table, some)}
        marked_cells.table(runs, answer, name, words, some.cells["key"].to_list(), **given)


def _configuration(runs: Runs, labels: Mapping[str, str]) -> None:
    found = tables.differences(runs.table, labels)
    missing = [name for name in labels.values() if name not in found.columns]
    if missing:
        st.caption(escaped(f"Not started yet: {', '.join(missing)}."))
    if found.is_empty():
        st.text("No setting differs among the configurations that are known.")
        return
    widgets.table(f"{runs.study}-configuration", found, caption="Settings that differ; all others agree.")


def _curves(runs: Runs, answer: Answer, metric: str, labels: Mapping[str, str]) -> None:
    rows = runs.table.filter(pl.col("key").is_in(list(labels)))
    cells = dict(rows.select("run", "key").iter_rows())
    curves = runs.curves(list(cells), [f"val/{metric}"])
    table = figures.curves_table(curves, cells, f"val/{metric}", list(labels))
    if table is None:
        st.text(f"No run of these cells has been evaluated on {label(f'val/{metric}')} yet.")
        return
    clock = widgets.clock()
    given: dict[str, Any] = {"metric": f"val/{metric}", "clocks": [clock]}
    over = f"{label(f'val/{metric}')} over {label(clock)}"
    picture = Picture(
        name="curves",
        caption=naming.first(f"{over}; error bars span the minimum to the maximum over seeds."),
        drawn=lambda: paper.curves(table, labels, **given),
        moving=figures.curves_figure(table, labels, **given),
    )
    marked_cells.figure(runs, answer, picture)


def _queries(runs: Runs, metric: str, base: str, others: Sequence[str], labels: Mapping[str, str]) -> None:
    k, other = within(metric), others[0]
    left, right = st.columns([4, 2], vertical_alignment="bottom")
    if len(others) > 1:
        options = {key: labels[key] for key in others}
        with left:
            other = address.choose("other", "The baseline and", options, other, on_change=_first_page)
    try:
        cells = _answers(runs, other), _answers(runs, base)
        found = disagreements(*cells, k)
    except UserError as error:
        st.info(escaped(f"No queries to show: {error}."))
        return
    parts = {"cell": only_first(found), "baseline": only_first(swapped(found)), "neither": neither(found)}
    names = {"cell": labels[other], "baseline": f"{labels[base]} (baseline)", "neither": "neither"}
    counted = {name: f"{names[name]}: {part.height}" for name, part in parts.items()}
    seeds = found["seeds"][0]
    title = "Right only in" if seeds == 1 else "Right more often in"
    with left:
        which = address.choose(
            "right", title, counted, "cell", form="radio", on_change=_first_page
        )  # fmt: skip
    with right:
        start = autoplay()
    part = parts[which] if which != "baseline" else swapped(parts[which])
    several = f"; ranks are medians over {seeds} seeds" if seeds > 1 else ""
    gallery = found["clip"].n_unique()
    found_at = "comes first" if k == 1 else f"is among the first {k}"
    st.caption(f"Right: the clip {found_at} of {gallery} for its caption{several}.")
    if part.is_empty():
        st.text("There is no such query.")
        return
    seed = min(set(cells[0]) & set(cells[1]))
    both = {other: labels[other], base: labels[base]}
    _cards(runs, _page(part), both, seed, start)


def _first_page() -> None:
    address.drop("page")


def _page(part: pl.DataFrame) -> pl.DataFrame:
    """Parameter `page`: so many queries at once."""
    starts = range(0, part.height, PER_PAGE)
    words = {
        str(number): f"{first + 1} to {min(first + PER_PAGE, part.height)} of {part.height}"
        for number, first in enumerate(starts, 1)
    }
    page = int(address.choose("page", "Queries", words, "1")) if len(words) > 1 else 1
    return part[(page - 1) * PER_PAGE : page * PER_PAGE]


def _cards(runs: Runs, part: pl.DataFrame, cells: Mapping[str, str], seed: int, start: bool) -> None:
    """A clip with its caption and its ranks in both cells, three in a row."""
    run = f"{next(iter(cells))}-s{seed}"
    clips = clips_or_sentence(runs, run)
    captions = read_captions(runs.directory(run)) or (clips.captions if clips is not None else {})
    for first in range(0, part.height, 3):
        row = part[first : first + 3].iter_rows(named=True)
        for column, query in zip(st.columns(3), row, strict=False):
            caption = captions.get(query["query"], query["query"])
            with column.container(border=True):
                play(clips, query["clip"], caption, start=start)
                st.markdown(f"**{escaped(caption)}**")
                sides = zip("ab", cells.items(), strict=True)
                st.markdown("  \n".join(_rank(query, side, *cell, seed) for side, cell in sides))


def _rank(query: Mapping[str, Any], side: str, key: str, name: str, seed: int) -> str:
    """In Markdown, with a link to the whole ranking."""
    there = address.link(view="retrieval", cell=key, seed=str(seed), query=query["query"])
    hits = f"right with {query[f'hits_{side}']} of {query['seeds']} seeds, " if query["seeds"] > 1 else ""
    return f"{hits}[rank **{query[f'rank_{side}']:g}**]({there}) in {escaped(name)}"


def _answers(runs: Runs, key: str) -> dict[int, Answers]:
    """Seed -> answers of the cell's complete runs."""
    rows = runs.done.filter(pl.col("key") == key).select("run", "seed").rows()

    def read() -> dict[int, Answers]:
        found = {seed: read_answers(runs.directory(run)) for run, seed in rows}
        return {seed: answers for seed, answers in found.items() if answers is not None}

    kept: dict[int, Answers] = runs.kept(("ranks", key), read)
    return kept
