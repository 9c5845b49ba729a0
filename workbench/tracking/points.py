"""What a run directory gives a tracker: points of curves, params as text, the question of its study."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Any, TypeGuard, TypeVar

from workbench.addresses import masked
from workbench.errors import UserError
from workbench.tracking.run_dir import MAX_NUMBER, RunDir, Status

Point = tuple[str, float, float, int]
"""Metric, value, seconds, step."""
_T = TypeVar("_T")


def points(directory: RunDir, status: Status) -> list[Point]:
    """Of a step that was recorded twice only the last. Raises `UserError` where a row is none of ours."""
    found: dict[tuple[str, int], tuple[float, float]] = {}
    for row in directory.read_metrics().rows:
        try:
            step, seconds = int(row.get("step", 0)), float(row.get("seconds", 0.0))
        except (TypeError, ValueError, OverflowError) as error:
            path = directory.file("metrics.jsonl")
            raise UserError(f"{path} has a row without a step: {str(row)[:200]}") from error
        if not (abs(step) < MAX_NUMBER and abs(seconds) < MAX_NUMBER):
            raise UserError(
                f"{directory.file('metrics.jsonl')} has a row of a step or time out of all bounds"
            )
        for name, value in row.items():
            if _is_metric(name, value):
                found[name, step] = (float(value), seconds)
    for name, value in directory.summary().items():
        if _is_metric(name, value):
            found.setdefault((name, status.step), (float(value), status.seconds))
    return [(name, value, seconds, step) for (name, step), (value, seconds) in found.items()]


def _is_metric(name: str, value: Any) -> bool:
    return is_finite(value) and ("/" in name or name == "pflops")


def is_finite(value: object) -> TypeGuard[float]:
    """Whether a value of a record is a number that can be compared and stored."""
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= sys.float_info.max


def question(directory: RunDir) -> str:
    try:
        described = json.loads((directory.path.parent / "study.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):  # the run is whole without it
        return ""
    return str(described.get("question", "")) if isinstance(described, dict) else ""


def param(value: Any) -> str:
    """A setting as trackers keep it: text of bounded length, passwords masked."""
    text = value if isinstance(value, str) else json.dumps(value)
    return masked(text)[:500]


def batches(items: Iterable[_T], size: int) -> Iterator[list[_T]]:
    """Lists of up to `size` items."""
    iterator = iter(items)
    while batch := list(islice(iterator, size)):
        yield batch
