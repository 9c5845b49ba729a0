"""What a data set is before it is decoded: a list of clips with captions, splits and attributes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

from workbench.errors import UserError

PICTURES = frozenset(".jpg .jpeg .png .webp".split())
"""Suffixes of files that show one picture."""
VIDEOS = frozenset(
    ".mp4 .m4v .mkv .webm .avi .mov .qt .ts .mts .m2ts .flv .f4v .mpg .mpeg .mpe .vob .wmv .asf .3gp .3gpp "
    ".3g2 .ogv .divx .gif".split()
)
"""Suffixes of videos."""
SPLITS = ("train", "val", "test")


def absent(path: Path) -> str:
    """Why a path cannot be the file of a clip, without a look at its content; empty where it may be."""
    try:
        if not path.is_file():
            return "there is no such file"
        return "" if path.stat().st_size else "the file is empty"
    except OSError as error:
        return f"it cannot be read ({error.strerror})"


def check_folder_there(path: Path) -> None:
    """Raises `UserError` where there is no such folder; an archive is to be unpacked by whoever has it."""
    if path.is_file():
        raise UserError(f"{path} is a file; unpack it, and give the folder")
    if not path.is_dir():
        raise UserError(f"there is no folder {path}")


class Member(NamedTuple):
    """Where the file of a clip lies in a shard."""

    shard: str
    """Its path, or an address that fsspec knows."""
    offset: int
    size: int
    """Both in bytes."""


@dataclass(frozen=True, kw_only=True)
class Clip:
    """One video file, its captions and what is known about it."""

    id: str
    path: str
    """Relative to the folder of the videos."""
    split: str
    """`train`, `val` or `test`."""
    captions: tuple[str, ...]
    label: str = ""
    """Its class, where the data set has classes."""
    attributes: Mapping[str, Any] = field(default_factory=dict)
    scene: Mapping[str, Any] = field(default_factory=dict)
    """How to draw the clip, for generated data."""
    start: float = 0.0
    """Seconds of the file at which the clip begins."""
    end: float = 0.0
    """Seconds of the file at which it ends; 0 stands for the end of the file."""
    member: Member | None = None
    """Where it lies in a shard; None for a file of its own."""

    @property
    def streamed(self) -> bool:
        """Whether it is decoded when a step asks for it, and not beforehand."""
        return self.member is not None and self.split == "train"

    def task(self, videos: Path) -> dict[str, Any]:
        """What `shards.members.decode_task` has to know to find it; `videos`: the folder of the files."""
        segment = {"start": self.start, "end": self.end}
        if self.member is not None:
            return segment | {"member": list(self.member)}
        return segment | {"path": str(videos / self.path)}


@dataclass(frozen=True, kw_only=True)
class Count:
    """How much of something there is, beside what is published."""

    what: str
    """Such as `test clips`."""
    found: int
    published: int | None
    """None where no figure could be read."""
    source: str = ""
    """Where the published figure was read."""

    @property
    def differs(self) -> bool:
        return self.published not in (None, self.found)


@dataclass(frozen=True, kw_only=True)
class Survey:
    """What was found of a benchmark before anything is decoded."""

    taken: str
    """The family of annotation files that was read, with their names."""
    counts: tuple[Count, ...]
    """As the files have it, before own val was carved out."""
    invalid_times: tuple[str, ...]
    """Segments that cannot be, each in words; their clips are left out."""
    doubles: tuple[tuple[str, ...], ...]
    """Files of one video; the first is taken."""


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
    """Of a benchmark."""
    unusable: str = ""
    """Why no study can use it, in a sentence; a report on it can still be made."""
    shards: tuple[tuple[str, tuple[Any, ...]], ...] = ()
    """Shards in which clips lie, each with its state, see `shards.locations.state`."""

    @property
    def pictures(self) -> bool:
        """Whether all clips are pictures, by their suffixes; of a benchmark also those without, as of
        CC3M."""
        suffixes = {PurePosixPath(clip.path).suffix.lower() for clip in self.clips}
        return bool(suffixes) and suffixes <= (PICTURES if self.survey is None else PICTURES | {""})

    @property
    def known(self) -> frozenset[str]:
        """Names of the attributes that every clip has, and `label` where clips have classes."""
        names = {name for clip in self.clips for name in clip.attributes}
        attributes = {name: [clip.attributes.get(name) for clip in self.clips] for name in names}
        return known_of_all(attributes, labelled=any(clip.label for clip in self.clips))


def known_of_all(attributes: Mapping[str, Sequence[Any]], *, labelled: bool) -> frozenset[str]:
    """Names of the attributes that no clip lacks, and `label` where clips have classes.

    attributes: name -> a value for each clip, None where it is not known.
    """
    names = {name for name, values in attributes.items() if None not in values}
    return frozenset(names | {"label"} if labelled else names)
