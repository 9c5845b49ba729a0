"""Any masking at any ratio on a clip: the visible patches, and the remaining computation."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import polars as pl
import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from app import address, widgets
from app import frames as drawn
from app.clips import WIDTH, autoplay, choose_clip, choose_split, clips_of, play
from app.helper import ask
from app.markdown import escaped
from app.runs import Runs
from workbench.errors import UserError
from workbench.inspection.clips import Clips
from workbench.masking import names

TITLE = "Masks"
ORDER = 60

MOST_HIDDEN = 0.99
"""Upper end of the sliders, because at 1 the encoder would have nothing to read."""
OFF = 0.005
"""Largest difference of the hidden share from the ratio without a note."""

HIDDEN = {
    "drop": "Hidden patches are dropped before the encoder, which never computes them.",
    "replace": "Hidden patches are replaced by a learned token; the encoder computes as much as without a "
    "mask.",
    "zero": "Hidden patches are read as black; the encoder computes as much as without a mask.",
}
"""Treatment of hidden patches, by the recipe's `video.hidden`."""
FLOPS = "Video encoder GFLOPs"
ABOUT = {
    FLOPS: "Forward, of one clip embedded with this mask. What a recipe leaves out further on within its "
    "encoder, as smaug does in training, is counted."
}
"""What to say of a number where somebody asks."""

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
        video, text, seed, split, notes = _choices(runs.directory(run).flat_config(), clips)
        query, start = _clip(clips, split)
        numbers, pair = st.container(), st.container(horizontal=True, gap="small")
        clip = query.rpartition("#")[0]
        task = {
            "run": str(runs.directory(run).path.resolve()), "store": str(clips.store.path.resolve()),
            "row": clips.rows[clip], "caption": clips.captions[query], "text": text, "seed": seed,
        }  # fmt: skip
        with pair:  # before the model is asked, which takes seconds where torch has to be loaded
            play(clips, clip, clips.captions[query], start=start)
        answer, payload = ask(want="mask", video=video, **task)
        masked = ask(want="masked_clip", video=video, **task)[1]
    except UserError as error:
        st.info(escaped(f"There is no mask to show: {error}."))
        return
    _says(notes[0], video, answer["hidden"] / answer["tokens"], "video")
    _says(notes[1], text, sum(answer["words_hidden"]) / max(1, len(answer["words"])), "text")
    with numbers:
        _numbers(answer)
    with pair:
        _play_masked(masked, clips.captions[query], start)
    _caption(answer)
    for known, (name, _) in ((names.video(), video), (names.text(), text)):
        st.caption(escaped(f"{names.strategy_name(name)}: {known[name]}"))
    options = {"frames": "frame by frame", "strategies": "every strategy"}
    if address.choose("shown", "Below", options, "frames", form="buttons") == "strategies":
        _strategies(task, video, start)
        return
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
        "cell", "Cell", options, _hiding(known, list(options)), pin=True,
        help="Whose model: its patches, tubelets and frame size count; its own maskings come first below.",
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


def _choices(
    config: Mapping[str, Any], clips: Clips
) -> tuple[Masking, Masking, int, str, tuple[DeltaGenerator, DeltaGenerator]]:
    """Parameters `video`, `video_ratio`, `words`, `words_ratio` (first as in the run), `draw`, `split`; and
    places below the sliders."""
    first, second, third = st.columns([3, 3, 2])
    with first:
        video = _masking("video", "video", config, "recipe.video_masking", names.video())
        below_video = st.empty()
    with second:
        text = _masking("words", "text", config, "recipe.text_masking", names.text())
        below_text = st.empty()
    with third:
        split = choose_split(clips)
        seed = widgets.mask_seed()
    return video, text, seed, split, (below_video, below_text)


def _masking(
    parameter: str, what: str, config: Mapping[str, Any], own: str, known: Mapping[str, str]
) -> Masking:
    """Name of the class and ratio."""
    name = str(config.get(f"{own}.type", "")).rpartition(".")[2]
    ratio = min(MOST_HIDDEN, float(config.get(f"{own}.ratio") or 0.0))
    options = {known_name: names.strategy_name(known_name) for known_name in known}
    chosen = address.choose(
        parameter, f"{what.capitalize()} masking", options, name if name in options else next(iter(options)),
        help="  \n".join(f"**{options[n]}**: {escaped(text)}" for n, text in known.items()),
    )  # fmt: skip
    title = f"{what.capitalize()} mask ratio"
    return chosen, address.number(f"{parameter}_ratio", title, 0.0, MOST_HIDDEN, ratio, step=0.01)


