"""Studies: each asks one question in its own file, `studies/<name>.py`, which defines `STUDY`."""

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
    """The interface of trials for `configure`: one value for each axis, as from an Optuna trial."""

    @property
    def recipe(self) -> str:
        """The recipe selected by `--recipe`; empty for a study without `recipes`."""

    @property
    def cost(self) -> str:
        """The study's `cost`; empty if the search is for the metric alone."""

    def suggest_categorical(self, name: str, choices: Sequence[_C]) -> _C: ...

    def suggest_float(self, name: str, low: float, high: float, *, log: bool = False) -> float:
        """A number with three significant digits; only a search can sample from a range."""

    def suggest_int(self, name: str, low: int, high: int, *, step: int = 1, log: bool = False) -> int:
        """A whole number, both ends included; only a search can sample from a range."""


@dataclass(frozen=True, kw_only=True)
class Claim:
    """A published claim that a study tests; see `workbench.answer.verdicts` for the verdict."""

    text: str
    """The claim in words."""
    arm: Mapping[str, Choice]
    """The cell it is about, given by its axes; it is compared with the study's baseline."""
    metric: str
    """Metric of a run, such as `cost/video_gflops_per_clip`, or of a task; on test if no split is named."""
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
    another, each with seed 0: by TPE for the metric alone, with pruning of poor trials, or, with a `cost`,
    by TPE or NSGA-II for the Pareto front, without pruning.
    """

    question: str
    """The question, as shown in listings and reports."""
    configure: Callable[[Trial], RunConfig]
    """Returns the cell for the choices of a trial; nothing else varies. An axis may
    depend on the choice of another one; equal cells count once."""
    metric: str = "t2v_r1"
    """Metric of a task, without a split: cells are selected by `val/<metric>` and reported by
    `test/<metric>`. On other data (`RunConfig.evaluate_on`) it is `NAME:metric`, such as `msrvtt:t2v_r1`."""
    direction: Literal["", "maximize", "minimize"] = ""
    """Whether larger or smaller is better; empty is replaced by the metric's own direction."""
    mode: Literal["ablation", "search"] = "ablation"
    """Whether every cell runs with every seed (`ablation`) or Optuna proposes cells (`search`)."""
    trials: int = 40
    """Number of trials of a search; `--trials` overrides it."""
    sampler: Literal["tpe", "nsga2"] = "tpe"
    """Algorithm that proposes the trials of a search."""
    cost: str = ""
    """Metric that a search minimises beside its main metric, such as `cost/train_pflops`."""
    says: Mapping[str, str] = field(default_factory=dict)
    """Axis -> wording of its choices, such as `{share} video hidden`, see `workbench.naming`."""
    baseline: Mapping[str, Choice] = field(default_factory=dict)
    """The cell that the others are compared with, given by its axes."""
    within: tuple[str, ...] = ()
    """Axes whose values are not compared with each other, such as budgets. Each cell is compared with the
    baseline that has the same choices of these axes; `baseline` names the other axes only."""
    over: str = ""
    """An axis in `within` whose values are budgets, from small to large: answers then contain a curve over it
    for each choice of the other axes, and where curves cross, see `workbench.stats.scaling`."""
    seeds: tuple[int, ...] = (0,)
    """Seeds of every cell."""
    reads: tuple[str, ...] = (
        "cost/train_pflops",
        "cost/train_gflops_per_clip",
        "speed/clips_per_s",
        "train/steps",
    )
    """Further metrics that reports show beside the main one."""
    claims: tuple[Claim, ...] = ()
    """Published claims that get a verdict."""
    contrasts: tuple[Contrast, ...] = ()
    """Registered differences in the order of the tests; if there are any, only they can be claims."""
    collapse: float | None = None
    """Runs whose `val/<metric>` is not better than this have collapsed and are left out of the tests, which
    are then about the other runs. It must be fixed before any run; None leaves no run out."""
    looks: Mapping[int, float] = field(default_factory=dict)
    """Planned interim looks: number of seeds -> share of the 5 % that the look may spend, as in
    {3: 0.01, 5: 0.015, 8: 0.025}. With any other number of seeds nothing is claimed."""
    recipes: tuple[str, ...] = ()
    """Values of `--recipe`, which `configure` reads as `trial.recipe`; the first is the default. With another
    one the study is a separate study, see `with_recipe`."""
    recipe: str = ""
    """The selected recipe; set by `with_recipe`."""
    by_recipe: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """Recipe -> fields of the study that differ under it, such as metric and contrasts; for the default
    recipe the fields of the study apply."""
    smoke: Callable[[RunConfig], RunConfig] = smoke
    """Shrinks a cell so that the whole path can be tested in seconds (`--smoke`)."""
    name: str = ""
    """Name of the file, set by `load`; the recipe is appended if it is not the default."""

    @property
    def fixed_rules(self) -> dict[str, Any]:
        """The rules about collapse and looks that are fixed in advance, as written to `study.json`."""
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

            Looks(self.looks)  # raises an error for an invalid plan of looks
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
    """Whether a metric, named with its split, is measured by a task."""
    parts = score(full)
    return parts is not None and "/" not in parts.name and parts.name in metrics()


def load(name: str) -> Study:
    """The study of that name. Raises `UserError`, which lists the available ones, for an unknown name."""
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
    sys.modules[spec.name] = module  # dataclasses in the file look up their module
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
    """The study under another of its recipes: the same question with its own runs, ledger and report.

    Contrasts are registered for the default recipe, from its pilot runs; another recipe may have other
    choices, and its cells are compared one by one, unless `by_recipe` registers contrasts for it.
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
    """The search for the metric alone, with pruning, as a separate study beside the search for the front."""
    if not study.cost:
        allowed = ", ".join(name for name, file in find().items() if _written(file, "cost"))
        raise UserError(f"study {study.name} has no Pareto front to leave out; --single is for {allowed}")
    question = f"{study.question} Here: the best {study.metric} alone."
    return replace(study, name=f"{study.name}-single", question=question, cost="", sampler="tpe")


def find() -> dict[str, Path]:
    """Names and files of all studies, first those in the user's own folders, then those of this project."""
    folders = (*extensions.folders("studies"), ours("studies"))
    found = {
        file.stem: file
        for folder in reversed(folders)
        for file in folder.glob("*.py")
        if not file.stem.startswith("_")
    }
    return dict(sorted(found.items()))


def questions() -> dict[str, str]:
    """Every study's question, read without running its file, so that listing does not import torch."""
    return {
        name: str(_written(file, "question") or "(no question written out in the file)")
        for name, file in find().items()
    }


def _with_recipes() -> dict[str, tuple[str, ...]]:
    """The studies that take `--recipe`, and the recipes of each."""
    return {name: found for name, file in find().items() if (found := _written(file, "recipes"))}


def _written(file: Path, argument: str) -> Any:
    """The value of an argument in a study file, read without running the file; None if it is not given."""
    try:
        tree = ast.parse(file.read_text(encoding="utf-8"))
    except (SyntaxError, UnicodeDecodeError, OSError) as error:
        return f"({error})" if argument == "question" else None
    for node in ast.walk(tree):
        if isinstance(node, ast.keyword) and node.arg == argument:
            try:
                return ast.literal_eval(node.value)
            except ValueError:
                break  # computed by code, so only running the file would give it
    return None
