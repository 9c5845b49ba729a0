"""The index of a shard: samples with the positions of their files, from headers, without decoding.

A shard is a plain tar file in WebDataset's layout: files with one name and several suffixes are a sample,
such as `000000012.mp4`, `.txt` and `.json`. The index is cached in a file for each shard, with a checksum.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import tarfile
import time
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO, NamedTuple

import workbench.data.shards.locations as locations
from workbench.data.annotations.reading import one_line
from workbench.data.digests import SETTLED
from workbench.data.index import PICTURES, SPLITS, VIDEOS
from workbench.data.shards.listing import LIST, listed
from workbench.errors import UserError
from workbench.tracking.files import write_atomic

VERSION = 2
LARGEST = 1 << 20
"""Largest text or JSON file in bytes; a larger one is ignored."""
LONGEST = 20_000
"""Largest number of characters of a caption; more is an error in the file."""
EDGE = 4096
"""Number of bytes at each end of a clip's file that identify its content, together with its size."""
OWN = "workbench"
"""Key in a sample's JSON below which `write` stores properties that only this workbench uses."""


class Sample(NamedTuple):
    """One sample of a shard."""

    key: str
    problem: str
    """Why it cannot be used; empty if it can."""
    suffix: str = ""
    """Suffix of its video or image, such as `.mp4`."""
    offset: int = 0
    """Offset of that file in the shard, in bytes."""
    size: int = 0
    edges: str = ""
    """SHA-256 of its first and last `EDGE` bytes."""
    captions: tuple[str, ...] = ()
    own: Mapping[str, Any] = {}
    """`split`, `label`, `start`, `end` and `attributes`, if this workbench has written the shard."""


def samples_of(address: str, folder: Path | None) -> list[Sample]:
    """The samples of a shard in their order. Raises `UserError` for one that cannot be read safely.

    folder: cache of the index, which is used while the shard has the same size and time of change.
    """
    seen = locations.state(address)
    file = None
    if folder is not None:
        file = folder / f"{hashlib.sha256(address.encode()).hexdigest()[:32]}.json"
        if (kept := _kept(file, seen)) is not None:
            return kept
    _compare(address, seen[0])
    found = scan(address)
    settled = isinstance(seen[1], str) or time.time_ns() - seen[1] > SETTLED
    if file is not None and settled:
        rows = json.dumps([list(sample) for sample in found])
        head = {"version": VERSION, "state": seen, "sha256": hashlib.sha256(rows.encode()).hexdigest()}
        with contextlib.suppress(OSError):  # without the cache the shard is only indexed again
            file.parent.mkdir(parents=True, exist_ok=True)
            write_atomic(file, f"{json.dumps(head)}\n{rows}\n")
    return found


def _kept(file: Path, seen: list[Any]) -> list[Sample] | None:
    """The cached index of a shard in this state; None if there is none or it is damaged."""
    try:
        first, _, rest = file.read_text(encoding="utf-8").partition("\n")
        rows = rest.removesuffix("\n")
        head = {"version": VERSION, "state": seen, "sha256": hashlib.sha256(rows.encode()).hexdigest()}
        if json.loads(first) != head:
            return None
        return [Sample(*row)._replace(captions=tuple(row[6])) for row in json.loads(rows)]
    except (OSError, ValueError, TypeError):
        return None


def _compare(address: str, size: int) -> None:
    """Raises `UserError` for a shard that differs from the list beside it; shards in no list pass."""
    path = Path(address)
    if "://" in address or not (path.parent / LIST).is_file():
        return
    said = listed(path.parent).get(path.name)
    if said is None:
        return
    if size != said["bytes"] or locations.sha256(address) != said["sha256"]:
        raise UserError(f"{address} is not the shard that {path.parent / LIST} names: copy or make it again")


