"""The frame store: every clip decoded once, in one memory-mapped file that all runs share.

It needs only numpy and json, so that machines without decoders can train.

```
frames-8x64/
  frames.npy    uint8 [N, T, H, W, 3]
  store.json    clips, captions, splits, attributes, video files, decoder, what was left out and why
```

Training clips in shards are not among these frames; `store.json` contains their positions.

A store is written into a temporary folder and renamed as a whole: if `store.json` exists, it is complete.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from workbench.data.augment.crop import scaled
from workbench.data.index import SPLITS, known_of_all
from workbench.data.sampling import centre_frames
from workbench.data.shards.streamed import StreamedFrames, check_shards
from workbench.errors import UserError

if TYPE_CHECKING:
    from workbench.config import DataConfig

VERSION = 1


@dataclass(frozen=True)
class Split:
    """Captions of one split; clip `clips[m]` of the store belongs to caption m."""

    clips: np.ndarray
    """int64 [M], index into `FrameStore.frames`."""
    captions: list[str]
    ids: list[str]
    """Caption ids: clip id, `#`, number."""
    groups: list[str]
    """Clip id of each caption."""

    def __len__(self) -> int:
        return len(self.captions)


@dataclass
class FrameStore:
    """A decoded data set, opened for reading."""

    name: str
    digest: str
    decoder: str
    path: Path
    frames: np.memmap
    """uint8 [N, T, H, W, 3]; an object with this interface if clips are streamed from shards."""
    clip_ids: list[str]
    splits: dict[str, Split]
    attributes: dict[str, list[Any]]
    """One list of N values per attribute; empty if the data have no attributes."""
    skipped: list[dict[str, str]]
    """Videos left out: `video`, `reason`, `split`."""
    repeated_frames: int
    """Number of stored frames that equal the previous frame, in clips with enough frames."""
    frames_sha256: str
    """SHA-256 of the decoded pixels; differs between decoder builds, unlike `digest`."""
    notes: list[str]
    """Decisions made for the user, such as how clips were split."""
    files: list[Path | None]
    """The video file of each clip; None in a store that does not name them. They may no longer exist."""
    label_names: list[str]
    """Classes by their number: empty for 0, then all labels of the data set in order."""
    labels: np.ndarray
    """int64 [N], index into `label_names`; 0 for clips without a label, as in stores of earlier versions."""
    shared: bool = False
    """Whether equal captions of a split are one query of an evaluation, with several right clips."""

    @property
    def known(self) -> frozenset[str]:
        """Ground truth that every clip has, see `Index.known`."""
        return known_of_all(self.attributes, labelled=bool(self.labels.any()))

    @property
    def streamed(self) -> StreamedFrames | None:
        """The frames, if clips are streamed from shards; else None."""
        frames: Any = self.frames
        return frames if isinstance(frames, StreamedFrames) else None

    def centred(self, clips: np.ndarray, count: int, size: int = 0) -> np.ndarray:
        """The frames of some clips at the centres of `count` equal intervals, uint8 [B, count, H, W, 3].

        size: side in pixels to which frames are scaled; 0 leaves them unchanged.
        """
        found = np.asarray(self.frames[clips[:, None], centre_frames(self.frames.shape[1], count)])
        return scaled(found, size) if size else found

    @classmethod
    def open(cls, path: Path | str) -> FrameStore:
        """Opens a store. Raises UserError if it is missing, incomplete or of another version."""
        path = Path(path)
        record = _read_record(path)
        frames, clips = _frames(path, record), record["clips"]
        if record.get("shards"):
            frames = cast(np.memmap, StreamedFrames(frames, clips, record["shards"]))
        label_names, labels = _labels(path, clips)
        return cls(
            name=record["name"],
            digest=record["digest"],
            decoder=record["decoder"],
            path=path,
            frames=frames,
            clip_ids=[clip["id"] for clip in clips],
            splits=_splits(clips),
            attributes={
                name: [clip["attributes"].get(name) for clip in clips]
                for name in sorted({name for clip in clips for name in clip["attributes"]})
            },
            skipped=record["skipped"],
            repeated_frames=record["repeated_frames"],
            frames_sha256=record["frames_sha256"],
            notes=record["notes"],
            files=_files(path, record),
            label_names=label_names,
            labels=labels,
            shared=bool(record.get("shared_captions")),
        )


def store_path(data: DataConfig, root: Path) -> Path:
    """Path of the frame store of described data."""
    return root / f"{data.name}-{data.digest[:12]}" / f"frames-{data.kept_frames}x{data.kept_size}"


def is_ready(path: Path) -> bool:
    """Whether a complete store of this version is at `path` (reads the index and checks file sizes).

    False if files of shards that it streams from are gone or changed.
    """
    try:
        record = _read_record(path)
        _frames(path, record)
        check_shards(record.get("shards", []))
    except UserError:
        return False
    return True


def write_record(path: Path, record: Mapping[str, Any]) -> None:
    """Writes and syncs `store.json`, the last file of a store that is being built."""
    with open(path / "store.json", "w", encoding="utf-8") as stream:
        stream.write(json.dumps({"version": VERSION, **record}))
        stream.flush()
        os.fsync(stream.fileno())


def _read_record(path: Path) -> dict[str, Any]:
    try:
        record = json.loads((path / "store.json").read_text(encoding="utf-8"))
    except OSError:
        raise UserError(f"no frame store at {path}: prepare the data set first") from None
    except (ValueError, RecursionError):
        record = None
    if not isinstance(record, dict):
        raise UserError(f"the frame store {path} is damaged; delete it and it is made again")
    if record.get("version") != VERSION:
        raise UserError(
            f"the frame store {path} has version {record.get('version')}, this workbench reads "
            f"{VERSION}; delete it and it is made again"
        )
    clips = record.get("clips")
    if not isinstance(clips, list) or not all(isinstance(clip, dict) for clip in clips):
        raise UserError(f"the frame store {path} is damaged; delete it and it is made again")
    return record


def _frames(path: Path, record: Mapping[str, Any]) -> np.memmap:
    """The mapped frames. Raises `UserError` for a truncated file, for example after an interrupted copy."""
    try:
        frames = np.lib.format.open_memmap(path / "frames.npy", mode="r")  # does not unpickle objects
    except (OSError, ValueError) as error:
        raise UserError(
            f"the frame store {path} is damaged ({error}); delete it and it is made again"
        ) from None
    stored = sum("member" not in clip for clip in record["clips"])
    if frames.dtype != np.uint8 or frames.ndim != 5 or len(frames) != stored:
        raise UserError(f"the frame store {path} does not match its index; delete it")
    return frames


def _files(path: Path, record: Mapping[str, Any]) -> list[Path | None]:
    """Paths, only below the recorded folder, because a store may come from somebody else."""
    folder = Path(path, record.get("videos", ""))
    names = [PurePosixPath(clip.get("path", "")) for clip in record["clips"]]
    inside = [bool(name.parts) and not name.is_absolute() and ".." not in name.parts for name in names]
    return [folder / name if good else None for name, good in zip(names, inside, strict=True)]


def _labels(path: Path, clips: list[dict[str, Any]]) -> tuple[list[str], np.ndarray]:
    found = [clip.get("label", "") for clip in clips]
    if not all(isinstance(label, str) for label in found):
        raise UserError(f"the frame store {path} is damaged; delete it and it is made again")
    names = ["", *sorted({label for label in found if label})]
    number = {name: i for i, name in enumerate(names)}
    return names, np.array([number[label] for label in found], np.int64)


def _splits(clips: list[dict[str, Any]]) -> dict[str, Split]:
    splits = {}
    for name in SPLITS:
        rows = [
            (position, caption, f"{clip['id']}#{number}", clip["id"])
            for position, clip in enumerate(clips)
            if clip["split"] == name
            for number, caption in enumerate(clip["captions"])
        ]
        splits[name] = Split(
            clips=np.array([row[0] for row in rows], dtype=np.int64),
            captions=[row[1] for row in rows],
            ids=[row[2] for row in rows],
            groups=[row[3] for row in rows],
        )
    return splits
