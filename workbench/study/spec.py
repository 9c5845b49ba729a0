"""A study: one question, asked in a file of its own, `studies/<name>.py`, which exposes `STUDY`."""

from __future__ import annotations

import ast
import importlib.util
import math
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, Protocol, TypeVar

from workbench import extensions, naming
from workbench.config import RunConfig
from workbench.errors import UserError
from workbench.metrics import RUN, score
from workbench.project_paths import ours
from workbench.recipes import names as recipe_names
from workbench.study.cells.contrasts import Contrast as Contrast
from workbench.study.stages import smoke
from workbench.tasks import metric as metric_of
from workbench.tasks import metrics, overview, queries_of
from workbench.tracking.files import check_name

Choice = None | bool | int | float | str
_C = TypeVar("_C", bound=Choice)


class Trial(Protocol):
    """What `configure` may ask for: one value of each axis, as from an Optuna trial."""

    @property
    def recipe(self) -> str:
        """The recipe that `--recipe` chose; empty for a study without `recipes`."""

    @property
    def cost(self) -> str:
        """The study's `cost`; empty where the metric alone is searched for."""

    def suggest_categorical(self, name: str, choices: Sequence[_C]) -> _C: ...

    def suggest_float(self, name: str, low: float, high: float, *, log: bool = False) -> float:
        """A number of three significant digits; only a search can draw from a range."""

    def suggest_int(self, name: str, low: int, high: int, *, step: int = 1, log: bool = False) -> int:
        """A whole number, both ends included; only a search can draw from a range."""


@dataclass(frozen=True, kw_only=True)
class Claim:
    """Something published that a study puts to the test; see `workbench.answer.verdicts` for the verdict."""

    text: str
    """The claim in words."""
    arm: Mapping[str, Choice]
    """The cell it is about, given by its axes; it is compared with the study's baseline."""
    metric: str
    """Of a run, such as `cost/video_gflops_per_clip`, or of a task; without a split it is read on test."""
    figure: Literal["saved", "times", "difference"]
    """`saved`: percent less than the baseline; `times`: how many times the baseline; `difference`: arm
    minus baseline, in the metric's units."""
    paper: str
    """The published figure."""
    at_least: float
    """The claim holds when the whole interval of the figure is at or above this."""

    def __post_init__(self) -> None:
        full = self.metric if score(self.metric) else f"test/{self.metric}"
        if self.metric not in metrics() and not _of_a_task(full):
            raise UserError(
                f"the claim {self.text!r} is about {self.metric!r}, which is not a metric; there are "
                f"{overview()}, and {', '.join(metric.name for metric in RUN)} of a run"
            )
        if not _of_a_task(full) or metric_of(full).counted:
            return
        if queries_of(self.metric.removeprefix("test/")) is None:
            raise UserError(
                f"the claim {self.text!r} is about {self.metric}, which is measured on queries and not "
                "recorded for each query: its interval would be over seeds alone"
            )
        if self.figure != "difference":
            raise UserError(
                f"the claim {self.text!r} is a ratio of {self.metric}, which is measured on queries: only a "
                "difference of such a metric has an interval over seeds and queries"
            )


