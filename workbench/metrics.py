"""Metrics: name, label, unit, direction, range and queries of each.

A task names its metrics in `METRICS` of `workbench/tasks/<name>.py`; metrics of no task (cost, speed)
are here. Nothing here needs torch, so that tables, figures and the dashboard can use it.

A full name contains where a metric was measured: `test/t2v_r1`, `val/t2v_r1`, `test/stage0_t2v_r1` (after the
first of several stages), `test/msrvtt:t2v_r1` (on other data, see `RunConfig.evaluate_on`).
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

_SCORE = re.compile(
    r"(?P<split>val|test)/(?:(?P<data>[A-Za-z0-9_.-]+):)?(?:stage(?P<stage>\d+)_)?(?P<name>.+)"
)


@dataclass(frozen=True, kw_only=True)
class Queries:
    """The file and array of a run directory with the values of a metric for each query."""

    file: str
    """Name of the file, such as `ranks.npz`."""
    values: str
    """Name of the array [Q] of ranks, or of the values themselves."""
    ids: str
    """Name of the array [Q] of query names, by which runs are paired."""
    groups: str = ""
    """Array [Q] of names: queries of one clip count as one cluster; empty where each counts by itself."""
    at_most: int = 0
    """If above 0, values are ranks, and a rank of at most this is a hit."""

    def contributions(self, values: ArrayLike) -> NDArray[np.float64]:
        """The metric of each query, [Q]; for ranks 100 for a hit and 0 for a miss."""
        found = np.asarray(values, dtype=float)
        return np.where(found <= self.at_most, 100.0, 0.0) if self.at_most else found


@dataclass(frozen=True, kw_only=True)
class Metric:
    """A metric."""

    name: str
    """Name, such as `t2v_r1` for a metric of a task or `cost/train_pflops` for one of a run."""
    label: str
    """The metric in words, without the unit."""
    unit: str = ""
    difference: str = ""
    """What a difference is in, to be put behind a number, such as `points of R@1`; empty where label and unit
    say it."""
    short: str = ""
    """For the head of a column, without the unit; empty stands for the words of the name."""
    direction: Literal["maximize", "minimize"] = "maximize"
    low: float | None = None
    """Smallest possible value; None if there is none."""
    high: float | None = None
    queries: Queries | None = None
    """Its queries; None for a metric that is not a mean over queries, which has no interval over them."""
    chance: float | None = None
    """Value of a random guess; None if it is measured as `NAME_chance` or follows from ranks."""
    counted: bool = False
    """Whether it follows from the configuration and is the same in all runs of a cell, so that differences
    need no interval."""

    @property
    def higher_is_better(self) -> bool:
        return self.direction == "maximize"

    @property
    def reach(self) -> float | None:
        """The largest possible difference; None if there is no limit."""
        return None if self.low is None or self.high is None else self.high - self.low

    @property
    def title(self) -> str:
        """Label and unit, for heads and axes, with what a guess reaches where that is fixed."""
        chance = "" if self.chance is None else f"chance {self.chance:g}"
        behind = ", ".join(part for part in (self.unit, chance) if part)
        return f"{self.label} ({behind})" if behind else self.label

    @property
    def head(self) -> str:
        """A short name with the unit, for the head of a column of a printed table."""
        words = self.short or self.name.rpartition("/")[2].replace("_", " ")
        return f"{words} ({self.unit})" if self.unit else words

    @property
    def in_units(self) -> str:
        """What a difference is in, to be put behind a number, such as `points of video-to-text R@5`,
        `GB of peak memory` and `in text-to-video median rank`."""
        if self.difference or not self.unit:
            return self.difference or f"in {self.label}"
        return f"{'points' if self.unit == '%' else self.unit} of {self.label}"


def full_name(split: str, data: str, metric: str) -> str:
    """`test/t2v_r1`, or `test/msrvtt:t2v_r1` for a metric on other data; the inverse is `score`."""
    return f"{split}/{data}:{metric}" if data else f"{split}/{metric}"


@dataclass(frozen=True, kw_only=True)
class Score:
    """The parts of a full name such as `test/msrvtt:t2v_r1`."""

    split: str
    """`val` or `test`."""
    data: str
    """Name of other data it was measured on; empty for the run's own."""
    stage: int | None
    """Stage after which it was measured; None at the end of the run."""
    name: str
    """Name of the metric."""


def score(full: str) -> Score | None:
    """The parts of a full name; None for what is no score of a split, such as `cost/train_pflops`."""
    found = _SCORE.fullmatch(full)
    if found is None:
        return None
    stage = int(found["stage"]) if found["stage"] is not None else None
    return Score(split=found["split"], data=found["data"] or "", stage=stage, name=found["name"])


SIDES = {"t2v": "text-to-video", "v2t": "video-to-text"}


