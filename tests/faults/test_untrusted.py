"""Files, names and addresses from elsewhere: nothing is unpickled, nothing leaves, no password is shown."""

from __future__ import annotations

import hashlib
import json
import os
import pickle
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from finished import finished_run
from hypothesis import given
from hypothesis import strategies as st
from small import run_config, write_store
from synthetic import BASE, RATIOS, write_study
from transformers import BertConfig, BertModel

from workbench.addresses import masked
from workbench.config import DataConfig
from workbench.data import prepare
from workbench.data.store import FrameStore
from workbench.errors import UserError
from workbench.inspection.answers import read_answers, read_captions
from workbench.inspection.ranking import read_embeddings
from workbench.models.text import TextConfig, TextEncoder, vocabulary
from workbench.models.video import VideoConfig, VideoEncoder
from workbench.report.__main__ import main as report
from workbench.study.__main__ import main as study
from workbench.tracking.curves import load_curves
from workbench.tracking.mlflow import Mirror
from workbench.tracking.run_dir import RunDir
from workbench.tracking.runs import RunTable, load_runs
from workbench.train import checkpoint
from workbench.train.loop import train
from workbench.train.session import open_session


class Payload:
    """Makes a folder when it is unpickled."""

    def __init__(self, canary: Path) -> None:
        self.canary = canary

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.canary),)


@pytest.fixture
def canary(tmp_path: Path) -> Iterator[Path]:
    path = tmp_path / "unpickled"
    yield path
    assert not path.exists(), "a pickle was loaded"


def object_array(canary: Path) -> np.ndarray:
    array = np.empty(1, object)
    array[0] = Payload(canary)
    return array


def as_pickle(path: Path, canary: Path) -> None:
    path.write_bytes(pickle.dumps(Payload(canary)))


def as_torch(path: Path, canary: Path) -> None:
    torch.save({"weights": Payload(canary)}, path)


def as_npy(path: Path, canary: Path) -> None:
    with open(path, "wb") as file:
        np.save(file, object_array(canary), allow_pickle=True)


def as_npz(path: Path, canary: Path) -> None:
    names = ("t2v_rank", "t2v_id", "t2v_group", "v2t_rank", "v2t_id", "video", "text", "video_id", "text_id",
             "text_group", "caption")  # fmt: skip
    with open(path, "wb") as file:
        np.savez(file, allow_pickle=True, **{name: object_array(canary) for name in names})


FORMS = [as_pickle, as_torch, as_npy, as_npz]
Form = Callable[[Path, Path], None]
every_form = pytest.mark.parametrize("form", FORMS)


@every_form
def test_the_hostile_files_would_act_if_they_were_loaded(tmp_path: Path, form: Form) -> None:
    path, acted = tmp_path / "hostile", tmp_path / "acted"
    form(path, acted)
    if form is as_torch:
        torch.load(path, weights_only=False)
    elif form is as_pickle:
        pickle.loads(path.read_bytes())  # noqa: S301
    else:
        found = np.load(path, allow_pickle=True)
        if form is as_npz:
            found["caption"]
    assert acted.is_dir()


# Checkpoints and weights


@every_form
def test_a_checkpoint(store: FrameStore, tmp_path: Path, canary: Path, form: Form) -> None:
    config = run_config(steps=3)
    session = open_session(config, store, device=torch.device("cpu"))
    for _ in train(session, checkpoints=tmp_path / "saved", save_every=0):
        pass
    saved = tmp_path / "saved"
    for record in (saved / "last.json", saved / "previous.json"):  # each with the digest of the hostile file
        fields = json.loads(record.read_text())
        form(saved / fields["tensors"], canary)
        fields["sha256"] = hashlib.sha256((saved / fields["tensors"]).read_bytes()).hexdigest()
        record.write_text(json.dumps(fields))
    with pytest.raises(UserError, match="cannot be read"):
        checkpoint.resume(saved, session.recipe, session.optimizer, config)
    form(tmp_path / "model.safetensors", canary)
    with pytest.raises(UserError, match="cannot be read"):
        checkpoint.load_model(tmp_path, session.recipe)
    for record in (saved / "last.json", saved / "previous.json"):
        form(record, canary)
    with pytest.raises(UserError, match="is damaged"):
        checkpoint.resume(saved, session.recipe, session.optimizer, config)


