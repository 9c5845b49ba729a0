"""Clips that are decoded from shards as they come: steps are those of the same clips in a folder."""

from __future__ import annotations

import json
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from real_runs import real_run
from sharded import own_folder, tar_of
from small import run_config

from workbench.config import DataConfig
from workbench.data import describe, prepare
from workbench.data.__main__ import main
from workbench.data.loader import Loader
from workbench.data.shards import streamed
from workbench.data.shards.streamed import StreamedFrames
from workbench.data.store import FrameStore, is_ready
from workbench.data.workers import Done
from workbench.errors import UserError
from workbench.models.text import TextConfig, vocabulary
from workbench.train import checkpoint
from workbench.train.loop import train
from workbench.train.session import Interrupted, Session, open_session

FRAMES, SIZE, BATCH = 4, 16, 6
CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("streamed")


@pytest.fixture(scope="module")
def places(root: Path) -> dict[str, str]:
    """The same clips as a folder and as shards of ten clips."""
    own = own_folder(root / "clips")
    assert main(["shard", str(own), "--into", str(root / "set"), "--clips", "10"]) == 0
    return {"folder": str(own), "shards": str(root / "set")}


def opened(name: str, place: str, root: Path, **changes: Any) -> tuple[DataConfig, FrameStore]:
    data = describe(DataConfig(name=name, frames=FRAMES, size=SIZE, **changes), place, root=root).data
    return data, FrameStore.open(prepare(data, source=place, root=root, progress=False))


@pytest.fixture(scope="module")
def stores(places: dict[str, str], root: Path) -> dict[str, tuple[DataConfig, FrameStore]]:
    return {name: opened(name, place, root) for name, place in places.items()}


def loader(store: FrameStore, data: DataConfig | None = None, **changes: Any) -> Loader:
    captions = store.splits["train"].captions
    text = vocabulary(captions, TextConfig(width=32, depth=1, heads=2)).encode(captions)
    return Loader(store, text, batch_size=BATCH, seed=3, data=data, **changes)


def seen(one: Loader, steps: range) -> list[tuple[bytes, bytes]]:
    """Pixels and tokens of some steps."""
    batches = [one.batch(step) for step in steps]
    return [(batch.video.numpy().tobytes(), batch.text.tokens.numpy().tobytes()) for batch in batches]


