"""Notes on runs and comparisons: kept in one step, damaged ones refused, told to MLflow."""

import json

import pytest

from workbench.errors import UserError
from workbench.tracking.notes import Note, noted, read, read_all, tags, write
from workbench.tracking.run_dir import RunDir

KEY = "0a856609676a"


@pytest.fixture
def run(tmp_path):
    directory = RunDir(tmp_path / f"{KEY}-s0")
    directory.create()
    return directory


def test_a_note_on_the_run_and_one_on_a_comparison_stand_beside_each_other(run):
    assert read(run) == Note()
    write(run, Note(note="odd curve", pinned=True))
    write(run, Note(note="colour only"), "1e92e36609bc")
    assert read(run) == Note(note="odd curve", pinned=True)
    assert read(run, "1e92e36609bc") == Note(note="colour only")
    assert tags(run) == {"wb.note": "odd curve", "wb.pinned": "yes", "wb.note.1e92e36609bc": "colour only"}
    write(run, Note())
    assert read_all(run) == {"1e92e36609bc": Note(note="colour only")}
    assert noted(run.path.parent, [run.path.name, "other"]) == {run.path.name: read_all(run)}


@pytest.mark.parametrize(
    "content", ["{", '{"note": 3}', '{"against": 1}', '{"against": {"a": 5}}', '{"pinned": "yes"}']
)
def test_a_damaged_file_is_a_sentence(run, content):
    run.file("notes.json").write_text(content)
    with pytest.raises(UserError):
        read(run, "a")
    assert "cannot be read" in noted(run.path.parent, [run.path.name])[run.path.name][""].note


def test_what_cannot_be_kept_is_refused_and_changes_nothing(run):
    write(run, Note(note="kept"))
    for note, against in ((Note(note="x" * 2001), ""), (Note(), "../../etc")):
        with pytest.raises(UserError):
            write(run, note, against)
    assert json.loads(run.file("notes.json").read_text())["note"] == "kept"
