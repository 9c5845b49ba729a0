"""Formats of annotation files: their files, how they are read, and which one is present in a folder."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

from workbench.data.annotations.reading import (
    caption_of,
    captions_of,
    entries,
    json_lines_of,
    json_of,
    name_of,
    objects,
)
from workbench.data.annotations.tree import Tree
from workbench.errors import UserError

Files = Mapping[str, Path]
"""The files found by the patterns of `Family.files` and `Family.also`."""


class Row(NamedTuple):
    """One caption of one clip."""

    video: str
    """Name in the annotation, with or without folders and suffix."""
    caption: str
    split: str
    """`train`, `val` or `test`."""
    start: float = 0.0
    end: float = 0.0
    """End in seconds of the file; 0 stands for the end of the file."""
    label: str = ""
    fault: str = ""
    """Why its segment is invalid, for example because it ends before it begins."""
    known: Mapping[str, Any] = MappingProxyType({})
    """Further attributes of the clip: name -> one entry of the attribute's list, see `moment`, `question` and
    `choice`."""


@dataclass(frozen=True)
class Family:
    """A format in which a benchmark's annotations are published."""

    name: str
    """Name of its origin, such as `CLIP4Clip`."""
    files: tuple[str, ...]
    """Patterns of required files, see `Tree.find`."""
    read: Callable[[Files], Iterator[Row]]
    also: tuple[str, ...] = ()
    """Patterns of optional files."""


@dataclass(frozen=True)
class Taken:
    """The selected family with its files."""

    family: Family
    files: Files

    def __str__(self) -> str:
        return f"{self.family.name} ({', '.join(path.name for path in self.files.values())})"


def take(
    name: str, tree: Tree, families: Sequence[Family], pickles: Mapping[str, str], near: Mapping[str, str]
) -> Taken:
    """The first family whose files are all in the folder. Raises `UserError`, which names what is missing.

    Args: pickles: name of a pickle -> the text file with the same content. near: pattern of a file (see
        `Tree.find`) that is not sufficient -> the reason, such as "has no splits".
    """
    best: tuple[int, Family, list[str]] | None = None
    for family in families:
        found = {pattern: tree.find(pattern) for pattern in (*family.files, *family.also)}
        missing = [pattern for pattern in family.files if found[pattern] is None]
        if not missing:
            return Taken(family, {pattern: path for pattern, path in found.items() if path is not None})
        have = len(family.files) - len(missing)
        if best is None or have > best[0]:
            best = have, family, missing
    assert best is not None, "a benchmark has families"
    have, family, missing = best
    for pickle in tree.pickles():
        if pickle in pickles:
            raise UserError(
                f"{tree.root} has {pickle}, a pickle, which is not read because it can run any code; "
                f"{pickles[pickle]} holds the same"
            )
    lacking = " and ".join(one.replace("|", " or ") for one in missing)
    if have:
        raise UserError(f"{tree.root} has annotations of {name} as {family.name} has them, but no {lacking}")
    others = ", ".join(dict.fromkeys(one.name for one in families if one is not family))
    more = f"; the forms of {others} are read too" if others else ""
    for pattern, why in near.items():
        if (file := tree.find(pattern)) is not None:
            more += f"; {file.name}, which is there, {why}"
    raise UserError(f"{tree.root} has no annotations of {name}, such as {lacking} of {family.name}{more}")


def singularity(train: str, test: str, val: str = "", *, paragraph: bool = False) -> Family:
    """Lists of `{image: path, caption: text or list}`; `image` is also the key of videos, and in SSv2's test
    files a list of several right ones (Singularity, VindLU, UMT)."""

    def read(files: Files) -> Iterator[Row]:
        for split, pattern in (("train", train), ("val", val), ("test", test)):
            if pattern in files:
                path = files[pattern]
                for entry in entries(path, json_of(path), "image", "caption"):
                    yield from _rows(path, entry["image"], entry["caption"], split, paragraph)

    return Family("Singularity", (train, test), read, (val,) if val else ())


def simvtp(train: str, test: str) -> Family:
    """Objects of path -> caption, with one caption for each video (SimVTP)."""

    def read(files: Files) -> Iterator[Row]:
        for split, pattern in (("train", train), ("test", test)):
            for video, caption in objects(files[pattern], json_of(files[pattern]), str):
                yield from _rows(files[pattern], video, caption, split, False)

    return Family("SimVTP", (train, test), read)


