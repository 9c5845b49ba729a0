"""What a trained model is asked to do: a module each, which owns its metrics.

A task is a module of this package; its top level imports nothing that needs torch. It has

- `METRICS`: what it measures, see `workbench.metrics.Metric`;
- `NEEDS`: alternatives, each the methods that a recipe must define (see `BaseRecipe`);
- `EACH_TIME`: whether it is quick enough for every evaluation of a run, or is left to the ends of its stages;
- `evaluate(judged) -> TaskResult`: values by names of metrics, and files of what each query contributed;
- `KNOWN`, where it can only be asked of clips of which something is known: alternatives, each the names of
  attributes, `label` for the class, `box` for where actors are (see `workbench.data.known_of`);
- `texts(store, split)`, where it asks in words of its own: what the run's tokenizer has to have room for.
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
    """Tasks of this package, its modules that define `METRICS`, and the user's own."""
    return _names(tuple(__path__))


@functools.cache
def _names(roots: tuple[str, ...]) -> tuple[str, ...]:
    sources = {m.name: Path(OURS[0], f"{m.name}.py") for m in pkgutil.iter_modules(OURS)}
    # Read, not imported: what tasks share may need torch.
    mine = (n for n, file in sources.items() if "\nMETRICS = " in file.read_text(encoding="utf-8"))
    return (*mine, *extensions.files("tasks"))


def load(name: str) -> ModuleType:
    """The module of a task; `UserError` lists those that exist when there is none."""
    if name not in names():
        raise UserError(f"no task {name!r}; there are {', '.join(names())}")
    return extensions.module(f"workbench.tasks.{name}")


def possible(wanted: Sequence[str], recipe: type) -> list[str]:
    """Those of the tasks that a recipe can do, by what it defines."""
    return [name for name in wanted if done_by(name, recipe)]


def done_by(name: str, recipe: type, without: Collection[str] = ()) -> bool:
    """Whether a recipe defines what a task needs; without: methods that do not count."""
    return any(all(hasattr(recipe, m) and m not in without for m in ways) for ways in load(name).NEEDS)


def refusal(wanted: Sequence[str], recipes: Sequence[type]) -> str:
    """What is said where no recipe of a study can do a task; empty where each is done by one of them."""
    for name in wanted:
        if not any(possible([name], recipe) for recipe in recipes):
            who = ", ".join(dict.fromkeys(recipe.__module__.rpartition(".")[2] for recipe in recipes))
            needs = " or ".join(" and ".join(ways) for ways in load(name).NEEDS)
            able = [one for one in names() if any(possible([one], recipe) for recipe in recipes)]
            return f"{who} cannot do {name}, which needs {needs}; possible are {', '.join(able)}"
    return ""


def askable(wanted: Sequence[str], known: Collection[str]) -> list[str]:
    """Those of the tasks that can be asked of clips of which so much is known, see `known_of`."""
    needed = {name: getattr(load(name), "KNOWN", ((),)) for name in wanted}
    return [name for name in wanted if any(set(way) <= set(known) for way in needed[name])]


def texts(wanted: Sequence[str], store: FrameStore, split: str) -> list[str]:
    """What those of the tasks that can be asked of a store give to read besides the captions of a split."""
    asking = [load(name) for name in askable(wanted, store.known) if hasattr(load(name), "texts")]
    return [text for task in asking for text in task.texts(store, split)]


def unknown(wanted: Sequence[str], known: Mapping[str, Collection[str]]) -> str:
    """What is said where a task can be asked of none of the data; empty where each can be asked of some.

    known: name of the data -> what is known of its clips.
    """
    for name in wanted:
        if not any(askable([name], one) for one in known.values()):
            ways = load(name).KNOWN
            # Alternatives of one attribute each, as of `probe`, or one way that needs several.
            needs = [_listed(way, "and") for way in ways]
            verb = "are" if any(len(way) > 1 for way in ways) else "is"
            drawn = ", as moving_shapes has them" if verb == "are" else ""
            has = [f"{data} knows {_listed(sorted(one), 'and') or 'nothing'}" for data, one in known.items()]
            return f"{name} needs clips whose {_listed(needs, 'or')} {verb} known{drawn}; {'; '.join(has)}"
    return ""


def _listed(words: Sequence[str], last: str) -> str:
    """As in "a, b and c"."""
    return f" {last} ".join(part for part in (", ".join(words[:-1]), *words[-1:]) if part)


def metrics() -> dict[str, Metric]:
    """Every metric by its name: those of the tasks without a split, those of a run in full.

    Raises `UserError` for a metric of the user's own that another task measures under the same name.
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
    """The task that measures a metric, given without split and data; empty where none does."""
    found = (task for task in names() if metric in {known.name for known in load(task).METRICS})
    return next(found, "")


def overview() -> str:
    """The metrics of all tasks, in so few words that they fit in a sentence."""
    parts = []
    for task in sorted(names(), key=lambda name: (name != "retrieval", name)):
        known = [metric.name for metric in load(task).METRICS if "/" not in metric.name]
        parts.append(f"{known[0]} and {len(known) - 1} more of {task}")
    return ", ".join(parts)


def metric(name: str) -> Metric:
    """The metric of a name with or without a split; one that is not known is shown as it is written.

    A record may hold a metric of a later version or of a user's own; nothing is claimed of it but its name.
    """
    parts = score(name)
    own = parts.name if parts is not None else name
    return metrics().get(own) or noted(own) or Metric(name=own, label=own, direction="minimize")


def title(name: str) -> str:
    """What a metric is called on axes and in sentences, with its unit: `text-to-video R@1 (%)`.

    name: in full. Where it was measured is added, as in `val text-to-video R@1 (%)`, unless that is the run's
    own test split at the end of training.
    """
    return placed(name, metric(name).title)


def head(name: str) -> str:
    """The same for the head of a column: a score as its title, what a run costs in few words, `clips/s`."""
    known = metric(name)
    return placed(name, known.title if score(name) is not None else known.head)


def placed(name: str, words: str) -> str:
    """Words for a metric with where it was measured, see `title`."""
    parts = score(name)
    if parts is None:
        return words
    split = "val " if parts.split == "val" else ""
    data = f" on {parts.data}" if parts.data else ""
    stage = f" after stage {parts.stage}" if parts.stage is not None else ""
    return f"{split}{words}{data}{stage}"


def queries_of(name: str) -> Queries | None:
    """Where the queries behind a metric on test lie; None for one that is no mean over queries.

    Files of a run hold the queries of the trained model, those on other data with its name in front; a metric
    after an earlier stage is one number a run.
    """
    measured, queries = score(f"test/{name}"), metric(f"test/{name}").queries
    if measured is None or measured.stage is not None or queries is None:
        return None
    return replace(queries, file=f"{measured.data}-{queries.file}") if measured.data else queries
