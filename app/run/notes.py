"""Notes and pins on a run or a comparison: written into the run directory, then sent to MLflow as tags."""

from __future__ import annotations

import subprocess
import sys

import streamlit as st

from app.markdown import escaped
from app.runs import Runs
from workbench.errors import UserError
from workbench.tracking import notes
from workbench.tracking.notes import LONGEST, Note
from workbench.tracking.run_dir import RunDir

TIMEOUT = 120
"""Time limit for MLflow in seconds, including its import."""


def of(runs: Runs) -> dict[str, dict[str, Note]]:
    """Name of a run -> its notes, of the runs of the study that have any."""
    return notes.noted(runs.results / "runs" / runs.study, runs.table["run"].to_list())


def edit(runs: Runs, directory: RunDir, against: str = "") -> None:
    """A form, folded where there is no note yet. against: key of the cell that this one is compared with."""
    try:
        known = notes.read(directory, against)
    except UserError as error:
        st.error(escaped(str(error)))
        return
    place = f"note: {directory.path.name} {against}"
    if said := st.session_state.pop(f"{place} said", None):
        st.caption(escaped(said))
    with (
        st.expander("Note and pin", icon=":material/keep:", expanded=bool(known)),
        st.form(place, border=False),
    ):
        text = st.text_area("Note", known.note, max_chars=LONGEST, key=f"{place} text")
        pinned = st.checkbox("Pinned: listed first", known.pinned, key=f"{place} pinned")
        if not st.form_submit_button("Save"):
            return
    try:
        notes.write(directory, Note(note=text.strip(), pinned=pinned), against)
    except (UserError, OSError) as error:
        st.error(escaped(f"The note was not saved: {error}."))
        return
    st.session_state[f"{place} said"] = f"Saved. {_mirror(runs, directory)}".strip()
    st.rerun()


def _mirror(runs: Runs, directory: RunDir) -> str:
    """Sends the run to MLflow once more, where it was sent before; a sentence about what came of it."""
    store = str(directory.read_json("mlflow.json").get("address", ""))
    if not store:
        return ""
    path = str(directory.path.resolve())
    command = [sys.executable, "-m", "workbench.tracking", "import", path, "--results", str(runs.results)]
    if not store.startswith("sqlite:"):
        command += ["--mlflow", store]
    by_hand = f"python -m workbench.tracking import {directory.path} sends it there."
    try:
        with st.spinner("Telling MLflow …", show_time=True):
            done = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT, check=False)
    except subprocess.TimeoutExpired:
        return f"MLflow did not answer within {TIMEOUT} s; {by_hand}"
    if done.returncode:
        return f"MLflow did not take it ({done.stderr.strip()[-200:] or 'no reason given'}); {by_hand}"
    return "MLflow has it as tags of the run."
