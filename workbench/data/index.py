"""What a data set is before it is decoded: a list of clips with captions, splits and attributes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any


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


@dataclass(frozen=True, kw_only=True)
class Index:
    """A whole data set. `digest` identifies its content, on any machine."""

    digest: str
    clips: tuple[Clip, ...]
    notes: tuple[str, ...] = ()
    """Decisions made for the user, such as how clips were split."""

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
