"""Playable clips: the prepared data of a run, and a player for one clip."""

from __future__ import annotations

import os
from pathlib import Path

import streamlit as st

from app import address, browser_scripts
from app.markdown import escaped
from app.runs import Runs
from app.widgets import among
from workbench.data.store import SPLITS
from workbench.errors import UserError
from workbench.inspection.clips import PLAYABLE, Clips, frames_path, open_clips

WIDTH = 240
"""Width of a clip on the page in pixels."""
MOST = 500
"""Largest number of clips of a split in a choice."""


def data_root(runs: Runs) -> Path:
    """The folder of prepared data: `$WORKBENCH_DATA`, else `data` among the results."""
    return Path(os.environ.get("WORKBENCH_DATA") or runs.results / "data")


def clips_of(runs: Runs, run: str) -> Clips:
    """The clips of a run, read once; `UserError` in words for the reader where they are not here."""
    directory = runs.directory(run)
    root = data_root(runs)
    record = frames_path(directory, root) / "store.json"
    if not record.is_file():
        raise UserError(
            f"the clips of this study are not on this machine: there is no {record.parent}. "
            f"$WORKBENCH_DATA names another folder of prepared data{_making(runs, run)}"
        )
    return _opened(str(directory.path), str(root), record.stat().st_mtime_ns)


def _making(runs: Runs, run: str) -> str:
    """Which command makes the data of a run ready; empty for a run of another plan, whose command is not
    known."""
    if runs.asked is None or run.rpartition("-s")[0] not in runs.asked.labels:
        return ""
    command = f"{runs.asked.command}{among(runs.results)}"
    return f"; this makes the clips ready, and then the runs that are missing here: {command}"


def clips_or_sentence(runs: Runs, run: str) -> Clips | None:
    """As `clips_of`, but missing clips are reported on the page, which continues without them."""
    try:
        clips = clips_of(runs, run)
        if not clips.named:
            where = escaped(str(clips.store.path))
            st.info(
                "Nothing can be played: these data were prepared by an earlier version, which did not note "
                f"where the videos are. Delete {where}, and the next run makes it anew."
            )
        return clips
    except UserError as error:
        st.info(escaped(f"Nothing can be played: {error}."))
        return None


def choose_split(clips: Clips) -> str:
    """Parameter `split`: test first, those without clips left out."""
    parts = {name: name for name in reversed(SPLITS) if len(clips.store.splits[name])}
    return address.choose("split", "Split", parts, next(iter(parts)), on_change=lambda: address.drop("clip"))


def choose_clip(clips: Clips, split: str, words: str = "") -> str | None:
    """Parameter `clip`, the id of a caption of the split: of those that have all these words, or of all.

    None where no caption has them.
    """
    part, wanted = clips.store.splits[split], words.lower().split()
    found = {
        name: caption
        for name, caption in zip(part.ids, part.captions, strict=True)
        if all(word in caption.lower() for word in wanted)
    }
    if not found:
        return None
    options = dict(list(found.items())[:MOST])
    chosen = address.choose("clip", "Clip", options, next(iter(options)))
    if len(found) > MOST:
        such = "such captions" if wanted else "captions of this split"
        st.caption(f"The first {MOST} of {len(found)} {such}.")
    return chosen


def autoplay() -> bool:
    """Parameter `play`: whether clips start by themselves; beside it, buttons for all clips of the page."""
    options = {"on": "at once", "off": "on click"}
    with st.container(horizontal=True, vertical_alignment="bottom", gap="small"):
        chosen = address.choose("play", "Clips play", options, "on", form="buttons")
        with st.container(width="content"):
            browser_scripts.player()
    return chosen == "on"


def play(clips: Clips | None, clip: str, caption: str, *, start: bool, where: str = "") -> None:
    """The video file of a clip, or a line that says why it cannot be shown; nothing where none can be.

    where: tells it from the same clip at another place of the page.
    """
    if clips is None or not clips.named:
        return
    try:
        path = clips.file(clip)
    except UserError as error:
        st.caption(escaped(f"Not shown: {error}."))
        return
    st.video(
        str(path), format=PLAYABLE[path.suffix.lower()], loop=True, autoplay=start, muted=True,
        alt=f"{caption}, {where}" if where else caption,
        width=WIDTH,
    )  # fmt: skip


@st.cache_resource(show_spinner=False, max_entries=8)
def _opened(run: str, root: str, changed: int) -> Clips:
    from workbench.tracking.run_dir import RunDir

    return open_clips(RunDir(run), Path(root))
