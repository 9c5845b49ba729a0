"""Tar files in WebDataset's layout, `--data shards:PATTERN`; training clips are decoded during training.

PATTERN is a shard, a folder of them, a glob, or an address that fsspec knows. `workbench.data shard` makes
shards; those of video2dataset and img2dataset are read too. Clips of val and test are decoded once, as those
of every other data set; those of train never are beforehand.
"""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from tqdm import tqdm

from workbench.data.digests import Digests
from workbench.data.index import Clip, Index, Member
from workbench.data.shards import locations
from workbench.data.shards.listing import origin_of
from workbench.data.shards.scan import Sample, samples_of
from workbench.errors import UserError

if TYPE_CHECKING:
    from workbench.config import DataConfig

SOURCE = "WebDataset shards"
FOLDER = "shards"
"""Folder below the root of prepared data, with the index of each shard."""
HELD_OUT = 1000
"""Largest number of clips that are moved from train to each of val and test if the shards have none."""


def index(data: DataConfig, source: str | None, digests: Digests) -> Index:
    """The index, read from headers and texts of the shards, or from the cache.

    The digest covers names, captions, splits, and the size and the first and last 4 KiB of each clip's file.
    """
    assert source is not None, "SOURCE says so"
    addresses = locations.expand(source)
    kept = digests.folder / FOLDER if digests.folder is not None else None
    origin, held_out = origin_of(addresses)
    found: list[tuple[str, str, Sample]] = []
    names = list(_names(addresses))
    progress = tqdm(addresses, desc="indexing shards", unit="shard", disable=not sys.stderr.isatty())
    for name, address in zip(names, progress, strict=True):
        found += [(address, f"{name}/{sample.key}", sample) for sample in samples_of(address, kept)]
    bad = [f"{name} ({sample.problem})" for _, name, sample in found if sample.problem]
    lost = [
        f"{name} ({sample.problem})"
        for address, name, sample in found
        if sample.problem and (address in held_out or sample.own.get("split", "train") != "train")
    ]
    if lost:  # without them the evaluation would be another benchmark
        raise UserError(
            f"{len(lost)} samples of val or test cannot be used: {'; '.join(lost[:5])}; make the shards again"
        )
    good = [one for one in found if not one[2].problem]
    if not good:
        raise UserError(f"no sample of {source} can be used; the first is {(bad or ['missing'])[0]}")
    splits, notes = _split([(name, sample.own.get("split", "")) for _, name, sample in good])
    if bad:
        notes = (f"{len(bad)} of {len(found)} samples are left out, such as {bad[0]}", *notes)
    clips = tuple(
        Clip(
            id=name,
            path=f"{name}{sample.suffix}",
            split=split,
            captions=sample.captions,
            label=sample.own.get("label", ""),
            attributes=sample.own.get("attributes", {}),
            start=sample.own.get("start", 0.0),
            end=sample.own.get("end", 0.0),
            member=Member(address, sample.offset, sample.size),
        )
        for (address, name, sample), split in zip(good, splits, strict=True)
    )
    sha = hashlib.sha256(b"shared" if origin.shared else b"")
    for clip, (_, _, sample) in zip(clips, good, strict=True):
        told = [clip.id, clip.split, clip.captions, clip.label, clip.start, clip.end]
        sha.update(json.dumps([*told, sample.size, sample.edges]).encode())
    return Index(
        digest=sha.hexdigest(),
        clips=clips,
        notes=(*origin.notes, *notes),
        shared=origin.shared,
        shards=tuple((address, tuple(locations.state(address))) for address in addresses),
    )


def videos(index: Index, source: str | None, cache: Path, progress: bool) -> Path:
    """Nothing is unpacked, because clips contain their positions in shards."""
    return cache


def members_of(addresses: Sequence[str], root: Path | None) -> dict[str, Member]:
    """Id of each clip of these shards -> position of its file. Raises `UserError` for missing shards.

    root: root of prepared data, which contains the cached index of each shard.
    """
    kept = root / FOLDER if root is not None else None
    return {
        f"{name}/{sample.key}": Member(address, sample.offset, sample.size)
        for name, address in zip(_names(addresses), addresses, strict=True)
        for sample in samples_of(address, kept)
    }


def tasks(source: str) -> tuple[str, ...]:
    """Additional tasks of the data set that was written as shards."""
    return origin_of(locations.expand(source))[0].tasks


def _names(addresses: Sequence[str]) -> Iterator[str]:
    """Prefix of the names of each shard's samples: its name, with its folder if two have the same name."""
    stems = [PurePosixPath(address).stem for address in addresses]
    folders = [PurePosixPath(address).parent.name for address in addresses]
    if len(set(stems)) == len(stems):
        yield from stems
    elif len(set(zip(folders, stems, strict=True))) == len(stems):
        yield from (f"{folder}/{stem}" for folder, stem in zip(folders, stems, strict=True))
    else:
        twice = next(stem for stem in stems if stems.count(stem) > 1)
        raise UserError(f"several shards are called {twice}.tar, in folders of one name; rename one of them")


def _split(clips: Sequence[tuple[str, str]]) -> tuple[list[str], tuple[str, ...]]:
    """The split of each clip, given its name and known split, and the decisions made for the user."""
    known = [split for _, split in clips]
    if any(known) and not all(known):
        raise UserError(
            f"{known.count('')} of {len(known)} samples have no split; shards that `workbench.data shard` "
            "made do not go together with others"
        )
    splits = [split or "train" for split in known]
    train = [number for number, split in enumerate(splits) if split == "train"]
    missing = [split for split in ("test", "val") if split not in splits]
    if len(train) < 2 + len(missing):
        raise UserError(
            f"{len(train)} clips are too few to train on and to take {' and '.join(missing)} from"
        )
    if not missing:
        return splits, ()
    share = min(HELD_OUT, max(1, len(train) // 10))
    ranked = sorted(train, key=lambda number: hashlib.sha256(clips[number][0].encode()).hexdigest())
    for place, split in enumerate(missing):
        for number in ranked[place * share : (place + 1) * share]:
            splits[number] = split
    note = f"no {' and no '.join(missing)} given: {share} clips of train each, by a hash of their names"
    return splits, (note,)
