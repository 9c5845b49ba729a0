"""What a trained model is asked to do: a module each, which owns its metrics.

A task is a module of this package with `METRICS`; its top level imports nothing that needs torch.
"""

from __future__ import annotations

import functools
import importlib
import pkgutil
from pathlib import Path
from types import ModuleType

from workbench.errors import UserError
from workbench.metrics import RUN, Metric, score


@functools.cache
def names() -> tuple[str, ...]:
    """Tasks of this package: its modules that define `METRICS`."""
    sources = {m.name: Path(__path__[0], f"{m.name}.py") for m in pkgutil.iter_modules(__path__)}
    # Read, not imported: what tasks share may need torch.
    return tuple(n for n, file in sources.items() if "\nMETRICS = " in file.read_text(encoding="utf-8"))


def load(name: str) -> ModuleType:
    """The module of a task; `UserError` lists those that exist when there is none."""
    if name not in names():
        raise UserError(f"no task {name!r}; there are {', '.join(names())}")
    return importlib.import_module(f"workbench.tasks.{name}")


@functools.cache
def metrics() -> dict[str, Metric]:
    """Every metric by its name: those of the tasks without a split, those of a run in full."""
    known = (*RUN, *(metric for name in names() for metric in load(name).METRICS))
    return {metric.name: metric for metric in known}


def metric(name: str) -> Metric:
    """The metric of a name with or without a split; one that is not known is shown as it is written.

    A record may hold a metric of a later version or of a user's own; nothing is claimed of it but its name.
    """
    parts = score(name)
    own = parts.name if parts is not None else name
    return metrics().get(own) or Metric(name=own, label=own, direction="minimize")