def scan(address: str) -> list[Sample]:
    """The samples of a shard, from its headers and texts. Raises `UserError`, see `samples_of`."""
    files: dict[str, dict[str, tuple[int, int]]] = {}
    with locations.opened(address) as stream:
        try:
            with tarfile.open(fileobj=stream, mode="r:") as tar:
                for member in tar:
                    _check(address, member)
                    path = PurePosixPath(member.name)
                    stem, _, ending = path.name.partition(".")
                    if member.isdir() or not stem or stem.startswith("__"):  # `.DS_Store`, `__meta__`
                        continue
                    key, ending = str(path.with_name(stem)), ending.lower()
                    sample = files.setdefault(key, {})
                    if ending in sample:
                        raise UserError(f"{address} has {key}.{ending} twice; each name is allowed once")
                    sample[ending] = (member.offset_data, member.size)
                end = tar.offset
        except tarfile.TarError as error:
            raise UserError(f"{address} is cut short or is not a plain tar file ({error})") from error
        stream.seek(end)
        # A tar has empty blocks after its last member; if they are missing, members may be missing too.
        if stream.read(tarfile.BLOCKSIZE) != bytes(tarfile.BLOCKSIZE):
            raise UserError(f"{address} is cut short or damaged: it has no end after its last file")
        return [_sample(stream, key, parts) for key, parts in files.items()]


def _check(address: str, member: tarfile.TarInfo) -> None:
    """Raises `UserError` for anything but a plain file with a safe name, since other tools may unpack it."""
    path = PurePosixPath(member.name)
    if path.is_absolute() or ".." in path.parts or "\\" in member.name:
        raise UserError(f"{address} has a file {member.name!r:.100}, whose name leads out of it")
    if not (member.isdir() or member.isreg()) or member.issparse():
        raise UserError(
            f"{address}: {member.name!r:.100} must be a plain file, not a link or a file of another kind"
        )


def _sample(stream: BinaryIO, key: str, files: Mapping[str, tuple[int, int]]) -> Sample:
    try:
        said = json.loads(_text(stream, files, "json") or "{}")
    except (ValueError, RecursionError):
        said = None
    own = said.get(OWN, {}) if isinstance(said, dict) else {}
    if not _known(own):
        return Sample(key, f"what its JSON says below {OWN!r} is not what this workbench writes")
    media = [
        ending
        for kind in (VIDEOS, PICTURES)
        for ending in sorted(files)
        if f".{ending.rpartition('.')[2]}" in kind
    ]
    if not media:
        return Sample(key, "it has neither a video nor an image", own=own)
    if not isinstance(said, dict):
        return Sample(key, "its JSON cannot be read")
    captions = said.get("captions")
    if not isinstance(captions, list):
        captions = [_text(stream, files, "txt") or said.get("caption")]
    captions = [one_line(one) for one in captions if isinstance(one, str)]
    captions = list(filter(None, captions))
    if not captions:
        return Sample(key, "it has no caption", own=own)
    if max(map(len, captions)) > LONGEST:
        return Sample(key, f"its caption has more than {LONGEST:,} characters", own=own)
    offset, size = files[media[0]]
    stream.seek(offset)
    ends = stream.read(min(size, EDGE))
    stream.seek(offset + max(0, size - EDGE))
    ends += stream.read(min(size, EDGE))
    suffix = f".{media[0].rpartition('.')[2]}"
    return Sample(key, "", suffix, offset, size, hashlib.sha256(ends).hexdigest(), tuple(captions), own)


def _text(stream: BinaryIO, files: Mapping[str, tuple[int, int]], ending: str) -> str:
    offset, size = files.get(ending, (0, 0))
    if not 0 < size <= LARGEST:
        return ""
    stream.seek(offset)
    return stream.read(size).decode("utf-8-sig", errors="replace")


def _known(own: Any) -> bool:
    kinds = {"split": str, "label": str, "start": int | float, "end": int | float, "attributes": dict}
    return (
        isinstance(own, dict)
        and all(isinstance(own[name], kinds.get(name, object)) for name in own)
        and own.get("split", "train") in SPLITS
    )
