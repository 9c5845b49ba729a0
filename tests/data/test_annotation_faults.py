"""Annotations that are wrong in ways that JSON and CSV allow: one sentence each, or mended, never cut."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from benchmark_files import folder_of

from workbench.config import DataConfig
from workbench.data import describe, prepare, read_index
from workbench.data.annotations import assemble
from workbench.data.annotations.tree import Tree
from workbench.data.index import Clip
from workbench.data.store import FrameStore
from workbench.errors import UserError

NAN = float("nan")


def didemo(**wrong: Any) -> dict[str, Any]:
    entry = {"num_segments": 6, "description": "d", "times": [[0, 0]]}
    return {
        f"{split}_data.json": [entry | {"video": f"{split}{i}"} | wrong for i in range(4)]
        for split in ("train", "val", "test")
    }


def activitynet(ids: Any = ("v_train0", "v_train1", "v_train2"), **wrong: Any) -> dict[str, Any]:
    entry = {"duration": 10.0, "timestamps": [[0, 5]], "sentences": ["s"]} | wrong
    files: dict[str, Any] = {
        file: {f"v_{split}{i}": entry for i in range(5)}
        for split, file in (("train", "train.json"), ("test", "val_1.json"))
    }
    return files | {"train_ids.json": ids}


def karpathy(**wrong: Any) -> dict[str, Any]:
    images = [
        {"filename": f"{split}{i}.jpg", "split": split, "sentences": [{"raw": "c"}]} | wrong
        for split in ("train", "val", "test")
        for i in range(3)
    ]
    return {"dataset_coco.json": {"images": images}}


def questions(**wrong: Any) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for split in ("train", "val", "test"):
        numbers = [{"question_id": f"{split}{i}"} | wrong for i in range(3)]
        found[f"{split}_q.json"] = [n | {"video_name": f"{split}{i}", "question": "is it red"}
                                    for i, n in enumerate(numbers)]  # fmt: skip
        found[f"{split}_a.json"] = [n | {"answer": "yes", "type": 3} for n in numbers]
    return found


def msrvtt(test: str) -> dict[str, Any]:
    sentences = [{"video_id": f"video{i}", "caption": "a b"} for i in range(6)]
    return {
        "MSRVTT_train.9k.csv": "video_id\n" + "".join(f"video{i}\n" for i in range(6)),
        "MSRVTT_JSFUSION_test.csv": f"key,vid_key,video_id,sentence\n{test}\n",
        "MSRVTT_data.json": {"sentences": sentences},
    }


WRONG = {
    "didemo video list": ("didemo", didemo(video=["a"]), "must be named by text, not ['a']"),
    "didemo video empty": ("didemo", didemo(video=" "), "must be named by text, not ' '"),
    "segments text": (
        "didemo-moments",
        didemo(num_segments="6"),
        "num_segments must be a whole number, not '6'",
    ),
    "segments null": ("didemo-moments", didemo(num_segments=None), "must be a whole number, not None"),
    "ids number": ("activitynet", activitynet(5), "train_ids.json must be a list of names, not 5"),
    "ids null": ("activitynet", activitynet(None), "must be a list of names, not None"),
    "ids lists": ("activitynet", activitynet([["v_t1"]]), "a video must be named by text, not ['v_t1']"),
    "duration nan": ("activitynet", activitynet(duration=NAN), "a number of seconds, not nan"),
    "times nan": ("activitynet-moments", activitynet(timestamps=[[0, NAN]]), "a number of seconds, not nan"),
    "filename null": ("coco", karpathy(filename=None), "must be named by text, not None"),
    "filepath list": ("coco", karpathy(filepath=["a"]), "must be named by text, not ['a']"),
    "question list": (
        "activitynet_qa",
        questions(question_id=[1]),
        "a question must be named by text, not [1]",
    ),
    "video empty": ("msrvtt", msrvtt("ret0,msr9,,a"), "a video must be named by text, not ''"),
    "commas": (
        "msrvtt",
        msrvtt("ret0,msr9,video9,a man, a dog and a cat"),
        "MSRVTT_JSFUSION_test.csv, row 2 has more fields than the header, such as ' a dog and a cat'",
    ),
}


def written(folder: Path, files: Mapping[str, Any]) -> str:
    for name, content in files.items():
        (folder / name).write_text(content if isinstance(content, str) else json.dumps(content))
    return str(folder)


@pytest.mark.parametrize("kind", WRONG)
def test_what_is_wrong_is_a_sentence_that_names_the_file(tmp_path: Path, kind: str) -> None:
    name, files, message = WRONG[kind]
    with pytest.raises(UserError) as caught:
        describe(DataConfig(name=name), written(tmp_path, files))
    assert message in str(caught.value)
    assert str(tmp_path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_empty_fields_behind_a_row_cut_nothing(tmp_path: Path) -> None:
    source = written(tmp_path, msrvtt('ret0,msr9,video9,"a man, a dog",,'))
    found = read_index(DataConfig(name="msrvtt"), source, usable=False)
    assert [clip.captions for clip in found.clips if clip.split == "test"] == [("a man, a dog",)]


def test_a_column_without_a_name_is_none_too_many(tmp_path: Path) -> None:
    files = msrvtt("") | {"MSRVTT_JSFUSION_test.csv": ",video_id,sentence\n0,video9,a man\n"}
    found = read_index(DataConfig(name="msrvtt"), written(tmp_path, files), usable=False)
    assert [clip.captions for clip in found.clips if clip.split == "test"] == [("a man",)]


def test_ids_may_lack_the_first_letters_of_their_names(tmp_path: Path) -> None:
    source = written(tmp_path, activitynet(["train0", "train1", "v_train2"]))
    found = read_index(DataConfig(name="activitynet"), source, usable=False)
    assert {c.id for c in found.clips if c.split != "test"} == {"v_train0", "v_train1", "v_train2"}


def test_numbers_that_are_names_are_read_as_such(tmp_path: Path) -> None:
    entries = [{"id": i, "label": f"a {i}", "template": "A [b]"} for i in range(5)]
    files = {
        "something-something-v2-train.json": entries[:4],
        "something-something-v2-validation.json": entries[4:],
    }
    found = read_index(DataConfig(name="ssv2"), written(tmp_path, files), usable=False)
    assert [clip.id for clip in found.clips] == list("01234")


def test_halves_of_signs_do_not_end_a_run(tmp_path: Path) -> None:
    source = folder_of("coco", tmp_path / "own")
    file = source / "annotations" / "dataset_coco.json"
    whole = json.loads(file.read_text())
    whole["images"][0]["sentences"][0]["raw"] = "a smile \ud83d alone"
    whole["images"][1]["sentences"][0]["raw"] = "a smile \ud83d\ude00 whole"
    whole["images"][-1]["sentences"][0]["raw"] = "\ude00"
    file.write_text(json.dumps(whole))
    data = DataConfig(name="coco", frames=1, size=16)
    path = prepare(data, source=str(source), root=tmp_path / "root", progress=False)
    captions = {text for part in FrameStore.open(path).splits.values() for text in part.captions}
    assert {"a smile \ufffd alone", "a smile \U0001f600 whole", "\ufffd"} <= captions


def test_taking_val_out_of_train_does_not_take_long(tmp_path: Path) -> None:
    clips = tuple(
        Clip(id=f"{i}", path=f"{i}.mp4", split="train" if i < 60_000 else "test", captions=("c",))
        for i in range(66_000)
    )
    begun = time.process_time()
    found, _ = assemble._with_val(clips, Tree(tmp_path, {}, {}))
    assert time.process_time() - begun < 4
    assert sum(clip.split == "val" for clip in found) == 6000