@dataclass(frozen=True, kw_only=True)
class Study:
    """One question and the runs that answer it.

    An *ablation* runs every cell with every seed. A *search* lets Optuna propose `trials` cells, one after
    another, each with seed 0: by TPE for the metric alone, stopping what lags (pruning), or, with a `cost`,
    by TPE or NSGA-II for the Pareto front, pruning nothing.
    """

    question: str
    configure: Callable[[Trial], RunConfig]
    """Returns the cell for the choices of a trial; nothing varies anywhere else. An axis may
    depend on the choice of another one; cells that come out the same count once."""
    metric: str = "t2v_r1"
    """Of a task, without a split: cells are selected by `val/<metric>` and reported by `test/<metric>`.
    Measured on other data (`RunConfig.evaluate_on`) it is `NAME:metric`, such as `msrvtt:t2v_r1`."""
    direction: Literal["", "maximize", "minimize"] = ""
    """Empty stands for the metric's own, and becomes that."""
    mode: Literal["ablation", "search"] = "ablation"
    trials: int = 40
    """Of a search: how many are proposed; `--trials` overrides it."""
    sampler: Literal["tpe", "nsga2"] = "tpe"
    """Of a search: who proposes."""
    cost: str = ""
    """Of a search: what is to be low while the metric is good, such as `cost/train_pflops`."""
    says: Mapping[str, str] = field(default_factory=dict)
    """Axis -> how people say a choice of it, such as `{share} video hidden`, see `workbench.naming`."""
    baseline: Mapping[str, Choice] = field(default_factory=dict)
    """The cell that the others are compared with, given by its axes."""
    within: tuple[str, ...] = ()
    """Axes that separate comparisons, such as budgets that are not to be compared with each other. Each cell
    is compared with the baseline of the same choices there; `baseline` names the other axes only."""
    over: str = ""
    """One of `within` whose values are budgets, from small to large: answers then have a curve over it for
    each choice of the other axes, and say where curves cross, see `workbench.stats.scaling`."""
    seeds: tuple[int, ...] = (0,)
    reads: tuple[str, ...] = (
        "cost/train_pflops",
        "cost/train_gflops_per_clip",
        "speed/clips_per_s",
        "train/steps",
    )
    """What is worth reading beside the metric."""
    claims: tuple[Claim, ...] = ()
    """What others have claimed, to be given a verdict."""
    contrasts: tuple[Contrast, ...] = ()
    """Registered differences, the only ones of which anything is then claimed, in the order of the tests."""
    collapse: float | None = None
    """A run whose `val/<metric>` is no better has collapsed: it is left out of what is tested, which is then
    about the runs that train. Fixed here, before any run; None leaves none out."""
    looks: Mapping[int, float] = field(default_factory=dict)
    """Numbers of seeds at which claims are looked for, with the share of the 5 % that each look may spend, as
    in {3: 0.01, 5: 0.015, 8: 0.025}. With any other number of seeds nothing is then claimed."""
    recipes: tuple[str, ...] = ()
    """What `--recipe` may choose, for `configure` to read as `trial.recipe`; the first is the default. Under
    another one the study is a study of its own, see `with_recipe`."""
    recipe: str = ""
    """The one that is asked for; set by `with_recipe`."""
    by_recipe: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """Recipe -> fields that the study has otherwise under it, such as its metric and its contrasts; of the
    default one they are those given here."""
    smoke: Callable[[RunConfig], RunConfig] = smoke
    """Makes a cell small enough to try the whole path in seconds (`--smoke`)."""
    name: str = ""
    """Name of the file, set by `load`; with the recipe appended where that is not the default."""

    @property
    def fixed_rules(self) -> dict[str, Any]:
        """What is fixed beforehand about collapse and looks, as it stands in `study.json`."""
        return {"collapse": self.collapse, "looks": {str(n): alpha for n, alpha in self.looks.items()}}

    def __post_init__(self) -> None:
        if "/" in self.metric:
            raise UserError(
                f"a study's metric must be named without a split, like t2v_r1, not {self.metric!r}"
            )
        parts = score(f"val/{self.metric}")
        if parts is None or parts.stage is not None or not _of_a_task(f"val/{self.metric}"):
            raise UserError(
                f"a study's metric must be one of {overview()}, on other data as NAME:metric, not "
                f"{self.metric!r}"
            )
        naming.check(self.says)
        if not self.direction:
            object.__setattr__(self, "direction", metric_of(f"val/{self.metric}").direction)
        if self.direction not in ("maximize", "minimize"):
            raise UserError(f"a direction must be maximize or minimize, not {self.direction!r}")
        if self.mode not in ("ablation", "search") or self.sampler not in ("tpe", "nsga2"):
            raise UserError(
                "a study's mode must be ablation or search, and its sampler tpe or nsga2, not "
                f"{self.mode!r} and {self.sampler!r}"
            )
        if self.mode == "search" and (self.baseline or self.claims or self.contrasts or self.seeds != (0,)):
            raise UserError(
                "a search must have no baseline, claims or contrasts, and seed 0: what it finds is no claim"
            )
        if self.claims and self.contrasts:
            raise UserError(
                "a study must have claims or contrasts, not both: registered contrasts are all it tests"
            )
        if self.looks:
            from workbench.stats.looks import Looks

            Looks(self.looks)  # refuses what is no plan of looks
        if self.mode == "search" and (self.looks or self.collapse is not None):
            raise UserError("a search must have no looks and no collapse: what it finds is no claim")
        if self.collapse is not None and not math.isfinite(self.collapse):
            raise UserError(f"the collapse of a study must be a value of its metric, not {self.collapse!r}")
        if len({contrast.text for contrast in self.contrasts}) < len(self.contrasts):
            raise UserError("each contrast of a study must have a text of its own, by which reports name it")
        if set(self.within) & set(self.baseline) or (self.within and not self.baseline):
            raise UserError(f"the baseline of a study must name axes that are not in within={self.within!r}")
        if self.over and self.over not in self.within:
            raise UserError(f"over must be one of a study's within={self.within!r}, not {self.over!r}")
        if self.cost and self.mode != "search":
            raise UserError("only a search may have a cost: an ablation runs every cell")
        if self.sampler == "nsga2" and not self.cost:
            raise UserError("nsga2 searches for a Pareto front: it needs a cost beside the metric")
        if self.trials < 1:
            raise UserError(f"a search must have one trial or more, not {self.trials!r}")
        if self.recipe and self.recipe not in self.recipes:
            raise UserError(
                f"a study must run under one of its recipes {self.recipes!r}, not {self.recipe!r}"
            )
        if stray := set(self.by_recipe) - set(self.recipes):
            known = ", ".join(self.recipes) or "(it has none)"
            raise UserError(f"by_recipe names {min(stray)}, which is not one of its recipes {known}")
        if not self.seeds or len(set(self.seeds)) < len(self.seeds):
            raise UserError(f"seeds must be one or more different numbers, not {self.seeds!r}")