@pytest.mark.parametrize("header", [b"", b"\xff" * 8, (1 << 60).to_bytes(8, "little"), b"\2\0\0\0\0\0\0\0{]"])
def test_a_safetensors_file_with_a_bad_header(tmp_path: Path, header: bytes) -> None:
    (tmp_path / "model.safetensors").write_bytes(header)
    with pytest.raises(UserError, match="cannot be read"):
        checkpoint.load_model(tmp_path, torch.nn.Linear(2, 2))


@every_form
def test_video_weights(tmp_path: Path, canary: Path, form: Form) -> None:
    for name, message in (("w.safetensors", "could not be loaded"), ("w.pth", "no weights at")):
        form(tmp_path / name, canary)
        config = VideoConfig(width=0, depth=0, heads=0, patch=0, pretrained=str(tmp_path / name))
        with pytest.raises(UserError, match=message):
            VideoEncoder(config, frames=4, size=32)
    folder = VideoConfig(backbone=f"local-dir:{tmp_path}")
    with pytest.raises(UserError, match="no plain ViT"):
        VideoEncoder(folder, frames=4, size=32)


@every_form
@pytest.mark.parametrize("name", ["pytorch_model.bin", "model.safetensors"])
def test_a_folder_of_a_text_model(tmp_path: Path, canary: Path, form: Form, name: str) -> None:
    sound = TextConfig(pretrained=str(tmp_path))
    words = vocabulary(["a red moon rises"], TextConfig())
    words.tokenizer.save(str(tmp_path / "tokenizer.json"))
    shape = BertConfig(vocab_size=words.size, hidden_size=16, num_hidden_layers=1, num_attention_heads=2,
                       intermediate_size=32, max_position_embeddings=40)  # fmt: skip
    BertModel(shape, add_pooling_layer=False).save_pretrained(tmp_path)
    assert TextEncoder(sound, vocabulary(["a red moon"], sound)).width == 16, "a sound folder is read"
    (tmp_path / "model.safetensors").unlink()
    form(tmp_path / name, canary)
    with pytest.raises(UserError, match="could not be loaded"):
        TextEncoder(sound, vocabulary(["a red moon"], sound))
    form(tmp_path / "tokenizer.json", canary)
    with pytest.raises(UserError, match="could not be loaded"):
        vocabulary(["a red moon"], sound)


# Frames, ranks, embeddings


@every_form
def test_a_frame_store(tmp_path: Path, canary: Path, form: Form) -> None:
    write_store(tmp_path / "store")
    form(tmp_path / "store" / "frames.npy", canary)
    with pytest.raises(UserError, match="frame store"):
        FrameStore.open(tmp_path / "store")
    form(tmp_path / "store" / "store.json", canary)
    with pytest.raises(UserError, match="damaged"):
        FrameStore.open(tmp_path / "store")


@every_form
def test_ranks_and_embeddings(tmp_path: Path, canary: Path, form: Form) -> None:
    run = RunDir(tmp_path / "run")
    run.create()
    form(run.file("ranks.npz"), canary)
    form(run.file("embeddings.npz"), canary)
    for read in (read_answers, read_captions, read_embeddings):
        with pytest.raises(UserError, match="damaged"):
            read(run)


def test_arrays_that_are_damaged_are_named(tmp_path: Path) -> None:
    """Empty, cut, with noise in the middle, one plain array, an array missing: one sentence each."""
    run = RunDir(tmp_path)
    names = {"t2v_rank": np.arange(999), "t2v_id": np.arange(999).astype(str), "t2v_group": np.zeros(999)}
    np.savez_compressed(run.file("ranks.npz"), allow_pickle=False, **names)
    assert read_answers(run) is not None
    whole = run.file("ranks.npz").read_bytes()
    cases = [b"", whole[:-30], whole[:200] + bytes(60) + whole[260:], b"PK\3\4", b"x" * 99]
    for content in cases:
        run.file("ranks.npz").write_bytes(content)
        with pytest.raises(UserError, match=r"ranks\.npz is damaged"):
            read_answers(run)
    with open(run.file("ranks.npz"), "wb") as file:
        np.save(file, np.arange(9))
    with pytest.raises(UserError, match=r"ranks\.npz is damaged"):
        read_answers(run)
    np.savez(run.file("ranks.npz"), t2v_rank=np.arange(3))
    with pytest.raises(UserError, match="it has no t2v_group, t2v_id"):
        read_answers(run)