def _says(place: DeltaGenerator, masking: Masking, hidden: float, what: str) -> None:
    """At the slider: that the masking hides another share than was asked for, since it counts whole parts."""
    name, ratio = masking
    if abs(hidden - ratio) > OFF:
        found = f"{names.strategy_name(name)} hides {hidden:.2f} of this {what} at a ratio of {ratio:.2f}"
        place.caption(escaped(f"{found}: it rounds to whole parts."))


def _clip(clips: Clips, split: str) -> tuple[str, bool]:
    """Parameter `clip` (a caption id), and whether the clip plays by itself."""
    query = choose_clip(clips, split)
    assert query is not None, "a split without captions is no choice"
    return query, autoplay()


def _numbers(answer: Mapping[str, Any]) -> None:
    """What is left; FLOPs are those of one clip forward, left out where they are not known."""
    tokens, hidden = answer["tokens"], answer["hidden"]
    encoded = tokens - hidden if answer["video_hidden"] == "drop" else tokens
    words, gone = len(answer["words"]), sum(answer["words_hidden"])
    shown = [
        ("Video tokens hidden", f"{hidden} of {tokens}", hidden / tokens),
        ("Video tokens encoded", f"{encoded} of {tokens}", encoded / tokens),
        ("Text tokens hidden", f"{gone} of {words}", gone / max(1, words)),
    ]
    if counted := answer["flops"] is not None and answer["flops_of_all"] is not None:
        flops, whole = answer["flops"] / 1e9, answer["flops_of_all"] / 1e9
        shown.insert(2, (FLOPS, f"{flops:.2g} of {whole:.2g}", flops / whole))
    row = st.container(horizontal=True, gap="medium")
    for title, value, share in shown:
        row.metric(
            title, value, f"{share:.1%}", delta_color="off", delta_arrow="off", width="content",
            help=ABOUT.get(title),
        )  # fmt: skip
    if not counted:
        st.caption("The FLOPs of this recipe's video encoder are left out: how it reads a clip is not known.")


def _caption(answer: Mapping[str, Any]) -> None:
    """The caption as the text encoder reads it."""
    how = "dropped" if answer["words_dropped"] else "replaced by the mask token"
    st.markdown(f"#### {drawn.words_left(answer['words'], answer['words_hidden'])}")
    st.caption(f"Hidden words are {how}.")
    st.caption(HIDDEN[answer["video_hidden"]])


def _play_masked(video: bytes, caption: str, start: bool) -> None:
    st.video(
        video, format="video/mp4", loop=True, autoplay=start, muted=True, width=WIDTH,
        alt=f"{caption}, masked",
    )  # fmt: skip


def _strategies(task: Mapping[str, Any], video: Masking, start: bool) -> None:
    """The clip under every masking of videos, at the same ratio and number."""
    st.subheader("Every strategy", divider="gray")
    st.caption(f"The clip under each video masking, asked to hide {video[1]:.2f}, with the same number.")
    with st.container(horizontal=True, gap="small"):
        for name in names.video():
            answer, content = ask(want="masked_clip", video=(name, video[1]), **task)
            hidden, tokens = answer["hidden"], answer["tokens"]
            with st.container(width=WIDTH):
                st.markdown(f"**{escaped(names.strategy_name(name))}**")
                _play_masked(content, names.strategy_name(name), start)
                st.caption(f"{hidden} of {tokens} tokens hidden ({hidden / tokens:.1%})")


def _frames(frames: np.ndarray, seen: np.ndarray, answer: Mapping[str, Any]) -> None:
    slots = answer["grid"][0]
    together = len(frames) // slots
    share = f"; {together} frames make one token and share its mask" if together > 1 else ""
    st.subheader("Frame by frame", divider="gray")
    st.caption(f"Above the clip, below what the encoder sees{share}.")
    drawn.columns({"the clip": frames, "as the encoder sees it": seen})
