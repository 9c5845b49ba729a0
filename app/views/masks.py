"""Any masking at any ratio on a clip of the data: what the encoder sees, and what that leaves to compute."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import polars as pl
import streamlit as st

from app import address, widgets
from app.clips import autoplay, choose_clip, choose_split, clips_of, play
from app.frames import enlarged, words_left
from app.helper import ask
from app.markdown import escaped
from app.runs import Runs
from workbench.errors import UserError
from workbench.inspection.clips import Clips
from workbench.masking import names

TITLE = "Masks"
ORDER = 60

PER_ROW = 8
"""Frames side by side."""

Masking = tuple[str, float]
"""Name of the class, ratio."""


def render(runs: Runs) -> None:
    st.header("Masks")
    run = _run(runs)
    if run is None:
        widgets.nothing_yet(runs, "No run has started yet, so there is no model to mask for.")
        return
    try:
        clips = clips_of(runs, run)
        video, text, seed, split = _choices(runs.directory(run).flat_config(), clips)
        query, start = _clip(clips, split)
        caption = clips.captions[query]
        clip = query.rpartition("#")[0]
        answer, payload = ask(
            want="mask", run=str(runs.directory(run).path.resolve()), store=str(clips.store.path.resolve()),
            row=clips.rows[clip], caption=caption, video=video, text=text, seed=seed,
        )  # fmt: skip
    except UserError as error:
        st.info(escaped(f"There is no mask to show: {error}."))
        return
    _numbers(answer)
    left, right = st.columns([1, 3])
    with left:
        play(clips, clip, caption, start=start)
    with right:
        _caption(answer)
        for known, (name, _) in ((names.video(), video), (names.text(), text)):
            st.caption(escaped(f"{name.removesuffix('Masking')}: {known[name]}"))
    true = clips.frames(clip, answer["frames"])
    seen = np.frombuffer(payload, np.uint8).reshape(-1, *true.shape[1:])
    _frames(true, seen, answer)


def _run(runs: Runs) -> str | None:
    """Parameter `cell`: whose model is masked; a complete run of it where there is one."""
    known = runs.table.filter(pl.col("key").is_not_null() & (pl.col("state") != "unreadable"))
    if known.is_empty():
        return None
    cells = dict(known.select("key", "cell").iter_rows())
    planned = [key for key in (runs.asked.labels if runs.asked is not None else ()) if key in cells]
    options = {key: runs.name_of(key, cells[key]) for key in dict.fromkeys([*planned, *cells])}
    cell = address.choose(
        "cell", "Model of cell", options, _hiding(known, list(options)), pin=True,
        help="Its patches, tubelets and frame size count; its own maskings are the first choice below.",
    )  # fmt: skip
    mine = known.filter(pl.col("key") == cell).sort(pl.col("state") != "complete", maintain_order=True)
    return str(mine["run"][0])


def _hiding(known: pl.DataFrame, keys: list[str]) -> str:
    """The first cell that hides something of the video, else the first."""
    column = "config.recipe.video_masking.ratio"
    if column not in known.columns or not known[column].dtype.is_numeric():
        return keys[0]
    hiding = set(known.filter(pl.col(column) > 0)["key"])
    return next((key for key in keys if key in hiding), keys[0])


def _choices(config: Mapping[str, Any], clips: Clips) -> tuple[Masking, Masking, int, str]:
    """Parameters `video`, `video_ratio`, `words`, `words_ratio` (first as in the run), `draw`, `split`."""
    first, second, third = st.columns([3, 3, 2])
    with first:
        video = _masking("video", "Video masking", config, "recipe.video_masking", names.video())
    with second:
        text = _masking("words", "Text masking", config, "recipe.text_masking", names.text())
    with third:
        split = choose_split(clips)
        seed = address.number("draw", "Draw", 0.0, 100.0, 0.0, help="Another number draws another mask.")
    return video, text, round(seed), split


def _masking(
    parameter: str, title: str, config: Mapping[str, Any], own: str, known: Mapping[str, str]
) -> Masking:
    """Name of the class and ratio."""
    name = str(config.get(f"{own}.type", "")).rpartition(".")[2]
    ratio = float(config.get(f"{own}.ratio") or 0.0)
    options = {known_name: known_name.removesuffix("Masking") for known_name in known}
    chosen = address.choose(
        parameter, title, options, name if name in options else next(iter(options)),
        help="  \n".join(f"**{options[n]}**: {escaped(text)}" for n, text in known.items()),
    )  # fmt: skip
    return chosen, address.number(f"{parameter}_ratio", "Share hidden", 0.0, 1.0, ratio)


def _clip(clips: Clips, split: str) -> tuple[str, bool]:
    """Parameter `clip` (a caption id), and whether the clip plays by itself."""
    left, right = st.columns([5, 3], vertical_alignment="bottom")
    with left:
        query = choose_clip(clips, split)
        assert query is not None, "a split without captions is no choice"
    with right:
        return query, autoplay()


def _numbers(answer: Mapping[str, Any]) -> None:
    """What is left; FLOPs are those of one clip forward."""
    tokens, hidden = answer["tokens"], answer["hidden"]
    encoded = tokens - hidden if answer["dropped"] else tokens
    flops, whole = answer["flops"] / 1e9, answer["flops_of_all"] / 1e9
    words, gone = len(answer["words"]), sum(answer["words_hidden"])
    shown = (
        ("Video tokens hidden", f"{hidden} of {tokens}", hidden / tokens),
        ("Video tokens encoded", f"{encoded} of {tokens}", encoded / tokens),
        ("Video encoder GFLOPs", f"{flops:.2g} of {whole:.2g}", flops / whole),
        ("Text tokens hidden", f"{gone} of {words}", gone / max(1, words)),
    )
    row = st.container(horizontal=True, gap="medium")
    for title, value, share in shown:
        row.metric(title, value, f"{share:.1%}", delta_color="off", delta_arrow="off", width="content")


def _caption(answer: Mapping[str, Any]) -> None:
    """The caption as the text encoder reads it."""
    how = "dropped" if answer["words_dropped"] else "replaced by the mask token"
    st.markdown(f"#### {words_left(answer['words'], answer['words_hidden'])}")
    st.caption(f"Hidden words are {how}.")
    st.caption(
        "Hidden patches are dropped before the encoder, which never computes them."
        if answer["dropped"]
        else "Hidden patches are replaced by a learned token; the encoder computes as much as without a mask."
    )


def _frames(frames: np.ndarray, seen: np.ndarray, answer: Mapping[str, Any]) -> None:
    slots = answer["grid"][0]
    together = len(frames) // slots
    share = f"; {together} frames make one token and share its mask" if together > 1 else ""
    st.subheader("Frame by frame", divider="gray")
    st.caption(f"Above the clip, below what the encoder sees{share}.")
    for first in range(0, len(frames), PER_ROW):
        part = slice(first, first + PER_ROW)
        for row, what in ((frames[part], "of the clip"), (seen[part], "as the encoder sees it")):
            for i, column in zip(range(len(row)), st.columns(PER_ROW), strict=False):
                name = str(first + i + 1)
                column.image(enlarged(row[i]), name, width="stretch", alt=f"Frame {name} {what}")