def test_an_archive_that_unpacks_to_far_too_much(tmp_path: Path) -> None:
    """Its directory claims three times 4 GiB; nothing of that is allocated."""
    run = RunDir(tmp_path)
    arrays = {name: np.arange(9) for name in ("t2v_rank", "t2v_id", "t2v_group")}
    np.savez_compressed(run.file("ranks.npz"), allow_pickle=False, **arrays)
    content = bytearray(run.file("ranks.npz").read_bytes())
    at = -1
    while (at := content.find(b"PK\1\2", at + 1)) >= 0:  # the central directory, size at offset 24
        content[at + 24 : at + 28] = (0xFFFFFFFE).to_bytes(4, "little")
    run.file("ranks.npz").write_bytes(content)
    with pytest.raises(UserError, match=r"it would unpack to 12884901882 bytes"):
        read_answers(run)


@every_form
def test_a_report_over_hostile_runs(tmp_path: Path, canary: Path, form: Form) -> None:
    results = tmp_path / "results"
    write_study(results, "ratios", RATIOS, (0, 1), quality=lambda axes: 30.0, baseline=BASE, spread=1.0)
    for run in (results / "runs" / "ratios").glob("*-s?"):
        form(run / "ranks.npz", canary)
    assert report(["ratios", "--results", str(results)]) == 0  # leaves rows that were read
    for kept in [*(results / "runs" / "ratios").glob(".*")]:
        form(kept, canary)
    assert report(["ratios", "--results", str(results)]) == 0


# Names


NAMES = ["..", "../x", "a/../../x", "/etc", "a\0b", "x" * 300, "con", "-rf", ""]
every_name = pytest.mark.parametrize("name", NAMES)


def everything(folder: Path) -> set[str]:
    return {str(path) for path in folder.rglob("*")}


@pytest.fixture
def inside(tmp_path: Path) -> Iterator[Path]:
    """A results folder; nothing beside it changes."""
    results = tmp_path / "deep" / "results"
    results.mkdir(parents=True)
    (tmp_path / "x").write_text("outside")
    before = everything(tmp_path)
    yield results
    assert {path for path in everything(tmp_path) - before if not path.startswith(str(results))} == set()
    assert (tmp_path / "x").read_text() == "outside"


@every_name
def test_a_name_of_a_study_or_run(inside: Path, name: str, capsys: pytest.CaptureFixture[str]) -> None:
    for command in (study, report):
        if name and not name.startswith("-"):
            assert command([name, "--results", str(inside)]) == 2
            (line,) = capsys.readouterr().err.splitlines()
            assert line.startswith("error: ")
    for attempt in (
        lambda: RunDir.of(inside, name, "0" * 12, 0),
        lambda: RunDir.of(inside, "study", f"{name}/x", 0),
        lambda: RunTable(inside, name),
        lambda: load_curves(inside, name),
        lambda: load_curves(inside, "study", [name]),
    ):
        with pytest.raises(UserError):
            attempt()


@every_name
def test_a_name_of_a_file_of_a_run(inside: Path, name: str) -> None:
    run = RunDir.of(inside, "study", "0" * 12, 0)
    run.create()
    for attempt in (run.file, lambda name: run.write_json(name, {}), run.read_json):
        with pytest.raises(UserError):
            attempt(name)


@every_name
def test_a_name_of_a_data_set(inside: Path, name: str) -> None:
    with pytest.raises(UserError, match="no data set"):
        prepare(DataConfig(name=name), root=inside)
    if name not in ("", "con", "x" * 300):
        with pytest.raises(UserError, match="letters and digits"):
            DataConfig(digest=name)


@every_name
def test_a_checkpoint_that_names_a_file_elsewhere(inside: Path, store: FrameStore, name: str) -> None:
    session = open_session(run_config(steps=2), store, device=torch.device("cpu"))
    for _ in train(session, checkpoints=inside, save_every=0):
        pass
    for record in (inside / "last.json", inside / "previous.json"):
        record.write_text(json.dumps(json.loads(record.read_text()) | {"tensors": name}))
    with pytest.raises(UserError, match="damaged"):
        checkpoint.resume(inside, session.recipe, session.optimizer, session.config)


