"""Clips of which annotation files are written, see `benchmark_files`."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import NamedTuple


class Item(NamedTuple):
    """One video or picture."""

    name: str
    split: str
    captions: tuple[str, ...]


Text = dict[str, str]
"""File name -> content."""


def items(prefix: str = "video", captions: int = 2, val: int = 2, suffix: str = "") -> list[Item]:
    """Six clips of train, `val` of val, two of test; each sentence names its clip."""
    splits = ["train"] * 6 + ["val"] * val + ["test"] * 2
    return [
        Item(
            f"{prefix}{i}{suffix}",
            split,
            tuple(f"clip {i} does thing {k}" for k in range(captions if split == "train" else 1)),
        )
        for i, split in enumerate(splits)
    ]


def of_split(clips: Iterable[Item], split: str) -> list[Item]:
    return [clip for clip in clips if clip.split == split]


def lists(clips: list[Item], names: Mapping[str, str]) -> Text:
    return {
        name: "".join(f"{clip.name}\n" for clip in of_split(clips, split)) for split, name in names.items()
    }


def pairs(clips: Iterable[Item]) -> list[tuple[str, str]]:
    return [(clip.name, caption) for clip in clips for caption in clip.captions]


def singularity(clips: list[Item], train: str, test: str, val: str = "") -> Text:
    names = {"train": train, "test": test} | ({"val": val} if val else {})
    return {
        name: json.dumps([{"image": c.name, "caption": list(c.captions)} for c in of_split(clips, split)])
        for split, name in names.items()
    }
