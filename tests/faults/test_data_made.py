"""Making data: what is slow for a while is not left out for good, and what is cut is made again."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import pytest
from videos import moving, written

from workbench.config import DataConfig
from workbench.data import build, prepare
from workbench.data.__main__ import main
from workbench.data.decode import decode_task
from workbench.data.store import FrameStore, is_ready

DATA = DataConfig(name="folder", frames=4, size=32)


@pytest.fixture
def own(tmp_path: Path) -> Path:
    """Six small videos, the last but two of them for training."""
    folder, rows = tmp_path / "own", ["video,caption,split"]
    folder.mkdir()
    for name, split in zip("abcdef", ("val", "test", "train", "train", "train", "train"), strict=True):
        written(folder / f"{name}.mkv", moving(8), "ffv1")
        rows.append(f"{name}.mkv,clip {name},{split}")
    (folder / "captions.csv").write_text("\n".join(rows))
    return folder


def made(own: Path, root: Path) -> Path:
    return prepare(DATA, source=str(own), root=root, progress=False)


def slow_at_first(task: dict) -> tuple[dict, bytes]:
    """Decodes; one video, asked for the first time, takes longer than any deadline."""
    note = Path(task["path"]).with_suffix(".asked")
    if task["path"].endswith("f.mkv") and not note.exists():
        note.touch()
        time.sleep(600)
    return decode_task(task)


def test_a_video_that_was_slow_once_is_asked_for_again(
    own: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parent))
    monkeypatch.setattr(build, "TASK", "test_data_made:slow_at_first")
    monkeypatch.setattr(build, "DEADLINE", 2.0)  # also where others miss it: they are asked again as well
    monkeypatch.setattr(build, "usable_cores", lambda: 1)
    store = FrameStore.open(made(own, tmp_path / "root"))
    assert (own / "f.asked").exists()
    assert store.skipped == []
    assert len(store.frames) == 6


def test_many_missing_training_videos_are_said_aloud_and_noted(
    own: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (own / "c.mkv").write_bytes(b"x" * 1000)
    store = FrameStore.open(made(own, tmp_path / "root"))
    note = "1 of 4 training videos (25%) cannot be used"
    assert f"warning: {note}" in capsys.readouterr().err
    assert note in store.notes


def test_a_cut_frame_store_is_made_again(own: Path, tmp_path: Path) -> None:
    path = made(own, tmp_path / "root")
    frames = path / "frames.npy"
    whole = np.load(frames)
    frames.write_bytes(frames.read_bytes()[:-1000])
    assert not is_ready(path)
    assert made(own, tmp_path / "root") == path
    assert is_ready(path)
    assert np.array_equal(np.load(frames), whole)


@pytest.mark.parametrize("place", ["nowhere/report.json", "own"])
def test_a_report_that_cannot_be_written_is_refused_before_anything_is_decoded(
    place: str, own: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("workbench.data.__main__.check", lambda path: pytest.fail("it was decoded first"))
    assert main(["check", str(own), "--json", str(tmp_path / place)]) == 2
    err = capsys.readouterr().err
    assert err.startswith("error: --json must be a file")
    assert err.count("\n") == 1