@pytest.mark.parametrize("identity", [{"study": "../../../x"}, {"study": "/etc"}, {"key": "' or 1 = '1"}])
def test_a_run_directory_from_elsewhere_cannot_steer_the_tracker(inside: Path, identity: dict) -> None:
    run = finished_run(inside)
    run.write_json("run.json", run.identity() | identity)
    with pytest.raises(UserError, match=r"is not a valid (study|run) name"):
        Mirror(inside, "").sync(run)


def test_links_that_lead_out_are_refused_and_those_inside_are_followed(inside: Path) -> None:
    outside = inside.parents[1] / "x"
    run = finished_run(inside)
    for name in ("summary.json", "ranks.npz", "metrics.jsonl", "train.log"):
        run.close()
        run.file(name).unlink(missing_ok=True)
        (run.path / name).symlink_to(outside)
        with pytest.raises(UserError, match="a link that leads out of"):
            run.file(name)
    with pytest.raises(UserError, match="a link that leads out of"):
        run.append_metrics({"step": 1})
    with pytest.raises(UserError, match="a link that leads out of"):
        Mirror(inside, "").sync(run)
    assert load_runs(inside)["state"].to_list() == ["unreadable"]
    (run.path / "summary.json").unlink()
    run.file("kept.json").write_text('{"a": 1}')
    (run.path / "summary.json").symlink_to("kept.json")
    assert run.summary() == {"a": 1}


def test_a_run_or_study_that_is_a_link_to_elsewhere_is_refused(inside: Path) -> None:
    elsewhere = inside.parent / "elsewhere"
    shutil.copytree(finished_run(inside).path, inside / "copy")
    (inside / "copy").rename(inside / "runs" / "real")
    runs = inside / "runs"
    (runs / "study").mkdir(exist_ok=True)
    (runs / "away").symlink_to(elsewhere)
    (runs / "study" / f"{'1' * 12}-s0").symlink_to(elsewhere)
    (runs / "study" / f"{'2' * 12}-s0").symlink_to(runs / "real")
    for name, key in (("away", "0" * 12), ("study", "1" * 12)):
        with pytest.raises(UserError, match="a link that leads out of"):
            RunDir.of(inside, name, key, 0)
    assert RunDir.of(inside, "study", "2" * 12, 0).path.is_dir()


# Addresses

WORDS = st.text(st.characters(min_codepoint=33, max_codepoint=126, exclude_characters="@:/?#&="), min_size=6)
PASSWORDS = st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=8, max_size=30)


@given(kind=st.sampled_from(["postgresql", "postgresql+psycopg", "mysql", "http", "https"]),
       user=WORDS, password=PASSWORDS)  # fmt: skip
def test_no_password_is_left_in_a_text(kind: str, user: str, password: str) -> None:
    text = f"cannot open {kind}://{user}:{password}@db.example:5432/x now"
    assert masked(text) == f"cannot open {kind}://{user}:***@db.example:5432/x now"
    assert masked(masked(text)) == masked(text)


@pytest.mark.parametrize("way", ["option", "environment"])
@pytest.mark.parametrize("name", ["storage", "mlflow"])
def test_the_study_command_never_shows_a_password(
    inside: Path, name: str, way: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The same database twice, so that the address has to be shown; and one that cannot be reached."""
    secret = "Correct-Horse-42"
    address = f"postgresql://me:{secret}@127.0.0.1:1/db"
    other = "mlflow" if name == "storage" else "storage"
    if way == "environment":
        monkeypatch.setenv(f"WORKBENCH_{name.upper()}", address)
        given = ["--results", str(inside), f"--{other}", address]
    else:
        given = ["--results", str(inside), f"--{name}", address, f"--{other}", address]
    assert study(["mask_ratio", *given]) == 2
    shown = capsys.readouterr()
    assert secret not in shown.out + shown.err
    assert "me:***@127.0.0.1" in shown.err
    assert study(["mask_ratio", "--status", "--results", str(inside), "--storage", address]) == 2
    shown = capsys.readouterr()
    assert secret not in shown.out + shown.err
    assert "me:***@127.0.0.1" in shown.err
