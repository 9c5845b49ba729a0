"""Media of a shared page: masks as runs recorded them, and playable clips.

Everything becomes part of the page as a `data:` address. A clip is an animated WebP of the frames that the
frame store has of it, which is what the models saw, so it plays whatever has become of the video files.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import polars as pl
from PIL import Image

from workbench.answer.results import Answer
from workbench.inspection.answers import (
    Answers,
    disagreements,
    only_first,
    read_answers,
    read_captions,
    swapped,
    within,
)
from workbench.inspection.clips import Clips, open_clips
from workbench.report.pictures import worth_showing
from workbench.tracking.run_dir import RunDir

FRAME_MS = 250
"""Duration of a frame of a clip in milliseconds."""
CLIPS = 6
"""Number of clips for each of two cells that it gets right and the other gets wrong."""
MASKS = 6
"""Largest number of cells whose masks are shown."""


@dataclass(frozen=True, kw_only=True)
class Mask:
    """What the encoder of a cell's run saw of the first clips of val."""

    cell: str
    picture: bytes
    """PNG: each clip frame by frame, and below it what is left of it."""


@dataclass(frozen=True, kw_only=True)
class Shown:
    """A query of the test split and how two cells answered it."""

    caption: str
    ranks: tuple[float, float]
    """Ranks of the right clip in the two cells, the median over seeds; 1 is best."""
    hits: tuple[int, int]
    """Seeds with which each cell is right."""
    seeds: int
    clip: bytes
    """Animated WebP; empty where the clip is not on this machine."""


@dataclass(frozen=True, kw_only=True)
class Pair:
    """Two cells, and the queries that only one of them gets right."""

    answer: Answer
    results: Path
    data: Path
    """Folder of prepared data."""
    first: str
    """Key of the better cell by val that is no baseline."""
    second: str
    """Key of its baseline, or of the last cell by val where there is none."""

    @property
    def names(self) -> tuple[str, str]:
        """Labels of both cells."""
        labels = self.answer.asked.labels
        return labels[self.first], labels[self.second]

    @property
    def within(self) -> int:
        """Rank up to which a query counts as answered."""
        return within(self.answer.asked.metric)

    @cached_property
    def found(self) -> pl.DataFrame:
        """Every query as both cells answered it; `UserError` where there are none to compare."""
        return disagreements(self._answers(self.first), self._answers(self.second), self.within)

    def only(self, first: bool) -> pl.DataFrame:
        """Queries that one of the cells answers with more seeds than the other, the clearest first."""
        return only_first(self.found) if first else swapped(only_first(swapped(self.found)))

    def shown(self, first: bool, clips: Clips | None) -> list[Shown]:
        """The clearest of `only`; clips: None where they are not on this machine."""
        run = self._run(self.first)
        captions = read_captions(run) or (dict(clips.captions) if clips is not None else {})
        return [
            Shown(
                caption=captions.get(row["query"], row["query"]),
                ranks=(row["rank_a"], row["rank_b"]),
                hits=(row["hits_a"], row["hits_b"]),
                seeds=row["seeds"],
                clip=b"" if clips is None else animated(clips, row["clip"]),
            )
            for row in self.only(first).head(CLIPS).iter_rows(named=True)
        ]

    def clips(self) -> Clips:
        """The clips of the runs; `UserError` where they are not on this machine."""
        return open_clips(self._run(self.first), self.data)

    def _run(self, key: str) -> RunDir:
        """The first complete run of a cell."""
        seed = min(self.answer.evidence.done.filter(pl.col("key") == key)["seed"])
        return RunDir.of(self.results, self.answer.asked.name, key, seed)

    def _answers(self, key: str) -> Mapping[int, Answers]:
        seeds = self.answer.evidence.done.filter(pl.col("key") == key)["seed"]
        runs = {seed: RunDir.of(self.results, self.answer.asked.name, key, seed) for seed in seeds}
        found = {seed: read_answers(run) for seed, run in runs.items()}
        return {seed: answers for seed, answers in found.items() if answers is not None}


def pair(answer: Answer, results: Path, data: Path) -> Pair | None:
    """The best cell by val beside its baseline; None where there are not two cells of one study."""
    column = f"metric.val/{answer.asked.metric}"
    done = answer.evidence.done
    if column not in done.columns or answer.asked.studies:
        return None
    means = done.group_by("key", maintain_order=True).agg(pl.col(column).mean()).drop_nulls()
    ranking = means.sort(column, descending=answer.asked.maximize, maintain_order=True)["key"].to_list()
    others = [key for key in ranking if key not in answer.asked.bases]
    if not others or len(ranking) < 2:
        return None
    first = others[0]
    base = answer.asked.base_of(first)
    second = base if base in ranking else next((key for key in reversed(ranking) if key != first), None)
    if second is None:
        return None
    return Pair(answer=answer, results=results, data=data, first=first, second=second)


def masks(answer: Answer, results: Path) -> list[Mask]:
    """Masks of selected cells of one study, as far as their runs recorded them."""
    found = []
    keys = [] if answer.asked.studies else worth_showing(answer)[:MASKS]
    for key in keys:
        seed = min(answer.evidence.done.filter(pl.col("key") == key)["seed"])
        path = RunDir.of(results, answer.asked.name, key, seed).file("mask_preview.png")
        if path.is_file():
            found.append(Mask(cell=answer.asked.labels[key], picture=path.read_bytes()))
    return found


def animated(clips: Clips, clip: str) -> bytes:
    """A clip of the frame store as an animated WebP without loss; empty for one that it lacks."""
    row = clips.rows.get(clip)
    if row is None:
        return b""
    first, *rest = (Image.fromarray(np.asarray(frame)) for frame in clips.store.frames[row])
    out = io.BytesIO()
    first.save(
        out, format="WEBP", save_all=True, append_images=rest, duration=FRAME_MS, loop=0, lossless=True
    )
    return out.getvalue()


def address(kind: str, content: bytes) -> str:
    """A file as an address that needs no network; kind: such as `image/png`."""
    return f"data:{kind};base64,{base64.b64encode(content).decode('ascii')}"