class TestTheSame:
    def test_only_val_and_test_are_decoded_beforehand(self, stores: Any) -> None:
        store = stores["shards"][1]
        assert isinstance(store.frames, StreamedFrames)
        assert len(np.load(store.path / "frames.npy")) == 3 + 4
        assert len(store.frames) == 31
        whole = stores["folder"][1]
        for split in ("train", "val", "test"):
            here, there = (one.splits[split] for one in (store, whole))
            assert here.captions == there.captions
            clips = [np.unique(part.clips) for part in (here, there)]
            assert np.array_equal(store.frames[clips[0]], whole.frames[clips[1]])

    def test_it_reads_as_an_array(self, stores: Any) -> None:
        frames = stores["shards"][1].frames
        some = np.array([3, 0, 29, 3])
        whole = np.stack(list(frames))
        assert np.array_equal(frames[some], whole[some])
        assert np.array_equal(frames[some[:, None], [1, 3]], whole[some[:, None], [1, 3]])
        assert np.array_equal(frames[5][[0, 2]], whole[5][[0, 2]])
        assert np.array_equal(frames[2:4], whole[2:4])
        assert np.array_equal(np.take(frames, some, axis=0), whole[some])

    def test_a_step_is_that_of_the_folder_with_any_number_of_decoders(
        self, stores: Any, places: dict[str, str], root: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        wanted = seen(loader(stores["folder"][1]), range(8))
        for count in (1, 2, 4):
            monkeypatch.setenv(streamed.DECODERS, str(count))
            store = FrameStore.open(stores["shards"][1].path)
            assert seen(loader(store), range(8)) == wanted
            assert len(store.frames._crew._idle) == min(count, BATCH)
            each = [row for step in range(4) for row in loader(store).batch(step).index.tolist()]
            assert sorted(each) == np.unique(store.splits["train"].clips).tolist(), "each once an epoch"
            store.frames.close()

    def test_two_processes_have_the_halves(self, stores: Any) -> None:
        store = stores["shards"][1]
        parts = [loader(store, rank=rank, size=2) for rank in (0, 1)]
        for step in range(4):
            whole = loader(store).batch(step)
            halves = [part.batch(step) for part in parts]
            assert torch.equal(torch.cat([half.video for half in halves]), whole.video)
            assert torch.equal(torch.cat([half.index for half in halves]), whole.index)

    def test_a_resume_begins_at_the_exact_sample(self, stores: Any) -> None:
        one = loader(stores["shards"][1])
        straight = [batch.index.tolist() for batch in islice(one.batches(0), 7)]
        later = [batch.index.tolist() for batch in islice(one.batches(3), 4)]
        assert straight[3:] == later

    @pytest.mark.parametrize("sampling", ["random", "contiguous"])
    def test_frames_are_drawn_as_from_a_store(
        self, places: dict[str, str], root: Path, sampling: Any
    ) -> None:
        found = [opened(n, place, root, stored=6, sampling=sampling) for n, place in places.items()]
        one, other = (seen(loader(store, data), range(3)) for data, store in found)
        assert one == other


def broken(stores: Any, monkeypatch: pytest.MonkeyPatch, bad: list[int]) -> FrameStore:
    """The streamed store, of which the decoders refuse some rows."""
    store = FrameStore.open(stores["shards"][1].path)
    answers = StreamedFrames._answers

    def refusing(self: StreamedFrames, rows: Any) -> Any:
        for done in answers(self, rows):
            yield Done(done.number, {"reason": "it is odd"}, b"") if done.number in bad else done

    monkeypatch.setattr(StreamedFrames, "_answers", refusing)
    return store


class TestBad:
    def test_another_clip_takes_its_place_and_it_is_named(
        self, stores: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        whole = loader(stores["shards"][1])
        plain = [whole.indices(step)[0] for step in range(4)]
        bad = int(plain[1][2])
        store = broken(stores, monkeypatch, [bad])
        one = loader(store)
        batch = one.batch(1)
        expected = plain[1].copy()
        expected[2] = plain[2][2]
        assert batch.index.tolist() == expected.tolist()
        assert torch.equal(batch.video, torch.from_numpy(whole.frames[expected]))
        captions = store.splits["train"].captions
        tokens = {row: one.text.select(torch.tensor([row])).tokens for row in range(len(captions))}
        rows = [row for row, clip in enumerate(store.splits["train"].clips) if clip == expected[2]]
        assert any(torch.equal(batch.text.tokens[2:3], tokens[row]) for row in rows), "with its own caption"
        number = bad - 4  # behind the four clips of test, whose shard comes first by its name
        name = f"train-{number // 10:06d}/{number:08d}.mp4"
        assert f"left out: {name}: it is odd" in capsys.readouterr().err
        assert store.frames.skipped() == {name: "it is odd"}
        assert one.batch(1).index.tolist() == expected.tolist()
        halves = [loader(store, rank=rank, size=2).batch(1).index for rank in (0, 1)]
        assert torch.cat(halves).tolist() == expected.tolist(), "no process has to know of the other's"

    def test_a_run_stops_where_there_are_too_many(self, stores: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        store = broken(stores, monkeypatch, [4, 5])
        with pytest.raises(UserError, match=r"2 of \d+ clips cannot be decoded, more than 5%"):
            store.frames[np.arange(4, 28)]

    def test_what_is_no_video_is_refused_by_the_decoders_themselves(self, tmp_path: Path, root: Path) -> None:
        files = [(f"{i}.{end}", b"no video") for i in range(6) for end in ("mp4", "txt")]
        (tmp_path / "a.tar").write_bytes(tar_of(files))
        with pytest.raises(UserError, match="2 videos of val or test cannot be used"):
            opened("shards", str(tmp_path / "a.tar"), tmp_path)

    def test_a_shard_that_changed_is_noticed(self, places: dict[str, str], tmp_path: Path) -> None:
        for path in Path(places["shards"]).glob("*.tar"):
            (tmp_path / path.name).write_bytes(path.read_bytes())
        _, store = opened("shards", str(tmp_path), tmp_path / "root")
        assert is_ready(store.path)
        (tmp_path / "train-000001.tar").write_bytes(b"")
        with pytest.raises(UserError, match=r"train-000001\.tar was changed since it was indexed"):
            store.frames[4]
        assert not is_ready(store.path)

    def test_decoders_that_were_killed_are_replaced(self, stores: Any) -> None:
        store = FrameStore.open(stores["shards"][1].path)
        before = store.frames[np.arange(4, 10)]
        killed = [worker.process for worker in store.frames._crew._idle]
        for process in killed:
            process.kill()
            process.wait()
        assert killed
        assert np.array_equal(store.frames[np.arange(4, 10)], before)
        assert store.frames.bad == {}
        store.frames.close()

    def test_the_number_of_decoders_is_a_number(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv(streamed.DECODERS, "many")
        with pytest.raises(UserError, match="WORKBENCH_DECODERS must be the number of decoding processes"):
            streamed.decoders()


def config_of(data: DataConfig, **changes: Any) -> Any:
    config = run_config(data=data, steps=6, evaluations=1, **changes)
    return replace(config, optim=replace(config.optim, batch_size=BATCH))


def session_of(stores: Any, name: str) -> Session:
    data, store = stores[name]
    store = FrameStore.open(store.path)
    return open_session(config_of(data), store, device=CPU, precision=torch.float32)


def losses(rows: Any) -> dict[int, dict[str, float]]:
    return {step: {k: v for k, v in row.items() if k.startswith("train/")} for step, row in rows if row}


class TestTrained:
    def test_the_losses_are_those_of_the_folder(self, stores: Any) -> None:
        one, other = (losses(train(session_of(stores, name))) for name in ("folder", "shards"))
        assert one == other
        assert len(one) >= 6

    def test_killed_and_gone_on_with_by_other_decoders(
        self, stores: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        straight = losses(train(session_of(stores, "shards")))
        monkeypatch.setenv(streamed.DECODERS, "1")
        first = session_of(stores, "shards")
        rows = train(first, checkpoints=tmp_path, stop=lambda: first.progress.step >= 3)
        found = losses(islice(rows, 3))
        with pytest.raises(Interrupted):
            next(rows)
        monkeypatch.setenv(streamed.DECODERS, "3")
        second = session_of(stores, "shards")
        resumed = checkpoint.resume(tmp_path, second.recipe, second.optimizer, second.config, "")
        assert resumed is not None
        assert resumed.step == 3
        second.progress = resumed
        found |= losses(train(second, checkpoints=tmp_path))
        assert found == straight

    def test_a_run_reports_three_speeds_and_the_clips_it_skipped(
        self, stores: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        store = broken(stores, monkeypatch, [4])
        config = config_of(stores["shards"][0])
        run, code = real_run(monkeypatch, tmp_path, config, store)
        assert code == 0
        summary = run.summary()
        for what in ("read", "decode", "train"):
            assert summary[f"speed/{what}_clips_per_s"] > 0
        assert summary["train/skipped_clips"] == 1
        skipped = json.loads(run.file("skipped.json").read_text(encoding="utf-8"))
        assert skipped == {"train-000000/00000000.mp4": "it is odd"}
