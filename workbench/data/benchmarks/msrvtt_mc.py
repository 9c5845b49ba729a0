"""MSRVTT-MC (JSFusion, arXiv:1808.02559), multiple choice: which of five captions belongs to a video?

Models are trained on the captions of MSR-VTT's 7,010 training videos, some of which become val. For test
clips the right captions are the clips' captions; the options of each clip of val are its caption and four of
other clips of val, sampled by a hash of the names.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

from workbench.data.annotations.assemble import Benchmark, read, videos
from workbench.data.annotations.families import Family, Files, Row, choice
from workbench.data.annotations.reading import captions_of, entries, json_of, name_of, objects
from workbench.data.digests import Digests
from workbench.data.index import Clip, Index
from workbench.errors import UserError

if TYPE_CHECKING:
    from workbench.config import DataConfig

__all__ = ["SOURCE", "index", "videos"]

SOURCE = "MSR-VTT's videos and the choices of MSRVTT-MC"
TASKS = {"": ("video_qa",)}
TRAIN, TEST, SPLITS = "msrvtt_ret_train7k.json", "msrvtt_mc_test.json", "txt_msrvtt-mc.json"
OPTIONS = 5


def index(data: DataConfig, source: str | None, digests: Digests) -> Index:
    benchmark = Benchmark(
        name=data.name,
        families=(
            Family("Singularity", (TRAIN, TEST), _of_lists),
            Family("VIOLET", (SPLITS,), _of_splits),
        ),
        layout="videos/all/{}.mp4",
        protocol="which of five captions belongs to a video",
    )
    found = read(benchmark, source, digests)
    return replace(found, clips=tuple(_with_choices(found.clips)))


def _of_lists(files: Files) -> Iterator[Row]:
    """`{image, caption}` for training; `{image, caption, answer}` with five captions for the test."""
    path = files[TRAIN]
    for entry in entries(path, json_of(path), "image", "caption"):
        video = name_of(path, entry["image"])
        yield from (Row(video, one, "train") for one in captions_of(path, entry["caption"]))
    path = files[TEST]
    for entry in entries(path, json_of(path), "image", "caption", "answer"):
        yield choice(path, name_of(path, entry["image"]), "test", entry["caption"], entry["answer"])


def _of_splits(files: Files) -> Iterator[Row]:
    """An object of splits, each a list of `{video, option_0, ..., option_4, answer}`."""
    path = files[SPLITS]
    names = [f"option_{i}" for i in range(OPTIONS)]
    for split, found in objects(path, json_of(path), list):
        if split not in ("train", "val", "test"):
            raise UserError(f"{path} has the split {split!r}; train, val and test are read")
        for entry in entries(path, found, "video", "answer", *names):
            options = [entry[name] for name in names]
            yield choice(path, name_of(path, entry["video"]), split, options, entry["answer"])


def _with_choices(clips: tuple[Clip, ...]) -> Iterator[Clip]:
    """The clips, with choices added to those of val."""
    val = sorted((clip for clip in clips if clip.split == "val"), key=lambda clip: _hash(clip))
    place_of = {clip.id: i for i, clip in enumerate(val)}
    for clip in clips:
        if clip.id not in place_of or clip.attributes.get("choices"):
            yield clip
            continue
        others: list[str] = []
        for i in range(1, len(val)):
            caption = val[(place_of[clip.id] + i) % len(val)].captions[0]
            if caption not in (clip.captions[0], *others):
                others.append(caption)
            if len(others) == OPTIONS - 1:
                break
        else:  # too few captions to choose from
            yield clip
            continue
        place = _hash(clip)[0] % OPTIONS
        options = [*others[:place], clip.captions[0], *others[place:]]
        yield replace(clip, attributes={**clip.attributes, "choices": [(options, place)]})


def _hash(clip: Clip) -> bytes:
    return hashlib.sha256(clip.id.encode()).digest()
