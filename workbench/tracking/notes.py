"""Users' notes on a run, or on the comparison of its cell with another: `notes.json` in its directory.

`{"note": "...", "pinned": true, "against": {KEY: {"note": "...", "pinned": false}}}`, KEY that of the other
cell. Nothing else reads or writes the file, so a run may go on while somebody writes.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from workbench.errors import UserError
from workbench.tracking.files import check_name, wait_for_lock
from workbench.tracking.run_dir import RunDir

FILE = "notes.json"
LONGEST = 2000
"""Largest number of characters of a note."""


@dataclass(frozen=True, kw_only=True)
class Note:
    """A note; `bool(note)` is False if it is empty."""

    note: str = ""
    pinned: bool = False

    def __bool__(self) -> bool:
        return bool(self.note or self.pinned)


def read(run: RunDir, against: str = "") -> Note:
    """The note on a run, or on its cell against another one (its key); `UserError` where it is damaged."""
    return _read(run).get(against, Note())


def read_all(run: RunDir) -> dict[str, Note]:
    """Key of the other cell (empty: the run itself) -> note, of those that say anything."""
    return {key: note for key, note in _read(run).items() if note}


def write(run: RunDir, note: Note, against: str = "") -> None:
    """Replaces the note, in one step; `UserError` where it is too long. An empty one is taken away."""
    if len(note.note) > LONGEST:
        raise UserError(f"a note must have at most {LONGEST} characters, not {len(note.note)}")
    with wait_for_lock(run.file("notes.lock")):
        known = _read(run) | {check_name(against, "key of a cell") if against else "": note}
        others = {key: asdict(one) for key, one in known.items() if key and one}
        run.write_json(FILE, asdict(known[""] if "" in known else Note()) | {"against": others})


def tags(run: RunDir) -> dict[str, str]:
    """As MLflow has them: `wb.note`, `wb.pinned`, and `wb.note.KEY`, `wb.pinned.KEY` of comparisons."""
    found = {}
    for key, note in read_all(run).items():
        end = f".{key}" if key else ""
        if note.note:
            found[f"wb.note{end}"] = note.note
        if note.pinned:
            found[f"wb.pinned{end}"] = "yes"
    return found


def noted(folder: Path, names: Iterable[str]) -> dict[str, dict[str, Note]]:
    """Name of a run -> its notes, as by `read_all`, of the runs of a study that have any that can be read.

    folder: of the study; names: of its run directories.
    """
    found = {}
    for name in names:
        # Thousands of runs have none, and one look at each is all that they may cost.
        if not os.path.lexists(f"{folder}/{check_name(name, 'run name')}/{FILE}"):
            continue
        run = RunDir(folder / name)
        try:
            if run.file(FILE).is_file() and (notes := read_all(run)):
                found[name] = notes
        except UserError:
            found[name] = {"": Note(note="(notes.json of this run cannot be read)")}
    return found


def _read(run: RunDir) -> dict[str, Note]:
    record = run.read_json(FILE)
    others = record.get("against", {})
    if not isinstance(others, dict):
        raise UserError(f"{run.file(FILE)} is damaged: `against` is not an object")
    return {key: _note(run, value) for key, value in {"": record, **others}.items()}


def _note(run: RunDir, value: Any) -> Note:
    known: Mapping[str, Any] = value if isinstance(value, Mapping) else {"note": None}
    note, pinned = known.get("note", ""), known.get("pinned", False)
    if not (isinstance(note, str) and isinstance(pinned, bool)):
        raise UserError(f"{run.file(FILE)} is damaged: a note must be a text and whether it is pinned")
    return Note(note=note[:LONGEST], pinned=pinned)
