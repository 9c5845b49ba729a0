"""Data of a run directory for trackers: points of curves, settings, facts of the run, its study."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from typing import Any, TypeGuard, TypeVar

from workbench import naming
from workbench.addresses import masked
from workbench.errors import UserError
from workbench.tracking.run_dir import MAX_NUMBER, RunDir, Status

Point = tuple[str, float, float, int]
"""Metric, value, seconds, step."""
OUTCOME = ("reason", "failure")
"""Fields that only failed runs have."""
ENVIRONMENT = ("commit", "dirty", "decoder", "device", "device_name", "precision", "hostname")
_T = TypeVar("_T")


def points(directory: RunDir, status: Status) -> list[Point]:
    """Points of all metrics; if a step was recorded twice, the last. Raises `UserError` for an invalid row.

    Values have six digits, which are enough for readers. Metrics without a curve are at step 0, because
    trackers show them as a bar there and as a single dot at any other step.
    """
    found = recorded(directory)
    curves = {name for name, _ in found}
    for name, value in final(directory).items():
        if name in curves:
            found.setdefault((name, status.step), (value, status.seconds))
        else:
            found[name, 0] = (value, status.seconds)
    return [(name, _rounded(value), seconds, step) for (name, step), (value, seconds) in found.items()]


def recorded(directory: RunDir) -> dict[tuple[str, int], tuple[float, float]]:
    """Metric and step -> value and seconds, of the curves alone; raises as `points`."""
    found: dict[tuple[str, int], tuple[float, float]] = {}
    for row in directory.read_metrics().rows:
        try:
            step, seconds = int(row.get("step", 0)), float(row.get("seconds", 0.0))
        except (TypeError, ValueError, OverflowError) as error:
            path = directory.file("metrics.jsonl")
            raise UserError(f"{path} has a row without a step: {str(row)[:200]}") from error
        if not (abs(step) < MAX_NUMBER and abs(seconds) < MAX_NUMBER):
            raise UserError(
                f"{directory.file('metrics.jsonl')} has a row whose step or time is out of bounds"
            )
        for name, value in row.items():
            if _is_metric(name, value):
                found[name, step] = (float(value), seconds)
    return found


def final(directory: RunDir) -> dict[str, float]:
    """The metrics of the summary, with all digits; empty until the run is complete."""
    return {name: float(value) for name, value in directory.summary().items() if _is_metric(name, value)}


def run_name(identity: Mapping[str, Any]) -> str:
    """Name of a run in trackers, such as `v0.90 t0.00 s0`; identity: `run.json`."""
    axes, seed = identity.get("axes"), int(identity["seed"])
    return naming.brief(axes, seed) if axes else f"{identity['cell']} s{seed}"


def facts(directory: RunDir, status: Status) -> dict[str, Any]:
    """What a run is, how it ended and where it was made, under the names that trackers show; None where a
    record does not say."""
    identity, environment = directory.identity(), directory.read_json("environment.json")
    values = {name: identity.get(name) for name in ("study", "recipe", "cell", "key", "seed")}
    values |= {"attempt": status.attempt, "state": status.state}
    values |= {name: getattr(status, name) for name in OUTCOME}
    values |= {name: environment.get(name) for name in ENVIRONMENT}
    return values | {f"axis.{name}": value for name, value in identity.get("axes", {}).items()}


def _is_metric(name: str, value: Any) -> bool:
    return is_finite(value) and ("/" in name or name == "pflops")


def _rounded(value: float) -> float:
    """Six digits, and all of a whole number."""
    return value if value.is_integer() else float(f"{value:.6g}")


def is_finite(value: object) -> TypeGuard[float]:
    """Whether a value of a record is a number that can be compared and stored."""
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= sys.float_info.max


def study_of(directory: RunDir) -> dict[str, Any]:
    """What the `study.json` beside a run says of its study; empty without one."""
    try:
        described = json.loads((directory.path.parent / "study.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):  # the run is whole without it
        return {}
    return described if isinstance(described, dict) else {}


def param(value: Any) -> str:
    """A setting as trackers keep it: text of bounded length, passwords masked."""
    text = value if isinstance(value, str) else json.dumps(value)
    return masked(text)[:500]


def batches(items: Iterable[_T], size: int) -> Iterator[list[_T]]:
    """Lists of up to `size` items."""
    iterator = iter(items)
    while batch := list(islice(iterator, size)):
        yield batch
