"""Evaluation tasks for trained models; each task is a module that defines its metrics.

A task is a module of this package; its top level imports nothing that needs torch. It has

- `METRICS`: its metrics, see `workbench.metrics.Metric`;
- `NEEDS`: alternatives, each the methods that a recipe must define (see `BaseRecipe`);
- `EACH_TIME`: whether the task is fast enough for every evaluation of a run; other tasks run only at the ends
  of stages;
- `evaluate(judged) -> TaskResult`: values by names of metrics, and files with the results of each query;
- `KNOWN`, ground truth that it needs, if any: alternatives, each the names of attributes, `label` for the
  class, `box` for the positions of actors (see `workbench.data.known_of`);
- `texts(store, split)`, if it uses texts of its own: those that the run's tokenizer must be able to encode.
"""

from __future__ import annotations

import functools
import pkgutil
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

from workbench import extensions
from workbench.errors import UserError
from workbench.metrics import RUN, Metric, Queries, noted, score

if TYPE_CHECKING:
    from workbench.data.store import FrameStore


OURS = tuple(__path__)
__path__ += extensions.paths("tasks")


def names() -> tuple[str, ...]:
    """All tasks: modules of this package that define `METRICS`, and the user's own."""
    return _names(tuple(__path__))


@functools.cache
def _names(roots: tuple[str, ...]) -> tuple[str, ...]:
    sources = {m.name: Path(OURS[0], f"{m.name}.py") for m in pkgutil.iter_modules(OURS)}
    # Read, not imported, because modules that tasks share may import torch.
    mine = (n for n, file in sources.items() if "\nMETRICS = " in file.read_text(encoding="utf-8"))
    return (*mine, *extensions.files("tasks"))


def load(name: str) -> ModuleType:
    """The module of a task. Raises `UserError`, which lists the available ones, for an unknown name."""
    if name not in names():
        raise UserError(f"no task {name!r}; there are {', '.join(names())}")
    return extensions.module(f"workbench.tasks.{name}")


def possible(wanted: Sequence[str], recipe: type) -> list[str]:
    """The tasks that a recipe supports, given the methods that it defines."""
    return [name for name in wanted if done_by(name, recipe)]


def done_by(name: str, recipe: type, without: Collection[str] = ()) -> bool:
    """Whether a recipe defines the methods that a task needs; without: methods that do not count."""
    return any(all(hasattr(recipe, m) and m not in without for m in ways) for ways in load(name).NEEDS)


def refusal(wanted: Sequence[str], recipes: Sequence[type]) -> str:
    """The error text if no recipe of a study supports a task; empty if each task is supported by one."""
    for name in wanted:
        if not any(possible([name], recipe) for recipe in recipes):
            who = ", ".join(dict.fromkeys(recipe.__module__.rpartition(".")[2] for recipe in recipes))
            needs = " or ".join(" and ".join(ways) for ways in load(name).NEEDS)
            able = [one for one in names() if any(possible([one], recipe) for recipe in recipes)]
            return f"{who} cannot do {name}, which needs {needs}; possible are {', '.join(able)}"
    return ""


def askable(wanted: Sequence[str], known: Collection[str]) -> list[str]:
    """The tasks that are possible on clips with this ground truth, see `known_of`."""
    needed = {name: getattr(load(name), "KNOWN", ((),)) for name in wanted}
    return [name for name in wanted if any(set(way) <= set(known) for way in needed[name])]


def texts(wanted: Sequence[str], store: FrameStore, split: str) -> list[str]:
    """Texts besides the captions of a split that the tasks which are possible on a store use."""
    asking = [load(name) for name in askable(wanted, store.known) if hasattr(load(name), "texts")]
    return [text for task in asking for text in task.texts(store, split)]


def unknown(wanted: Sequence[str], known: Mapping[str, Collection[str]]) -> str:
    """The error text if a task is possible on none of the data; empty if each is possible on some.

    known: name of the data -> ground truth of its clips.
    """
    for name in wanted:
        if not any(askable([name], one) for one in known.values()):
            ways = load(name).KNOWN
            # Either alternatives of one attribute each, as for `probe`, or one that needs several.
            needs = [_listed(way, "and") for way in ways]
            verb = "are" if any(len(way) > 1 for way in ways) else "is"
            drawn = ", as moving_shapes has them" if verb == "are" else ""
            has = [f"{data} knows {_listed(sorted(one), 'and') or 'nothing'}" for data, one in known.items()]
            return f"{name} needs clips whose {_listed(needs, 'or')} {verb} known{drawn}; {'; '.join(has)}"
    return ""


def _listed(words: Sequence[str], last: str) -> str:
    """The words as a list, such as "a, b and c"."""
    return f" {last} ".join(part for part in (", ".join(words[:-1]), *words[-1:]) if part)


def metrics() -> dict[str, Metric]:
    """All metrics by name: those of tasks without a split, those of runs with their full name.

    Raises `UserError` if a user's task defines a metric with the name of another task's metric.
    """
    return _metrics(names())


@functools.cache
def _metrics(tasks: tuple[str, ...]) -> dict[str, Metric]:
    found = {metric.name: metric for metric in RUN}
    for name in tasks:
        task = load(name)
        for metric in task.METRICS:
            if metric.name in found:
                raise UserError(f"{task.__file__} measures {metric.name}, which has another meaning already")
            found[metric.name] = metric
    return found


def task_of(metric: str) -> str:
    """The task that measures a metric, given without split and data; empty if none does."""
    found = (task for task in names() if metric in {known.name for known in load(task).METRICS})
    return next(found, "")


def overview() -> str:
    """The metrics of all tasks, shortened to fit in a sentence."""
    parts = []
    for task in sorted(names(), key=lambda name: (name != "retrieval", name)):
        known = [metric.name for metric in load(task).METRICS if "/" not in metric.name]
        parts.append(f"{known[0]} and {len(known) - 1} more of {task}")
    return ", ".join(parts)


def metric(name: str) -> Metric:
    """The metric of a name with or without a split; an unknown one has its name as title.

    A record may contain a metric of a later version or of a user's task, of which only the name is known.
    """
    parts = score(name)
    own = parts.name if parts is not None else name
    return metrics().get(own) or noted(own) or Metric(name=own, label=own, direction="minimize")


def title(name: str) -> str:
    """The title of a metric on axes and in sentences, with its unit: `text-to-video R@1 (%)`.

    name: full name. Split and data are added, as in `val text-to-video R@1 (%)`, unless it was measured on
    the run's own test split at the end of training.
    """
    return placed(name, metric(name).title)


def head(name: str) -> str:
    """The title for the head of a column: costs of a run have a short form, such as `clips/s`."""
    known = metric(name)
    return placed(name, known.title if score(name) is not None else known.head)


def placed(name: str, words: str) -> str:
    """The words for a metric with its split and data added, see `title`."""
    parts = score(name)
    if parts is None:
        return words
    split = "val " if parts.split == "val" else ""
    data = f" on {parts.data}" if parts.data else ""
    stage = f" after stage {parts.stage}" if parts.stage is not None else ""
    return f"{split}{words}{data}{stage}"


def queries_of(name: str) -> Queries | None:
    """The file and array with the queries of a metric on test; None if it is not a mean over queries.

    The files of a run contain the queries of the trained model, with the name of other data as prefix; a
    metric after an earlier stage is one number for each run.
    """
    measured, queries = score(f"test/{name}"), metric(f"test/{name}").queries
    if measured is None or measured.stage is not None or queries is None:
        return None
    return replace(queries, file=f"{measured.data}-{queries.file}") if measured.data else queries
