"""`python -m workbench.data shard SOURCE --into DIR`: a data set as tar files in WebDataset's layout.

```
train-000000.tar   00000000.mp4  00000000.txt  00000000.json  00000001.mp4 ...
val-000000.tar, test-000000.tar
shards.json        of each shard its samples, bytes and SHA-256; of what data they are, and how measured
```

The files of the clips are copied unchanged. A shard depends only on the data, bit for bit, and is written
under a temporary name and renamed; an interrupted call continues after the last complete shard.
"""

from __future__ import annotations

import io
import json
import sys
import tarfile
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

from tqdm import tqdm

from workbench import data as datasets
from workbench.config import DataConfig
from workbench.data.index import PICTURES, SPLITS, VIDEOS, Clip
from workbench.data.shards import locations
from workbench.data.shards.listing import LIST, Origin, listed
from workbench.data.shards.scan import OWN
from workbench.errors import UserError
from workbench.tracking.files import check_folder, replacing, write_atomic

VERSION = 1


class Made(NamedTuple):
    """The result of a call."""

    shards: int
    samples: int
    """Number of samples; `shards` and `samples` are those of the whole folder."""
    found: int
    """Number of complete shards that already existed."""
    missing: list[str]
    """Clips whose file cannot be read, with the reason; they are in no shard."""


def shard(place: str, into: Path, *, clips: int = 1000, progress: bool = True) -> Made:
    """Writes the shards of a data set. Raises `UserError` if the folder contains those of other data.

    Args: place: a folder with captions.csv, or a data set as for studies, `NAME` or `NAME:PATH`. clips:
        number of clips of a shard; the last one of a split has fewer.
    """
    if clips < 1:
        raise UserError(f"--clips must be the number of clips in a shard, 1 or more, not {clips}")
    check_folder(into, "--into")
    name, source = datasets.place_of(place)
    index = datasets.read_index(DataConfig(name=name), source)
    into.mkdir(parents=True, exist_ok=True)
    head = {"version": VERSION, "digest": index.digest, "clips": clips}
    known = _known(into, head)
    origin = Origin(name, index.shared, datasets.more_tasks(name, source), index.notes)
    head |= {"of": origin._asdict()}
    found, missing = 0, []
    parts = dict(_parts(index.clips, clips))
    with TemporaryDirectory() as cache:
        module, videos = datasets.load(name), None
        for file, part in tqdm(parts.items(), desc="writing shards", unit="shard", disable=not progress):
            if _whole(into / file, known.get(file)):
                found += 1
                continue
            if videos is None:  # synthetic clips are drawn when the first shard needs them
                videos = module.videos(index, source, Path(cache), progress)
            with replacing(into / file) as temporary:
                missing += _write(temporary, part, videos, ".jpg" if index.pictures else ".mp4")
            sha256 = locations.sha256(str(into / file))
            gone = {number for number, _ in part} & {number for number, _ in missing}
            size = (into / file).stat().st_size
            known[file] = {"samples": len(part) - len(gone), "bytes": size, "sha256": sha256}
            _list(into, head, known)
    _list(into, head, known)  # a list of an earlier version does not contain the origin
    samples = sum(known[file]["samples"] for file in parts)
    return Made(len(parts), samples, found, [reason for _, reason in missing])


def _list(into: Path, head: dict[str, Any], known: dict[str, dict[str, Any]]) -> None:
    text = json.dumps(head | {"shards": known}, indent=1) + "\n"
    if not (into / LIST).exists() or (into / LIST).read_text(encoding="utf-8") != text:
        write_atomic(into / LIST, text)


def _known(into: Path, head: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Shards that an earlier call has listed. Raises `UserError` for a folder with other content."""
    if not (into / LIST).exists():
        if others := sorted(path.name for path in into.glob("*.tar")):
            raise UserError(f"{into} holds other shards, such as {others[0]}; give a folder of its own")
        return {}
    known = listed(into)
    before = json.loads((into / LIST).read_text(encoding="utf-8"))
    if {name: before.get(name) for name in head} != head:
        raise UserError(
            f"{into} holds shards of other data, or of another number of clips; give a folder of its own"
        )
    return known


def _whole(path: Path, said: dict[str, Any] | None) -> bool:
    """Whether a shard exists as listed."""
    if said is None or not path.is_file() or path.stat().st_size != said["bytes"]:
        return False
    return bool(locations.sha256(str(path)) == said["sha256"])


def _parts(clips: Sequence[Clip], size: int) -> Iterator[tuple[str, list[tuple[int, Clip]]]]:
    """Name of each shard with its clips, numbered over the whole data set."""
    for split in SPLITS:
        own = [(number, clip) for number, clip in enumerate(clips) if clip.split == split]
        for number, start in enumerate(range(0, len(own), size)):
            yield f"{split}-{number:06d}.tar", own[start : start + size]


def _write(path: Path, clips: Sequence[tuple[int, Clip]], videos: Path, usual: str) -> list[tuple[int, str]]:
    """Writes one shard; returns the clips whose file cannot be read: number, and name with the reason.

    usual: suffix for files without a useful one, such as `x.null` or CC3M's images, because readers of shards
        recognise media by it.
    """
    missing = []
    with tarfile.open(path, "w") as tar:
        for number, clip in clips:
            try:
                content = _content(clip, videos)
            except (OSError, UserError) as error:
                why = error.strerror if isinstance(error, OSError) else str(error)
                missing.append((number, f"{clip.path}: {why}"))
                print(f"left out: {clip.path}: {why}", file=sys.stderr)
                continue
            suffix = PurePosixPath(clip.path).suffix.lower()
            suffix = suffix if suffix in VIDEOS | PICTURES else usual
            own: dict[str, Any] = {
                "split": clip.split,
                "label": clip.label,
                "attributes": dict(clip.attributes),
            }
            own |= {"start": clip.start, "end": clip.end}
            own = {name: value for name, value in own.items() if value}
            said = {"id": clip.id, "captions": clip.captions, OWN: own}
            _add(tar, f"{number:08d}{suffix}", content)
            _add(tar, f"{number:08d}.txt", clip.captions[0].encode())
            _add(tar, f"{number:08d}.json", json.dumps(said, ensure_ascii=False).encode())
    return missing


def _content(clip: Clip, videos: Path) -> bytes:
    return locations.read(*clip.member) if clip.member is not None else (videos / clip.path).read_bytes()


def _add(tar: tarfile.TarFile, name: str, content: bytes) -> None:
    member = tarfile.TarInfo(name)  # without time and owner, so that the same data give the same shard
    member.size = len(content)
    tar.addfile(member, io.BytesIO(content))
