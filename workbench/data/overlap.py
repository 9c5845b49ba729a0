"""Clips of a data set whose videos are training clips of another one. Nothing is decoded.

Protocols of the same benchmark use the same names of videos. All other data are compared by their files, also
inside shards: files of equal size by their digests.
"""

from __future__ import annotations

import hashlib
import re
from collections import defaultdict
from collections.abc import Sequence
from functools import cache
from pathlib import Path, PurePosixPath
from typing import NamedTuple

import numpy as np

from workbench import data as datasets
from workbench.data import shards
from workbench.data.annotations.tree import without_suffix
from workbench.data.digests import Digests, edges
from workbench.data.index import Member
from workbench.data.shards import locations
from workbench.data.store import FrameStore
from workbench.errors import UserError

SEGMENT = re.compile(r"@[-+.e\d]+$")
"""End of the name of a clip that is a part of a video."""
Place = Path | Member | None
"""The file of a clip; None if it is not known."""


class Overlap(NamedTuple):
    """Overlap of a data set with the training clips of another."""

    clips: np.ndarray
    """bool [N], whether each clip of the first one is a training clip of the other, by its name or file."""
    known: bool
    """Whether all could be compared."""


def benchmark_of(name: str) -> str:
    """The data set whose videos a data set has: `msrvtt` of `msrvtt-full` and of `msrvtt_qa`."""
    base = name.partition("-")[0]
    return min(
        (one for one in datasets.names() if base == one or base.startswith(f"{one}_")), key=len, default=base
    )


def overlap(store: FrameStore, training: FrameStore, digests: Digests) -> Overlap:
    """Compares all clips of a data set with the training clips of another."""
    rows = np.unique(training.splits["train"].clips)
    alike = benchmark_of(store.name) == benchmark_of(training.name)
    names = _names(training, alike)
    theirs = {names[row] for row in rows} - {""}
    found = np.array([name in theirs for name in _names(store, alike)], bool)
    places = _places(training, digests)
    same, known = _same_files(_places(store, digests), [places[row] for row in rows], digests)
    own = benchmark_of(store.name) in ("folder", "shards")
    return Overlap(found | same, known or (alike and not own))


def _names(store: FrameStore, alike: bool) -> list[str]:
    """The name of each clip's video; empty if the name does not identify it.

    alike: whether names are compared within one benchmark, in which numbers are names as well.
    """
    kind = benchmark_of(store.name)
    if kind == "shards":  # they are numbered
        return [""] * len(store.clip_ids)
    ids = [SEGMENT.sub("", name) for name in store.clip_ids]
    names = ids if kind == "folder" else [without_suffix(PurePosixPath(name).name) for name in ids]
    return [name if alike or not name.isdecimal() else "" for name in names]


def _places(store: FrameStore, digests: Digests) -> list[Place]:
    if store.streamed is None:
        return list(store.files)
    try:
        members = shards.members_of(store.streamed.addresses, digests.folder)
    except UserError:  # the shards are gone
        members = {}
    return [members.get(name) for name in store.clip_ids]


def _same_files(
    places: Sequence[Place], others: Sequence[Place], digests: Digests
) -> tuple[np.ndarray, bool]:
    """For each place whether its file is among the others, and whether all files are known."""
    by_size = defaultdict(list)
    for other in dict.fromkeys(others):
        by_size[_size(other, digests)].append(other)

    @cache
    def content(place: Place) -> str:
        return _content(place, digests)

    @cache
    def contents(size: int) -> set[str]:
        return {content(other) for other in by_size[size]}

    sizes = [_size(place, digests) for place in places]
    found, complete = np.zeros(len(places), bool), True
    for row, (place, size) in enumerate(zip(places, sizes, strict=True)):
        if size >= 0 and size in by_size:
            mine = content(place)
            found[row] = bool(mine) and mine in contents(size)
            complete &= bool(mine) and "" not in contents(size)
    return found, complete and -1 not in sizes and -1 not in by_size


def _size(place: Place, digests: Digests) -> int:
    """Size of a file in bytes; -1 if it is not known."""
    if isinstance(place, Member):
        return place.size
    return digests.size(place) if place is not None else -1


def _content(place: Place, digests: Digests) -> str:
    """Digest of a file, in a shard or not; empty if it cannot be read."""
    if isinstance(place, Path):
        return digests.known(place)
    try:
        return hashlib.sha256(edges(locations.read(*place))).hexdigest() if place is not None else ""
    except UserError:
        return ""