def _of_a_task(full: str) -> bool:
    """Whether a name with its split is that of a metric that some task measures."""
    parts = score(full)
    return parts is not None and "/" not in parts.name and parts.name in metrics()


def load(name: str) -> Study:
    """The study of that name; `UserError` lists those that exist when there is none."""
    files = find()
    if name not in files:
        known = ", ".join(files) or "none in ./studies"
        shown = name if len(name) <= 40 else name[:40] + "..."
        file, _, recipe = name.partition("-")
        hint = f" (for {name} say: {file} --recipe {recipe})" if file in files and recipe else ""
        raise UserError(f"no study {shown!r}; there are {known}{hint}")
    check_name(name, "study name")
    if "-" in name:
        raise UserError(
            f"a study file must have no '-' in its name, which sets off the recipe: {files[name]}"
        )
    spec = importlib.util.spec_from_file_location(f"studies.{name}", files[name])
    assert spec is not None, files[name]
    assert spec.loader is not None, files[name]
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses of the file look their module up
    extensions.check()
    try:
        with extensions.blaming():
            spec.loader.exec_module(module)
    except (ImportError, SyntaxError) as error:
        recipes = ", ".join(recipe_names())
        raise UserError(f"{files[name]} cannot be loaded: {error}; the recipes are {recipes}") from error
    study = getattr(module, "STUDY", None)
    if not isinstance(study, Study):
        raise UserError(f"{files[name]} must expose STUDY, a workbench.study.spec.Study")
    return replace(study, name=name, recipe=next(iter(study.recipes), ""))


def with_recipe(study: Study, recipe: str) -> Study:
    """The study under another of its recipes: the same question with runs, ledger and report of its own.

    Contrasts are registered for the default recipe, by what pilot runs of that one showed; another recipe may
    have other choices, and is compared cell by cell, unless `by_recipe` registers contrasts for it.
    """
    if recipe in ("", study.recipe):
        return study
    if recipe not in study.recipes:
        elsewhere = "; ".join(f"{name}: {', '.join(found)}" for name, found in _with_recipes().items())
        allowed = f"its recipes are {', '.join(study.recipes)}" if study.recipes else ""
        allowed = allowed or f"--recipe is for {elsewhere}"
        raise UserError(f"study {study.name} does not run under {recipe!r}; {allowed}")
    question = f"{study.question.removesuffix('?')}, under {recipe}?"
    own = {"question": question, "contrasts": (), "direction": "", **study.by_recipe.get(recipe, {})}
    if "metric" not in own:
        own["direction"] = study.direction
    return replace(study, name=f"{study.name}-{recipe}", recipe=recipe, **own)


def single_objective(study: Study) -> Study:
    """The search for the metric alone, with pruning: a study of its own beside that for the front."""
    if not study.cost:
        allowed = ", ".join(name for name, file in find().items() if _written(file, "cost"))
        raise UserError(f"study {study.name} has no Pareto front to leave out; --single is for {allowed}")
    question = f"{study.question} Here: the best {study.metric} alone."
    return replace(study, name=f"{study.name}-single", question=question, cost="", sampler="tpe")


def find() -> dict[str, Path]:
    """Names and files of all studies: in the user's own folders and in this project, the former first."""
    folders = (*extensions.folders("studies"), ours("studies"))
    found = {
        file.stem: file
        for folder in reversed(folders)
        for file in folder.glob("*.py")
        if not file.stem.startswith("_")
    }
    return dict(sorted(found.items()))


def questions() -> dict[str, str]:
    """Every study's question, read without running its file, so that listing imports no torch."""
    return {
        name: str(_written(file, "question") or "(no question written out in the file)")
        for name, file in find().items()
    }


def _with_recipes() -> dict[str, tuple[str, ...]]:
    """The studies that take `--recipe`, and the recipes of each."""
    return {name: found for name, file in find().items() if (found := _written(file, "recipes"))}


def _written(file: Path, argument: str) -> Any:
    """What a study file gives for an argument, without running the file; None where it gives nothing."""
    try:
        tree = ast.parse(file.read_text(encoding="utf-8"))
    except (SyntaxError, UnicodeDecodeError, OSError) as error:
        return f"({error})" if argument == "question" else None
    for node in ast.walk(tree):
        if isinstance(node, ast.keyword) and node.arg == argument:
            try:
                return ast.literal_eval(node.value)
            except ValueError:
                break  # put together by code: only running the file would tell
    return None