def rank_metrics_of(file: str, prefix: str = "", note: str = "") -> tuple[Metric, ...]:
    """Recalls, median and mean rank in both directions, for a task that ranks.

    Args:
        file: of the run directory, with the arrays `PREFIXt2v_rank`, `..._id`, `t2v_group` and so on.
        prefix: of names and arrays, such as `gallery100_`.
        note: what is special about it, put behind the label.
    """
    found = []
    for side, words in SIDES.items():
        label = f"{words} %s{', ' if note else ''}{note}"
        plain = side == "t2v" and not prefix
        queries = Queries(
            file=file,
            values=f"{prefix}{side}_rank",
            ids=f"{prefix}{side}_id",
            groups=f"{prefix}t2v_group" if side == "t2v" else "",
        )
        for k in (1, 5, 10):
            name = f"{prefix}{side}_r{k}"
            recall = Metric(
                name=name,
                label=label % f"R@{k}",
                unit="%",
                difference=f"points of R@{k}" if plain else "",
                short=f"R@{k}" if plain else name.replace("_", " ").replace(f" r{k}", f" R@{k}"),
                low=0.0,
                high=100.0,
                queries=replace(queries, at_most=k),
            )
            found.append(recall)
        median = Metric(
            name=f"{prefix}{side}_medr", label=label % "median rank", direction="minimize", low=1.0
        )
        mean = replace(median, name=f"{prefix}{side}_meanr", label=label % "mean rank", queries=queries)
        found += [median, mean]
    return tuple(found)


def _cost(name: str, label: str, unit: str = "", *, counted: bool = False, short: str = "") -> Metric:
    return Metric(
        name=name, label=label, unit=unit, direction="minimize", low=0.0, counted=counted, short=short
    )


CORE_WAIT = "speed/core_wait_share"
"""Seconds in which a thread was ready to run and had no core, for each second of training."""
DISTURBED = 0.1
"""Share above which other work on the same machine is noticeable in a run's throughput."""

RUN = (
    _cost("cost/video_passes", "video encoder passes", counted=True),
    _cost("cost/text_passes", "text encoder passes", counted=True),
    _cost("cost/fusion_passes", "fusion encoder passes", counted=True),
    _cost("cost/decoder_passes", "decoder passes", counted=True),
    _cost("cost/teacher_passes", "teacher passes", counted=True),
    _cost("cost/prepare_pflops", "training PFLOPs spent before the first step"),
    _cost("mask/video_hidden", "share of the video hidden", counted=True),
    _cost("mask/text_hidden", "share of the words hidden", counted=True),
    _cost("cost/video_tokens_in", "video tokens of a clip", counted=True),
    _cost("cost/video_tokens_out", "video tokens encoded, all passes", counted=True),
    _cost("cost/peak_memory_gb", "peak memory", "GB", short="memory"),
    _cost("cost/parameters_m", "trained parameters", "millions"),
    _cost("cost/train_gflops_per_clip", "training GFLOPs per clip", counted=True, short="GFLOPs/clip"),
    _cost("cost/train_pflops", "training PFLOPs per run", counted=True, short="PFLOPs"),
    _cost(
        "cost/video_gflops_per_clip",
        "video encoder, GFLOPs per clip",
        counted=True,
        short="video GFLOPs/clip",
    ),
    _cost(
        "cost/text_gflops_per_clip", "text encoder, GFLOPs per clip", counted=True, short="text GFLOPs/clip"
    ),
    _cost("speed/train_seconds", "training time per run", "s", short="training"),
    Metric(name="speed/clips_per_s", label="clips per second", low=0.0, short="clips/s"),
    Metric(name="speed/cores_used", label="processor cores used", low=0.0),
    _cost(CORE_WAIT, "time without a core, of all threads, per training time"),
    Metric(name="speed/mfu", label="model FLOPs utilisation", low=0.0, high=1.0),
    Metric(name="train/steps", label="training steps", direction="minimize", low=0.0),
)
"""Metrics that every run measures."""
TRAINING = {
    metric.name: metric
    for metric in (
        _cost("train/loss", "training loss"),
        _cost("train/grad_norm", "gradient norm"),
        _cost("train/lr", "learning rate"),
        Metric(name="train/epochs", label="epochs of the training data", low=0.0),
        _cost("train/batch_size", "batch size"),
        _cost("train/skipped_clips", "clips that could not be read"),
        _cost("speed/step_ms", "training time per step", "ms"),
        _cost("speed/data_wait_share", "share of the training time in which no batch was ready"),
        _cost("speed/eval_seconds", "time of evaluations", "s"),
        _cost("speed/prepare_seconds", "time before the first step, in which a teacher is made ready", "s"),
        _cost("speed/startup_seconds", "time of starting", "s"),
        _cost("speed/total_seconds", "time of all attempts", "s"),
    )
}
"""What runs note besides, which no study reads or selects by: name -> its words."""


def noted(name: str) -> Metric | None:
    """What a run notes of its training; None for what is not known. `train/TERM` is a term of the loss."""
    term = name.removeprefix("train/")
    if name in TRAINING or term == name:
        return TRAINING.get(name)
    return _cost(name, f"training loss: {term.replace('_', ' ')}")


def disturbed(core_wait: float | None) -> bool:
    """Whether other work on the same machine shows in a run's throughput; unknown counts as no.

    core_wait: the run's `speed/core_wait_share`.
    """
    return core_wait is not None and core_wait > DISTURBED
