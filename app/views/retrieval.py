"""A query and its gallery as ranked by one or two runs, and the attributes that were confused."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import polars as pl
import streamlit as st

from app import address, widgets
from app.clips import autoplay, clips_or_sentence, play
from app.helper import ask
from app.markdown import escaped
from app.runs import Runs
from workbench.errors import UserError
from workbench.inspection.answers import Answers, read_answers
from workbench.inspection.clips import Clips, weights
from workbench.inspection.ranking import (
    Embeddings,
    captions_for,
    confusions,
    differing,
    ranking,
    read_embeddings,
    with_shared,
)
from workbench.naming import spaced

TITLE = "Retrieval"
ORDER = 50

SHOWN = 10
PER_ROW = 5
BESIDE = 3
"""Clips in a row of each run if two runs are shown."""
LONGEST = 300
"""Largest number of characters of the user's own sentence."""
WAYS = {"t2v": "clips for a caption", "v2t": "captions for a clip"}


class Ranked(NamedTuple):
    """A run with its embeddings of the test split."""

    run: str
    name: str
    found: Embeddings
    answers: Answers


def render(runs: Runs) -> None:
    st.header("Retrieval")
    left, middle, right = st.columns([6, 2, 4], vertical_alignment="bottom")
    with left:
        run = widgets.complete_run(runs, middle)
    if run is None:
        widgets.nothing_yet(runs, "No run is complete yet, so no gallery has been ranked.")
        return
    with right:
        start = autoplay()
    try:
        ranked = [_read(runs, name) for name in (run, *_beside(runs, run))]
    except UserError as error:
        st.info(escaped(f"There is no ranking to show: {error}."))
        return
    first, second = st.columns([4, 2], vertical_alignment="bottom")
    with first:
        sentence = address.text(
            "text", "Your own sentence", longest=LONGEST, placeholder="a red star moves left then spins",
            help="Empty: choose a query of the test split below.",
        )  # fmt: skip
    clips = clips_or_sentence(runs, run)
    if clips is not None and clips.store.shared:
        ranked = [_with_all_right(runs, one, clips) for one in ranked]
    if sentence.strip():
        _own(runs, ranked, sentence, clips, start)
    else:
        if sentence:
            st.caption("The sentence is blank: write some words, or choose a query below.")
        with second:
            way = address.choose("way", "Rank", WAYS, "t2v", form="buttons")
        _stored(ranked, clips, start, way)
    _confused(runs, ranked[0], clips)


def _beside(runs: Runs, run: str) -> list[str]:
    """Parameter `beside`: a run of another cell that is shown too, of the same seed where there is one."""
    key, _, seed = run.rpartition("-s")
    others = runs.done.filter(pl.col("key") != key)
    options = {"": "no other cell"}
    options |= {k: runs.name_of(k, cell) for k, cell in others.select("key", "cell").iter_rows()}
    if len(options) == 1:
        return []
    chosen = address.choose("beside", "Beside it", options, "")
    seeds = [str(s) for s in others.filter(pl.col("key") == chosen)["seed"].sort()]
    return [f"{chosen}-s{seed if seed in seeds else seeds[0]}"] if chosen else []


def _read(runs: Runs, run: str) -> Ranked:
    def read() -> Ranked:
        directory = runs.directory(run)
        answers = read_answers(directory)
        if answers is None:
            raise UserError(f"the run {run} has no ranks.npz")
        found = read_embeddings(directory)
        if found.queries != answers.queries:
            raise UserError(f"ranks and embeddings of {run} are of different queries")
        key, _, seed = run.rpartition("-s")
        cell = runs.done.filter(pl.col("key") == key)["cell"][0]
        return Ranked(run, f"{runs.name_of(key, cell)} seed {seed}", found, answers)

    kept: Ranked = runs.kept(("embeddings", run), read)
    return kept


def _with_all_right(runs: Runs, one: Ranked, clips: Clips) -> Ranked:
    """The same with all right clips of a caption that several clips share, which the data know."""
    kept: Ranked = runs.kept(
        ("shared", one.run),
        lambda: one._replace(found=with_shared(one.found, clips.store)),
        str(clips.store.path),
    )
    return kept


