"""From a benchmark's files to trained and judged: pictures, paragraphs, texts of several clips."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path
from statistics import mean

import numpy as np
import pytest
import torch
from benchmark_files import folder_of
from small import run_config, write_store

from workbench.config import Budget, DataConfig, Stage
from workbench.data import describe, prepare
from workbench.data.store import FrameStore, Split
from workbench.models.text import TextConfig
from workbench.recipes import mac
from workbench.study.stages import fitted
from workbench.tracking.run_dir import RunDir
from workbench.train.loop import train
from workbench.train.record import describe as record
from workbench.train.session import Session, open_session

CPU = torch.device("cpu")
TINY = mac.Config(
    video=replace(mac.Config().video, width=32, depth=1, heads=2, patch=8),
    text=TextConfig(width=32, depth=1, heads=2, max_tokens=256),
    text_masking=None,
)


def session_of(store: FrameStore, steps: int = 1) -> Session:
    config = run_config(TINY, steps=steps, tasks=("retrieval", "caption_sets"))
    return open_session(config, store, device=CPU)


def told(store: FrameStore, split: str, captions: list[str]) -> None:
    """Gives the clips of a split one caption each."""
    clips = np.unique(store.splits[split].clips)
    ids = [store.clip_ids[i] for i in clips]
    store.splits[split] = Split(clips, captions, [f"{i}#0" for i in ids], ids)


def test_a_benchmark_of_pictures_trains_with_one_frame(tmp_path: Path) -> None:
    source = str(folder_of("flickr8k", tmp_path))
    stages = (Stage(budget=Budget(unit="steps", amount=60)),)
    config = run_config(TINY, data=DataConfig(name="flickr8k", frames=4, size=16), stages=stages)
    config, notes = fitted(config, partial(describe, source=source))
    assert "flickr8k: one frame an image, encoded with a tubelet of 1" in notes
    config = replace(config, optim=replace(config.optim, batch_size=6))
    data = describe(config.data, source).data
    store = FrameStore.open(prepare(data, source=source, root=tmp_path / "root", progress=False))
    session = open_session(replace(config, data=data), store, device=CPU)
    assert tuple(session.recipe.grid) == (1, 2, 2)
    losses = [row["train/vtc"] for _, row in train(session)]
    assert mean(losses[-10:]) < 0.7 * mean(losses[:5])
    found = session.evaluate("test")
    assert {"test/t2v_r1", "test/v2t_r1", "test/sets_v2t_r1"} <= set(found)


def test_one_text_of_all_clips_is_found_with_any_of_them(tmp_path: Path) -> None:
    store = write_store(tmp_path / "store")
    told(store, "test", ["the same"] * 7)
    alone = session_of(store).evaluate("test")
    assert alone["test/t2v_r1"] < 100
    store.shared = True
    session = session_of(store)
    found = session.evaluate("test")
    assert found["test/t2v_r1"] == found["test/v2t_r1"] == 100
    assert session.galleries[""]["test"].more.tolist() == [[0, v] for v in range(1, 7)]


def test_a_paragraph_of_two_hundred_words_is_read_whole_and_a_cut_is_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store = write_store(tmp_path / "store")
    told(store, "test", [" ".join(["red", "moon", "moves", "up"] * 50)] * 7)
    session = session_of(store)
    assert session.vocabulary.length >= 200
    assert session.vocabulary.cut(store.splits["test"].captions) == 0
    assert np.isfinite(session.evaluate("test")["test/t2v_meanr"])
    short = replace(TINY, text=replace(TINY.text, max_tokens=32))
    session = open_session(run_config(short), store, device=CPU)
    run = RunDir(tmp_path / "run")
    (tmp_path / "run").mkdir()
    record(run, session, {}, [])
    assert "captions cut for having more than 32 tokens: test 100 %" in capsys.readouterr().out
    assert run.read_json("environment.json")["captions_cut_shares"] == "test 100 %"