def violet(pattern: str, *, paragraph: bool = False) -> Family:
    """One object of splits, each a list of `{video, caption}` or, for pre-training, an object of id -> texts
    (VIOLET, LAVENDER)."""

    def read(files: Files) -> Iterator[Row]:
        path = files[pattern]
        for split, found in objects(path, json_of(path), (list, dict)):
            if split not in ("train", "val", "test"):
                raise UserError(f"{path} has the split {split!r}; train, val and test are read")
            if isinstance(found, dict):
                for video, texts in objects(path, found, (list, str)):
                    yield from _rows(path, video, texts, split, paragraph)
            else:
                for entry in entries(path, found, "video", "caption"):
                    yield from _rows(path, entry["video"], entry["caption"], split, paragraph)

    return Family("VIOLET", (pattern,), read)


def clipbert(name: str, *, paragraph: bool = False) -> Family:
    """Lines of `{clip_name, caption}`, a file for each split (ClipBERT)."""
    train, val, test = (f"{split}.jsonl|*{name}*{split}*.jsonl" for split in ("train", "val", "test"))

    def read(files: Files) -> Iterator[Row]:
        for split, pattern in (("train", train), ("val", val), ("test", test)):
            if pattern in files:
                path = files[pattern]
                for entry in entries(path, json_lines_of(path), "clip_name", "caption"):
                    yield from _rows(path, entry["clip_name"], entry["caption"], split, paragraph)

    return Family("ClipBERT", (train, test), read, (val,))


def karpathy(pattern: str) -> Family:
    """`images[]` with `filename`, `split` and `sentences[].raw`; `restval` belongs to train
    (arXiv:1412.2306, as VLC and ViLT read it)."""

    def read(files: Files) -> Iterator[Row]:
        path = files[pattern]
        found = json_of(path)
        images = found.get("images") if isinstance(found, dict) else None
        for entry in entries(path, images, "filename", "split", "sentences"):
            split = "train" if entry["split"] == "restval" else entry["split"]
            if split not in ("train", "val", "test"):
                raise UserError(f"{path} has the split {split!r}; train, restval, val and test are read")
            place, folder = name_of(path, entry["filename"]), entry.get("filepath")
            place = f"{name_of(path, folder)}/{place}" if folder else place
            for sentence in entries(path, entry["sentences"], "raw"):
                yield from _rows(path, place, sentence["raw"], split, False)

    return Family("Karpathy", (pattern,), read)


def answered(prefix: str) -> Family:
    """Lists of `{image: path, question, answer}`, a file for each split (Singularity, VindLU)."""
    files = {split: f"{prefix}_{split}.json" for split in ("train", "val", "test")}

    def read(found: Files) -> Iterator[Row]:
        for split, name in files.items():
            path = found[name]
            for entry in entries(path, json_of(path), "image", "question", "answer"):
                yield question(path, name_of(path, entry["image"]), split, entry["question"], entry["answer"])

    return Family("Singularity", tuple(files.values()), read)


def moment(video: str, caption: str, split: str, start: float, end: float, length: float) -> Row:
    """A sentence about a whole video that happens from `start` to `end`, of `length`, all in seconds.

    A moment that ends after the video is cut at its end.
    """
    fault = ""
    if start < 0 or end <= start or start >= length:
        fault = f"a segment from {start:g} to {end:g} s lies outside its {length:g} s"
        return Row(video, caption, split, end=length, fault=fault)
    times = (caption, start / length, min(end, length) / length)
    return Row(video, caption, split, end=length, known={"timeline": times})


def question(path: Path, video: str, split: str, asked: Any, answer: Any) -> Row:
    """A question about a video with its answer, both in plain words; its caption joins the two.

    Answers that are numbers of a list are refused: the list would be needed.
    """
    both = (_words(path, asked, "a question"), _words(path, answer, "an answer"))
    return Row(video, " ".join(both), split, known={"questions": both})


def choice(path: Path, video: str, split: str, options: Any, right: Any) -> Row:
    """Captions of which number `right`, counted from 0, is the video's own."""
    if not isinstance(options, list) or type(right) is not int or not 0 <= right < len(options):
        raise UserError(f"{path}: {video!r} needs a list of captions and the number of the right one from 0")
    captions = [caption_of(path, one) for one in options]
    if not all(captions):
        raise UserError(f"{path}: {video!r} has an empty caption to choose from")
    return Row(video, captions[right], split, known={"choices": (captions, right)})


def _words(path: Path, value: Any, what: str) -> str:
    """Lower case without punctuation, as answers are compared."""
    found = " ".join(re.findall(r"\w+", caption_of(path, value).lower())) if isinstance(value, str) else ""
    if not found:
        raise UserError(f"{path}: {what} must be text, not {value!r:.60}")
    return found


def _rows(path: Path, media: Any, captions: Any, split: str, paragraph: bool) -> Iterator[Row]:
    """A row for each caption of each video."""
    for video in media if isinstance(media, list) else [media]:
        name = name_of(path, video)
        for caption in captions_of(path, captions, paragraph=paragraph):
            yield Row(name, caption, split)
