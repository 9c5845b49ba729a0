"""Tiny folders of benchmarks: annotations in every form that is read, written from one list of clips."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from benchmark_items import Item, Text, items, lists, of_split, pairs, singularity
from benchmark_questions import (
    activitynet_questions,
    charades_lines,
    charades_windows,
    msrvtt_choices,
    msrvtt_questions,
    msvd_questions,
    singularity_questions,
    violet_choices,
)
from PIL import Image

from workbench.data.benchmarks.cc3m import file_of
from workbench.data.decode import encode


def simvtp(clips: list[Item], train: str, test: str) -> Text:
    return {
        name: json.dumps({f"somewhere/{c.name}.mp4": c.captions[0] for c in of_split(clips, split)})
        for split, name in (("train", train), ("test", test))
    }


def violet(clips: list[Item], name: str) -> Text:
    splits = dict.fromkeys(clip.split for clip in clips)
    return {
        name: json.dumps(
            {s: [{"video": v, "caption": c} for v, c in pairs(of_split(clips, s))] for s in splits}
        )
    }


def violet_pretraining(clips: list[Item], name: str) -> Text:
    splits = dict.fromkeys(clip.split for clip in clips)
    return {name: json.dumps({s: {c.name: list(c.captions) for c in of_split(clips, s)} for s in splits})}


def clipbert(clips: list[Item]) -> Text:
    splits = dict.fromkeys(clip.split for clip in clips)
    return {
        f"{s}.jsonl": "\n".join(
            json.dumps({"clip_name": v, "caption": c}) for v, c in pairs(of_split(clips, s))
        )
        for s in splits
    }


def karpathy(clips: list[Item], name: str) -> Text:
    images = [
        {
            "filename": c.name,
            "split": "restval" if i == 0 else c.split,
            "sentences": [{"raw": text, "tokens": text.split()} for text in c.captions],
        }
        for i, c in enumerate(clips)
    ]
    return {name: json.dumps({"images": images, "dataset": "drawn"})}


def msrvtt_tables(clips: list[Item], size: str = "9k") -> Text:
    test = [f"ret{i},msr{c.name},{c.name},{c.captions[0]}" for i, c in enumerate(of_split(clips, "test"))]
    return {
        f"MSRVTT_train.{size}.csv": "video_id\n" + "".join(f"{c.name}\n" for c in of_split(clips, "train")),
        "MSRVTT_JSFUSION_test.csv": "\n".join(["key,vid_key,video_id,sentence", *test]) + "\n",
        "MSRVTT_data.json": json.dumps(
            {"sentences": [{"video_id": v, "caption": c} for v, c in pairs(clips)]}
        ),
    }


def msrvtt_lists(clips: list[Item]) -> Text:
    found = msrvtt_tables(clips)
    del found["MSRVTT_train.9k.csv"], found["MSRVTT_data.json"]
    captions = {"annotations": [{"image_id": v, "caption": c} for v, c in pairs(clips)]}
    return found | {"MSR_VTT.json": json.dumps(captions)} | lists(clips, {"train": "train_list_jsfusion.txt"})


def msrvtt_full(clips: list[Item]) -> Text:
    names = {split: f"{split}_list_full.txt" for split in ("train", "val", "test")}
    return lists(clips, names) | {"MSRVTT_data.json": msrvtt_tables(clips)["MSRVTT_data.json"]}


def msrvtt_challenge(clips: list[Item]) -> Text:
    def text(*splits: str) -> str:
        mine = [clip for clip in clips if clip.split in splits]
        videos = [
            {"video_id": c.name, "split": "validate" if c.split == "val" else c.split, "category": 3}
            for c in mine
        ]
        sentences = [{"video_id": v, "caption": c, "sen_id": i} for i, (v, c) in enumerate(pairs(mine))]
        return json.dumps({"info": {}, "videos": videos, "sentences": sentences})

    return {"train_val_videodatainfo.json": text("train", "val"), "test_videodatainfo.json": text("test")}


def msvd_lists(clips: list[Item]) -> Text:
    names = {split: f"{split}_list.txt" for split in ("train", "val", "test")}
    return lists(clips, names) | {"captions_msvd.json": json.dumps({c.name: c.captions for c in clips})}


def didemo_data(clips: list[Item]) -> Text:
    return {
        f"{split}_data.json": json.dumps(
            [
                {
                    "video": c.name,
                    "description": text,
                    "times": [[k, k], [k, k]],
                    "num_segments": 6,
                }
                for c in of_split(clips, split)
                for k, text in enumerate(c.captions)
            ]
        )
        for split in ("train", "val", "test")
    }


def activitynet_data(clips: list[Item]) -> Text:
    return {
        name: json.dumps(
            {
                c.name: {
                    "duration": 1.0,
                    "timestamps": [[0.25 * k, 0.25 * k + 0.5] for k in range(len(c.captions))],
                    "sentences": [f" {text} " for text in c.captions],
                }
                for c in of_split(clips, split)
            }
        )
        for split, name in (("train", "train.json"), ("test", "val_1.json"))
    }


def lsmdc_tables(clips: list[Item]) -> Text:
    times = "\t".join(["00.00.01.000", "00.00.02.000", "00.00.00.250", "00.00.00.750"])
    names = {
        "train": "LSMDC16_annos_training.csv",
        "val": "LSMDC16_annos_val.csv",
        "test": "LSMDC16_challenge_1000_publictect.csv",
    }
    return {
        name: "".join(f"{v}\t{times}\t{c}\n" for v, c in pairs(of_split(clips, split)))
        for split, name in names.items()
    }


def vatex_data(clips: list[Item]) -> Text:
    names = {"train": "vatex_training_v1.0.json", "test": "vatex_validation_v1.0.json"}
    return {
        name: json.dumps(
            [{"videoID": c.name, "enCap": c.captions, "chCap": []} for c in of_split(clips, split)]
        )
        for split, name in names.items()
    }


def webvid_tables(clips: list[Item]) -> Text:
    names = {"train": "results_2M_train.csv", "test": "results_2M_val.csv"}
    return {
        name: "videoid,name,page_dir\n" + "".join(f'{v},"{c}",00\n' for v, c in pairs(of_split(clips, split)))
        for split, name in names.items()
    }


def ssv2_data(clips: list[Item]) -> Text:
    """Two clips have one label, and all of a split one template."""
    names = {"train": "train", "test": "validation"}
    return {
        f"something-something-v2-{name}.json": json.dumps(
            [
                {"id": c.name, "label": f"moving cup {i // 2}", "template": "Moving [something]"}
                for i, c in enumerate(of_split(clips, split))
            ]
        )
        for split, name in names.items()
    }


def ssv2_labels(clips: list[Item]) -> Text:
    return {name.rpartition("-")[2]: text for name, text in ssv2_data(clips).items()}


def flickr8k_text(clips: list[Item]) -> Text:
    tokens = [f"{c.name}#{k}\t{text}" for c in clips for k, text in enumerate(c.captions)]
    names = {"train": "trainImages", "val": "devImages", "test": "testImages"}
    files = {split: f"Flickr_8k.{name}.txt" for split, name in names.items()}
    return lists(clips, files) | {"Flickr8k.token.txt": "\n".join(tokens) + "\n"}


def flickr8k_table(clips: list[Item]) -> Text:
    return {"captions.txt": "image,caption\n" + "".join(f'{v},"{c}"\n' for v, c in pairs(clips))}


def cc3m_tables(clips: list[Item]) -> Text:
    names = {"train": "Train_GCC-training-success-1-VALIDIMG.csv", "test": "Validation_GCC.csv"}
    return {
        name: "thumbnailUrl,caption\n" + "".join(f'{v},"{c}"\n' for v, c in pairs(of_split(clips, split)))
        for split, name in names.items()
    }


Form = tuple[str, list[Item], Callable[[list[Item]], Text]]
NO_VAL, ONE = items(val=0), items(captions=1, val=0)
SENTENCES = [c._replace(captions=tuple(f"{text}." for text in c.captions)) for c in NO_VAL]
IMAGES = items("img", val=2, suffix=".jpg")
FORMS: dict[str, list[Form]] = {
    "msrvtt": [
        ("CLIP4Clip", NO_VAL, msrvtt_tables),
        ("Frozen", NO_VAL, msrvtt_lists),
        (
            "Singularity",
            NO_VAL,
            lambda c: singularity(c, "msrvtt_ret_train9k.json", "msrvtt_ret_test1k.json"),
        ),
        ("SimVTP", ONE, lambda c: simvtp(c, "train_9k_miech.json", "test_1k_miech.json")),
        ("VIOLET", NO_VAL, lambda c: violet(c, "txt_msrvtt-retrieval.json")),
        ("ClipBERT", NO_VAL, clipbert),
    ],
    "msrvtt-7k": [("CLIP4Clip", NO_VAL, lambda c: msrvtt_tables(c, "7k"))],
    "msrvtt-full": [
        ("Frozen", items(), msrvtt_full),
        ("MSR-VTT challenge", items(), msrvtt_challenge),
    ],
    "msvd": [
        ("CLIP4Clip", items(), msvd_lists),
        (
            "Singularity",
            items(),
            lambda c: singularity(c, *(f"msvd_ret_{s}.json" for s in ("train", "test", "val"))),
        ),
        ("VIOLET", items(), lambda c: violet(c, "txt_msvd-retrieval.json")),
    ],
    "didemo": [
        ("LocalizingMoments", items(), didemo_data),
        (
            "Singularity",
            items(),
            lambda c: singularity(c, *(f"didemo_ret_{s}.json" for s in ("train", "test", "val"))),
        ),
        ("VIOLET", items(captions=1), lambda c: violet(c, "txt_didemo-retrieval.json")),
        ("ClipBERT", items(captions=1), clipbert),
    ],
    "didemo-moments": [("LocalizingMoments", items(), didemo_data)],
    "activitynet": [
        ("CLIP4Clip", items("v_", val=0), activitynet_data),
        ("Singularity", NO_VAL, lambda c: singularity(c, "anet_ret_train.json", "anet_ret_val_1.json")),
    ],
    "activitynet-moments": [("CLIP4Clip", items("v_", val=0), activitynet_data)],
    "activitynet-grounding": [("CLIP4Clip", items("v_", val=0), activitynet_data)],
    "charades_sta": [("TALL", SENTENCES, charades_lines), ("Moment-DETR", NO_VAL, charades_windows)],
    "msrvtt_qa": [
        ("MSRVTT-QA", items(), msrvtt_questions),
        ("Singularity", items(), lambda c: singularity_questions(c, "msrvtt_qa")),
    ],
    "msvd_qa": [
        ("MSVD-QA", items("film_"), msvd_questions),
        ("Singularity", items(), lambda c: singularity_questions(c, "msvd_qa")),
    ],
    "activitynet_qa": [
        ("ActivityNet-QA", items("v_"), activitynet_questions),
        ("Singularity", items("v_"), lambda c: singularity_questions(c, "anet_qa")),
    ],
    "msrvtt_mc": [
        ("Singularity", NO_VAL, msrvtt_choices),
        ("VIOLET", items(captions=1), violet_choices),
    ],
    "lsmdc": [("CLIP4Clip", items("1004_Juno_00.00.0", suffix=".707-00.00.09.1"), lsmdc_tables)],
    "vatex": [("InternVideo", NO_VAL, vatex_data)],
    "webvid": [
        ("Frozen", ONE, webvid_tables),
        ("VIOLET", ONE, lambda c: violet_pretraining(c, "txt_webvid2.5m.json")),
        ("SimVTP", ONE, lambda c: simvtp(c, "train.json", "val.json")),
    ],
    "ssv2": [("Something-Something", ONE, ssv2_data), ("Qualcomm", ONE, ssv2_labels)],
    "ssv2-template": [("Something-Something", ONE, ssv2_data)],
    "flickr8k": [
        ("Flickr8k_text", IMAGES, flickr8k_text),
        ("Karpathy", IMAGES, lambda c: karpathy(c, "dataset_flickr8k.json")),
    ],
    "flickr30k": [
        ("Karpathy", IMAGES, lambda c: karpathy(c, "dataset_flickr30k.json")),
        (
            "Singularity",
            IMAGES,
            lambda c: singularity(c, *(f"flickr30k_{s}.json" for s in ("train", "test", "val"))),
        ),
    ],
    "coco": [
        ("Karpathy", IMAGES, lambda c: karpathy(c, "dataset_coco.json")),
        (
            "Singularity",
            IMAGES,
            lambda c: singularity(c, *(f"coco_{s}.json" for s in ("train", "test", "val"))),
        ),
    ],
    "cc3m": [("Frozen", items("http://drawn/", captions=1, val=0), cc3m_tables)],
}
"""Data set -> the forms of its annotations that are tried: family, clips, and what writes them."""


def annotate(folder: Path, texts: Text) -> Path:
    """Writes annotation files into `annotations` below a folder."""
    (folder / "annotations").mkdir(parents=True, exist_ok=True)
    for name, text in texts.items():
        (folder / "annotations" / name).write_text(text, encoding="utf-8")
    return folder


def place_of(name: str, data: str) -> str:
    """Where the file of a clip is put: deep below the folder, with a suffix."""
    if data == "cc3m":
        return f"deep/{file_of(name)}"
    return f"deep/{name}" if name.endswith(".jpg") else f"deep/{name}.mp4"


def folder_of(data: str, path: Path, form: int = 0, *, empty: bool = False) -> Path:
    """A folder of a benchmark with real files, or with empty ones where nothing is decoded."""
    _, clips, write = FORMS[data][form]
    annotate(path, write(clips))
    (path / "deep").mkdir(exist_ok=True)
    for number, clip in enumerate(clips):
        file = path / place_of(clip.name, data)
        if empty:
            file.touch()
        elif file.suffix == ".mp4":
            video(file, number)
        else:
            picture(file, number)
    return path


def made(data: str, path: Path) -> str:
    """A new folder of a benchmark, as `--data` takes it."""
    path.mkdir()
    return str(folder_of(data, path))


def video(path: Path, number: int, frames: int = 8) -> None:
    """One second, brighter with every frame and every number."""
    ramp = np.arange(frames, dtype=np.uint8)[:, None, None, None] * 4
    encode(path, np.full((frames, 32, 32, 3), 20 + 18 * number, np.uint8) + ramp, rate=8, crf=20)


def picture(path: Path, number: int) -> None:
    Image.new("RGB", (40, 32), (20 + 18 * number, 60, 90)).save(path, format="JPEG")


def several(data: str, source: Any) -> None:
    """Puts a second file of the first clip beside it."""
    name = FORMS[data][0][1][0].name
    first = Path(source) / place_of(name, data)
    shutil.copy(first, Path(source) / first.name)
