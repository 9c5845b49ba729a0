"""One query and the gallery as a run ranks it: which clips come first, and what they were confused in."""

from __future__ import annotations

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
from workbench.inspection.ranking import Embeddings, confusions, differing, ranking, read_embeddings

TITLE = "Retrieval"
ORDER = 50

SHOWN = 10
PER_ROW = 5
LONGEST = 300
"""Letters of a sentence of one's own."""


def render(runs: Runs) -> None:
    st.header("Retrieval")
    left, middle, right = st.columns([6, 2, 3], vertical_alignment="bottom")
    with left:
        run = widgets.complete_run(runs, middle)
    if run is None:
        widgets.nothing_yet(runs, "No run is complete yet, so no gallery has been ranked.")
        return
    with right:
        start = autoplay()
    try:
        found, answers = _read(runs, run)
    except UserError as error:
        st.info(escaped(f"There is no ranking to show: {error}."))
        return
    sentence = address.text(
        "text", "Your own sentence", longest=LONGEST, placeholder="a red star moves left then spins",
        help="Empty: choose a query of the test split below.",
    )  # fmt: skip
    clips = clips_or_sentence(runs, run)
    if sentence:
        _own(runs, run, found, sentence, clips, start)
    else:
        _stored(found, answers, clips, start)
    _confused(runs, run, found, clips)


def _read(runs: Runs, run: str) -> tuple[Embeddings, Answers]:
    def read() -> tuple[Embeddings, Answers]:
        directory = runs.directory(run)
        answers = read_answers(directory)
        if answers is None:
            raise UserError(f"the run {run} has no ranks.npz")
        found = read_embeddings(directory)
        if found.queries != answers.queries:
            raise UserError(f"ranks and embeddings of {run} are of different queries")
        return found, answers

    kept: tuple[Embeddings, Answers] = runs.kept(("embeddings", run), read)
    return kept


def _stored(found: Embeddings, answers: Answers, clips: Clips | None, start: bool) -> None:
    """A query of the test split, with the clip that it describes."""
    right = answers.ranks == 1
    counts = {"all": len(right), "missed": int((~right).sum()), "found": int(right.sum())}
    words = {name: f"{name} ({count})" for name, count in counts.items()}
    first, second = st.columns([2, 3], vertical_alignment="bottom")
    with first:
        which = address.choose(
            "show", "Queries", words, "all", form="buttons",
            on_change=lambda: address.drop("query"), help="found: the right clip came first",
        )  # fmt: skip
    chosen = np.flatnonzero({"all": right | True, "missed": ~right, "found": right}[which])
    if not len(chosen):
        st.text("There is no such query.")
        return
    options = {found.queries[i]: found.captions[i] for i in chosen}
    with second:
        query = address.choose("query", "Query", options, next(iter(options)))
    row = found.queries.index(query)
    table = ranking(found, found.text[row], int(found.right[row]))
    rank, gallery = answers.ranks[row], len(found.clips)
    st.subheader(escaped(found.captions[row]), divider="gray")
    verdict = "The right clip comes first" if rank == 1 else f"The right clip comes at rank {rank}"
    st.markdown(f"**{verdict}** of {gallery}. Each card: place, cosine similarity, and what is not as asked.")
    _gallery(table, found, clips, start)


def _own(runs: Runs, run: str, found: Embeddings, sentence: str, clips: Clips | None, start: bool) -> None:
    """A sentence that nobody has an answer for."""
    try:
        directory = runs.directory(run)
        answer, payload = ask(
            want="text", run=str(directory.path.resolve()), sentence=sentence, weights=weights(directory)
        )
    except UserError as error:
        st.error(escaped(f"The sentence cannot be ranked: {error}."))
        return
    vector = np.frombuffer(payload, np.float32)
    if vector.shape != found.video.shape[1:]:
        st.error("The sentence cannot be ranked: the weights and the embeddings are of different models.")
        return
    st.subheader(escaped(sentence), divider="gray")
    st.caption(escaped(f"Read as: {' '.join(answer['tokens'])}"))
    if answer["cut"]:
        st.caption(escaped(f"Cut, since the model reads no more: {' '.join(answer['cut'])}"))
    _gallery(ranking(found, vector), found, clips, start)


def _gallery(table: pl.DataFrame, found: Embeddings, clips: Clips | None, start: bool) -> None:
    """The first clips of the ranking; the right one is added where it is not among them."""
    shown = table.filter((pl.col("rank") <= SHOWN) | pl.col("right"))
    right = table.filter("right")["clip"].to_list()
    truth = clips.attributes(right[0]) if right and clips is not None else {}
    captions = found.caption_of
    for first in range(0, shown.height, PER_ROW):
        row = shown[first : first + PER_ROW].iter_rows(named=True)
        for column, hit in zip(st.columns(PER_ROW), row, strict=False):
            with column.container(border=True):
                mark = " :green-badge[:material/check: right]" if hit["right"] else ""
                st.markdown(f"**{hit['rank']}**{mark} · {hit['score']:.3f}")
                caption = captions.get(hit["clip"], hit["clip"])
                play(clips, hit["clip"], caption, start=start)
                st.caption(escaped(caption))
                if truth and clips is not None and not hit["right"]:
                    _wrong_in(differing(clips.attributes(hit["clip"]), truth))


def _wrong_in(wrong: dict[str, tuple[object, object]]) -> None:
    words = [
        f"{name}: **{escaped(str(mine))}**, not {escaped(str(real))}" for name, (mine, real) in wrong.items()
    ]
    st.caption("  \n".join(words))


def _confused(runs: Runs, run: str, found: Embeddings, clips: Clips | None) -> None:
    """Over all queries: in what the first clip differs from the right one."""
    if clips is None or not clips.store.attributes:
        return
    values = [clips.attributes(clip) for clip in found.clips]
    attributes = {name: [row.get(name) for row in values] for name in clips.store.attributes}
    table = runs.kept(("confused", run), lambda: confusions(found, attributes))
    if table is None:
        return
    st.subheader("What this run confuses", divider="gray")
    percent = st.column_config.ProgressColumn(format="percent", min_value=0, max_value=1)
    widgets.table(
        f"{runs.study}-{run}-confused",
        table,
        caption=f"Of the {table['missed'][0]} queries whose first clip is wrong: how often it differs in an "
        "attribute, and how often a clip drawn from the others would.",
        config={"share": percent, "chance": percent},
    )
