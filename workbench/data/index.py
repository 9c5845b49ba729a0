"""What a data set is before it is decoded: a list of clips with captions, splits and attributes."""

from __future__ import annotations

from collections.abc import Mapping
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
        each = [{n for n, value in clip.attributes.items() if value is not None} for clip in self.clips]
        attributes = set.intersection(*each) if each else set()
        return frozenset((*attributes, *(["label"] if any(clip.label for clip in self.clips) else [])))