def _stored(ranked: Sequence[Ranked], clips: Clips | None, start: bool, way: str) -> None:
    """A query of the test split, with the clip that it describes; or that clip, with the captions for it."""
    found, answers = ranked[0].found, ranked[0].answers
    right = answers.ranks == 1
    which_of = {"all": right | True, "missed": ~right, "found": right}
    for other in ranked[1:]:
        theirs = dict(zip(other.found.queries, other.answers.ranks == 1, strict=True))
        which_of["only here"] = right & ~np.array([theirs.get(query, True) for query in found.queries])
    words = {name: f"{name} ({of.sum()})" for name, of in which_of.items()}
    first, second = st.columns([1, 1], vertical_alignment="bottom")
    with first:
        which = address.choose(
            "show", "Queries", words, "all", form="buttons",
            on_change=lambda: address.drop("query"),
            help="found: the right clip is ranked first; only here: and not in the other cell",
        )  # fmt: skip
    chosen = np.flatnonzero(which_of[which])
    if not len(chosen):
        st.text("There is no such query.")
        return
    options = {found.queries[i]: found.captions[i] for i in chosen}
    with second:
        query = address.choose("query", "Query", options, next(iter(options)))
    if any(query not in one.found.queries for one in ranked):
        st.info("The two cells answered other queries, so only the first one is shown.")
        ranked = ranked[:1]
    row = found.queries.index(query)
    st.subheader(escaped(found.captions[row]), divider="gray")
    if way == "v2t":
        clip = found.clips[found.right[row]]
        play(clips, clip, found.captions[row], start=start)
    for one, column in zip(ranked, st.columns(len(ranked)), strict=True):
        with column:
            _titled(one, len(ranked))
            (_captions if way == "v2t" else _clips)(one, query, clips, start, len(ranked))


def _titled(one: Ranked, count: int) -> None:
    """The run by its name, where there are two."""
    if count > 1:
        st.markdown(f"##### {escaped(one.name)}")


def _clips(one: Ranked, query: str, clips: Clips | None, start: bool, count: int) -> None:
    """The clips for a caption."""
    row = one.found.queries.index(query)
    right = one.found.right_clips(row)
    table = ranking(one.found, one.found.text[row], right)
    rank, gallery = one.answers.ranks[row], len(one.found.clips)
    which = "The right clip" if len(right) == 1 else f"The best placed of {len(right)} right clips"
    verdict = f"{which} comes first" if rank == 1 else f"{which} comes at rank {rank}"
    st.markdown(
        f"**{verdict}** of {gallery}. "
        "Each card shows rank, cosine similarity and the attributes that differ from the right clip."
    )
    _gallery(table, one, clips, start, count)


def _captions(one: Ranked, query: str, clips: Clips | None, start: bool, count: int) -> None:
    """The captions for the clip of a query."""
    clip = int(one.found.right[one.found.queries.index(query)])
    table = captions_for(one.found, clip)
    place = int(table.filter("right")["rank"].min())  # type: ignore[arg-type]
    verdict = "A caption of this clip comes first" if place == 1 else f"Its own caption comes at rank {place}"
    st.markdown(
        f"**{verdict}** of {table.height} captions. "
        "Each line shows rank, cosine similarity and what is wrong."
    )
    truth = clips.attributes(one.found.clips[clip]) if clips is not None else {}
    for hit in table.filter((pl.col("rank") <= SHOWN) | pl.col("right")).iter_rows(named=True):
        wrong = {} if hit["right"] or clips is None else differing(clips.attributes(hit["clip"]), truth)
        mark = " :green-badge[:material/check: right]" if hit["right"] else ""
        said = f"**{hit['rank']}**{mark} · {hit['score']:.3f} · {escaped(hit['caption'])}"
        st.markdown(said)
        if wrong:
            _wrong_in(wrong)


