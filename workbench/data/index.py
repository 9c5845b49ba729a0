"""The index of a data set before decoding: clips with captions, splits and attributes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

from workbench.errors import UserError

PICTURES = frozenset(".jpg .jpeg .png .webp".split())
"""Suffixes of image files."""
VIDEOS = frozenset(
    ".mp4 .m4v .mkv .webm .avi .mov .qt .ts .mts .m2ts .flv .f4v .mpg .mpeg .mpe .vob .wmv .asf .3gp .3gpp "
    ".3g2 .ogv .divx .gif".split()
)
"""Suffixes of video files."""
SPLITS = ("train", "val", "test")


def absent(path: Path) -> str:
    """Why a path cannot be the file of a clip, without reading its content; empty if it may be."""
    try:
        if not path.is_file():
            return "there is no such file"
        return "" if path.stat().st_size else "the file is empty"
    except OSError as error:
        return f"it cannot be read ({error.strerror})"


def check_folder_there(path: Path) -> None:
    """Raises `UserError` if there is no such folder; archives must be unpacked by the user."""
    if path.is_file():
        raise UserError(f"{path} is a file; unpack it, and give the folder")
    if not path.is_dir():
        raise UserError(f"there is no folder {path}")


class Member(NamedTuple):
    """The position of a clip's file in a shard."""

    shard: str
    """Path of the shard, or an address for fsspec."""
    offset: int
    size: int
    """Size of the file; `offset` and `size` are in bytes."""


@dataclass(frozen=True, kw_only=True)
class Clip:
    """One clip: its video file, its captions and its ground truth."""

    id: str
    path: str
    """Path relative to the folder of the videos."""
    split: str
    """`train`, `val` or `test`."""
    captions: tuple[str, ...]
    label: str = ""
    """Its class, if the data set has classes."""
    attributes: Mapping[str, Any] = field(default_factory=dict)
    scene: Mapping[str, Any] = field(default_factory=dict)
    """Parameters for drawing the clip, for synthetic data."""
    start: float = 0.0
    """Seconds of the file at which the clip begins."""
    end: float = 0.0
    """Seconds of the file at which it ends; 0 stands for the end of the file."""
    member: Member | None = None
    """Its position in a shard; None for a separate file."""

    @property
    def streamed(self) -> bool:
        """Whether it is decoded during training, not in advance."""
        return self.member is not None and self.split == "train"

    def task(self, videos: Path) -> dict[str, Any]:
        """The task for `shards.members.decode_task`; `videos`: the folder of the files."""
        segment = {"start": self.start, "end": self.end}
        if self.member is not None:
            return segment | {"member": list(self.member)}
        return segment | {"path": str(videos / self.path)}


@dataclass(frozen=True, kw_only=True)
class Count:
    """A count beside its published value."""

    what: str
    """Name of the count, such as `test clips`."""
    found: int
    published: int | None
    """The published value; None if none could be read."""
    source: str = ""
    """Source of the published value."""

    @property
    def differs(self) -> bool:
        return self.published not in (None, self.found)


@dataclass(frozen=True, kw_only=True)
class Survey:
    """Findings about a benchmark before decoding."""

    taken: str
    """The family of annotation files that was read, with their names."""
    counts: tuple[Count, ...]
    """Counts in the files, before val was taken out of train."""
    invalid_times: tuple[str, ...]
    """Invalid segments in words; their clips are left out."""
    doubles: tuple[tuple[str, ...], ...]
    """Files of the same video; the first one is used."""


@dataclass(frozen=True, kw_only=True)
class Index:
    """A whole data set. `digest` identifies its content, on any machine."""

    digest: str
    clips: tuple[Clip, ...]
    notes: tuple[str, ...] = ()
    """Decisions made for the user, such as how clips were split."""
    shared: bool = False
    """Equal captions of a split are one query, of which several clips are right answers."""
    survey: Survey | None = None
    """Findings about a benchmark; None for other data."""
    unusable: str = ""
    """Why no study can use it, in a sentence; `check` can still report on it."""
    shards: tuple[tuple[str, tuple[Any, ...]], ...] = ()
    """Shards of the clips, each with its state, see `shards.locations.state`."""

    @property
    def pictures(self) -> bool:
        """Whether all clips are images, by their suffixes; files of a benchmark without suffix, as in CC3M,
        count as images."""
        suffixes = {PurePosixPath(clip.path).suffix.lower() for clip in self.clips}
        return bool(suffixes) and suffixes <= (PICTURES if self.survey is None else PICTURES | {""})

    @property
    def known(self) -> frozenset[str]:
        """Names of the attributes that every clip has, and `label` if clips have classes."""
        names = {name for clip in self.clips for name in clip.attributes}
        attributes = {name: [clip.attributes.get(name) for clip in self.clips] for name in names}
        return known_of_all(attributes, labelled=any(clip.label for clip in self.clips))


def known_of_all(attributes: Mapping[str, Sequence[Any]], *, labelled: bool) -> frozenset[str]:
    """Names of the attributes that no clip lacks, and `label` if clips have classes.

    attributes: name -> a value for each clip, None if it is not known.
    """
    names = {name for name, values in attributes.items() if None not in values}
    return frozenset(names | {"label"} if labelled else names)
