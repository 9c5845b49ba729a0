"""The clips of a run: frames as the model saw them, captions, attributes, and the files that play."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from workbench.config import DataConfig
from workbench.data.augment.crop import scaled
from workbench.data.store import FrameStore, store_path
from workbench.errors import UserError
from workbench.tracking.files import check_name
from workbench.tracking.run_dir import RunDir

PLAYABLE = {
    ".mp4": "video/mp4",
    ".m4v": "video/mp4",
    ".mov": "video/mp4",
    ".webm": "video/webm",
    ".ogv": "video/ogg",
}
"""Suffixes of files that browsers play, with their media types."""
LARGEST = 64 << 20
"""Largest file in bytes that is sent to a browser as a whole."""


@dataclass(frozen=True)
class Clips:
    """A prepared data set, clip by clip."""

    store: FrameStore
    size: int = 0
    """Side of the frames that the run's model reads, in pixels; 0 for the stored size."""

    def frames(self, clip: str, numbers: Sequence[int]) -> np.ndarray:
        """Some of the stored frames of a clip as the model sees them, uint8 [T, size, size, 3]."""
        found = np.asarray(self.store.frames[self.rows[clip]][list(numbers)])
        return scaled(found[None], self.size or found.shape[1])[0]

    @cached_property
    def rows(self) -> Mapping[str, int]:
        """Clip id -> its row in the frame store."""
        return {name: row for row, name in enumerate(self.store.clip_ids)}

    @cached_property
    def captions(self) -> Mapping[str, str]:
        """Caption id (clip id, `#`, number) -> caption, of all splits."""
        parts = self.store.splits.values()
        return {i: text for part in parts for i, text in zip(part.ids, part.captions, strict=True)}

    @property
    def named(self) -> bool:
        """Whether the store names the files of its clips; those of earlier versions do not."""
        return any(path is not None for path in self.store.files)

    def attributes(self, clip: str) -> dict[str, Any]:
        """Attributes of a clip; empty for most data sets."""
        row = self.rows.get(clip)
        return {} if row is None else {name: v[row] for name, v in self.store.attributes.items()}

    def file(self, clip: str) -> Path:
        """The video file of a clip, checked to be one that a browser plays; `UserError` says why not."""
        row = self.rows.get(clip)
        if row is None:
            raise UserError(f"{clip} is not in the prepared data")
        path = self.store.files[row]
        if path is None:
            raise UserError("the prepared data do not say where their videos are; prepare them anew")
        if path.suffix.lower() not in PLAYABLE:
            raise UserError(f"browsers do not play {path.suffix or 'such'} files")
        try:
            size = path.stat().st_size
        except OSError as error:
            raise UserError(f"there is no file {path.name} any more") from error
        if size > LARGEST:
            raise UserError(f"{path.name} has {size >> 20} MiB, too many to show here")
        return path


def frames_path(run: RunDir, root: Path) -> Path:
    """Path of the frame store of a run's data below `root`, whether or not it exists."""
    return store_path(_data(run), root)


def _data(run: RunDir) -> DataConfig:
    config = run.flat_config()
    try:
        return DataConfig(
            name=check_name(str(config["data.name"]), "data set"),
            digest=check_name(str(config["data.digest"]), "digest of a data set"),
            frames=config["data.frames"],
            size=config["data.size"],
            stored=config.get("data.stored", 0),
            stored_size=config.get("data.stored_size", 0),
        )
    except KeyError as error:
        raise UserError(f"{run.path.name} does not say which data it was trained on") from error


def weights(run: RunDir) -> int:
    """When a run's weights were written, 0 without any: what depends on them is kept under this."""
    try:
        return run.file("checkpoints/model.safetensors").stat().st_mtime_ns
    except OSError:
        return 0


def open_clips(run: RunDir, root: Path) -> Clips:
    """The clips that a run was trained and tested on; `UserError` where they are not below `root`."""
    path = frames_path(run, root)
    if not path.is_dir():
        raise UserError(f"the clips of this study are not on this machine: there is no {path}")
    return Clips(FrameStore.open(path), _data(run).size)
