"""Outputs of a run for clips: its captions and answers, parsed word by word; and its objectives in words."""

from __future__ import annotations

import string
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from workbench.data.moving_shapes import world
from workbench.data.moving_shapes.grammar import WORDS, parse
from workbench.errors import UserError
from workbench.tasks import captioning, video_qa
from workbench.tracking.run_dir import RunDir

PARTS = {slot: slot for slot in WORDS} | {"first": "first action", "second": "second action"}
"""Part of a caption -> its name."""

OBJECTIVES = {"recipe": "its own losses", "align": "the alignment of clips and captions"}
"""Objective of a stage -> its name in words; phases of recipes are words already."""


class Piece(NamedTuple):
    """Some words of a caption."""

    words: str
    part: str = ""
    """The part that they express, one of the names in `PARTS`; empty for other words."""
    right: bool = True
    true: str = ""
    """The true wording for this clip."""


def objective(name: str) -> str:
    """The objective of a stage, in words."""
    return OBJECTIVES.get(name, f"the phase of {name}")


def read_written(run: RunDir) -> dict[str, str]:
    """Clip id -> the caption that the run wrote for it when it was tested; empty where it wrote none."""
    return _read(run, captioning.FILE, "id", "written")


def read_given(run: RunDir, way: str) -> dict[str, str]:
    """Question id -> the answer that the run gave in this way (`open`, `choice`) when it was tested."""
    return _read(run, video_qa.FILE, "id", f"{way}_answer")


def pieces(caption: str, scene: Mapping[str, Any], own: str = "") -> list[Piece] | None:
    """A caption by its parts, each right or wrong; None where the grammar makes no such caption, or nobody
    knows what the clip shows.

    Args:
        scene: the attributes of the clip.
        own: its own caption, in whose words it is said what would be right.
    """
    said, known = parse(caption), parse(own)
    if said is None or any(scene.get(slot) not in values for slot, values in WORDS.items()):
        return None
    found = []
    for literal, slot, *_ in string.Formatter().parse(world.TEMPLATES[said.template]):
        found.append(Piece(literal.strip()))
        if slot is not None and slot in WORDS:
            words = WORDS[slot][said.parts[slot]][said.words[slot]]
            true = WORDS[slot][scene[slot]][known.words[slot] if known is not None else 0]
            found.append(Piece(words, PARTS[slot], said.parts[slot] == scene[slot], true))
        elif slot is not None:
            found.append(Piece("an" if said.parts["colour"][0] in "aeiou" else "a"))
    return [piece for piece in found if piece.words]


def shared(caption: str, true: Sequence[str]) -> tuple[list[str], list[str]]:
    """Words of a caption that stand in some true caption too, and the others, each once and in order."""
    known = {word for one in true for word in captioning.words(one).split()}
    mine = list(dict.fromkeys(captioning.words(caption).split()))
    return [word for word in mine if word in known], [word for word in mine if word not in known]


def _read(run: RunDir, file: str, *names: str) -> dict[str, str]:
    try:
        keys, values = (array.tolist() for array in run.read_arrays(file, *names))
    except FileNotFoundError:
        return {}
    if len(keys) != len(values):
        raise UserError(f"{run.file(file)} is damaged: its lists differ in length")
    return dict(zip(keys, values, strict=True))