def _own(runs: Runs, ranked: Sequence[Ranked], sentence: str, clips: Clips | None, start: bool) -> None:
    """A sentence that nobody has an answer for."""
    st.subheader(escaped(sentence), divider="gray")
    for one, column in zip(ranked, st.columns(len(ranked)), strict=True):
        with column:
            _titled(one, len(ranked))
            _own_of(runs, one, sentence, clips, start, len(ranked))


def _own_of(runs: Runs, one: Ranked, sentence: str, clips: Clips | None, start: bool, count: int) -> None:
    """What one run makes of the sentence."""
    try:
        directory = runs.directory(one.run)
        answer, payload = ask(
            want="text", run=str(directory.path.resolve()), sentence=sentence, weights=weights(directory)
        )
    except UserError as error:
        st.error(escaped(f"The sentence cannot be ranked: {error}."))
        return
    vector = np.frombuffer(payload, np.float32)
    if vector.shape != one.found.video.shape[1:]:
        st.error("The sentence cannot be ranked: the weights and the embeddings are of different models.")
        return
    st.caption(escaped(f"Read as: {' '.join(answer['tokens'])}"))
    if answer["cut"]:
        st.caption(escaped(f"Truncated to the model's maximum length; dropped: {' '.join(answer['cut'])}"))
    _gallery(ranking(one.found, vector), one, clips, start, count)


def _gallery(table: pl.DataFrame, one: Ranked, clips: Clips | None, start: bool, count: int) -> None:
    """The first clips of the ranking; the right one, or the best placed of several, is added where it is not
    among them. count: of runs that stand side by side."""
    per_row, most = (PER_ROW, SHOWN) if count == 1 else (BESIDE, 2 * BESIDE)
    right = table.filter("right")["clip"].to_list()
    shown = table.filter((pl.col("rank") <= most) | pl.col("clip").is_in(right[:1]))
    truth = clips.attributes(right[0]) if right and clips is not None else {}
    captions = one.found.caption_of
    for first in range(0, shown.height, per_row):
        row = shown[first : first + per_row].iter_rows(named=True)
        for column, hit in zip(st.columns(per_row), row, strict=False):
            with column.container(border=True):
                mark = " :green-badge[:material/check: right]" if hit["right"] else ""
                st.markdown(f"**{hit['rank']}**{mark} · {hit['score']:.3f}")
                caption = captions.get(hit["clip"], hit["clip"])
                play(clips, hit["clip"], caption, start=start, where=one.name if count > 1 else "")
                st.caption(escaped(caption))
                if truth and clips is not None and not hit["right"]:
                    _wrong_in(differing(clips.attributes(hit["clip"]), truth))


def _wrong_in(wrong: dict[str, tuple[object, object]]) -> None:
    words = [
        f"{spaced(name)}: **{escaped(str(mine))}**, not {escaped(str(real))}"
        for name, (mine, real) in wrong.items()
    ]
    st.caption("  \n".join(words))


def _confused(runs: Runs, ranked: Ranked, clips: Clips | None) -> None:
    """Over all queries: in what the first clip differs from the right one."""
    if clips is None or not clips.store.attributes:
        return
    run, found = ranked.run, ranked.found
    values = [clips.attributes(clip) for clip in found.clips]
    attributes = {spaced(name): [row.get(name) for row in values] for name in clips.store.attributes}
    table = runs.kept(("confused", run), lambda: confusions(found, attributes, ranked.answers.ranks > 1))
    if table is None:
        return
    st.subheader("What this run confuses", divider="gray")
    shares = {name: f"{name} (%)" for name in ("share", "chance")}
    percent = st.column_config.ProgressColumn(format="%.1f", min_value=0, max_value=100)
    widgets.table(
        f"{runs.study}-{run}-confused",
        table.with_columns(pl.col(*shares) * 100).rename(shares),
        caption=f"Of the {table['missed'][0]} queries whose first clip is wrong: how often it differs in an "
        "attribute, and how often a clip drawn at random from the others would.",
        config=dict.fromkeys(shares.values(), percent),
    )
