"""A study: one question, asked in a file of its own, `studies/<name>.py`, which exposes `STUDY`."""

from __future__ import annotations

import ast
import importlib.util
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal, Protocol, TypeVar

import workbench.config
from workbench.config import RunConfig
from workbench.errors import UserError
from workbench.tracking.files import check_name

Choice = None | bool | int | float | str
_C = TypeVar("_C", bound=Choice)


class Trial(Protocol):
    """What `configure` may ask for: one value of each axis, as from an Optuna trial."""

    def suggest_categorical(self, name: str, choices: Sequence[_C]) -> _C: ...


@dataclass(frozen=True, kw_only=True)
class Claim:
    """Something published that a study puts to the test; see `workbench.report.claims` for the verdict."""

    text: str
    """The claim in words."""
    arm: Mapping[str, Choice]
    """The cell it is about, given by its axes; it is compared with the study's baseline."""
    metric: str
    """Full name, such as `cost/video_gflops_per_clip`; a metric without a split is read on test."""
    figure: Literal["saved", "times", "difference"]
    """`saved`: percent less than the baseline; `times`: how many times the baseline; `difference`: arm
    minus baseline, in the metric's units."""
    paper: str
    """The published figure."""
    at_least: float
    """The claim holds when the whole interval of the figure is at or above this."""


@dataclass(frozen=True, kw_only=True)
class Study:
    """One question and the runs that answer it. Every cell runs with every seed."""

    question: str
    configure: Callable[[Trial], RunConfig]
    """Returns the cell for the choices of a trial; the only place where something varies. An axis may
    depend on the choice of another one; cells that come out the same count once."""
    metric: str = "t2v_r1"
    """Named without a split: cells are selected by `val/<metric>` and reported by `test/<metric>`."""
    direction: Literal["maximize", "minimize"] = "maximize"
    baseline: Mapping[str, Choice] = field(default_factory=dict)
    """The cell that the others are compared with, given by its axes."""
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
    smoke: Callable[[RunConfig], RunConfig] = workbench.config.smoke
    """Makes a cell small enough to try the whole path in seconds (`--smoke`)."""
    name: str = ""
    """Name of the file; set by `load`."""

    def __post_init__(self) -> None:
        if self.direction not in ("maximize", "minimize"):
            raise UserError(f"a direction is maximize or minimize, not {self.direction!r}")
        if "/" in self.metric:
            raise UserError(f"a study's metric has no split: {self.metric!r} should be like t2v_r1")
        if not self.seeds or len(set(self.seeds)) < len(self.seeds):
            raise UserError(f"seeds are one or more different numbers, not {self.seeds!r}")


def load(name: str) -> Study:
    """The study of that name; `UserError` lists those that exist when there is none."""
    files = find()
    if name not in files:
        known = ", ".join(files) or "none in ./studies"
        shown = name if len(name) <= 40 else name[:40] + "..."
        raise UserError(f"no study {shown!r}; there are {known}")
    check_name(name, "study name")
    spec = importlib.util.spec_from_file_location(f"studies.{name}", files[name])
    assert spec is not None, files[name]
    assert spec.loader is not None, files[name]
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses of the file look their module up
    spec.loader.exec_module(module)
    study = getattr(module, "STUDY", None)
    if not isinstance(study, Study):
        raise UserError(f"{files[name]} should expose STUDY, a workbench.study.spec.Study")
    return replace(study, name=name)


def find() -> dict[str, Path]:
    """Names and files of all studies: in `./studies` and beside the package, the former first."""
    folders = (Path.cwd() / "studies", Path(__file__).parents[2] / "studies")
    found = {
        file.stem: file
        for folder in reversed(folders)
        for file in folder.glob("*.py")
        if not file.stem.startswith("_")
    }
    return dict(sorted(found.items()))


def questions() -> dict[str, str]:
    """Every study's question, read without running its file, so that listing imports no torch."""
    return {name: _question(file) for name, file in find().items()}


def _question(file: Path) -> str:
    try:
        tree = ast.parse(file.read_text(encoding="utf-8"))
    except (SyntaxError, UnicodeDecodeError, OSError) as error:
        return f"({error})"
    for node in ast.walk(tree):
        if isinstance(node, ast.keyword) and node.arg == "question":
            try:
                return str(ast.literal_eval(node.value))
            except ValueError:
                break  # put together by code: only running the file would tell
    return "(no question written out in the file)"
