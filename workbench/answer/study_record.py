"""The question of a study, read from its `study.json`; neither the study file nor torch is needed."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from workbench import naming, tasks
from workbench.errors import UserError
from workbench.metrics import Metric
from workbench.naming import PLAIN, Value
from workbench.tracking.files import check_name, slug


@dataclass(frozen=True, kw_only=True)
class StudyRecord:
    """A study's question with its cells."""

    name: str
    question: str
    metric: str
    """Metric without a split: cells are selected on `val/<metric>` and reported as `test/<metric>`."""
    maximize: bool
    axes: tuple[str, ...]
    baseline: str | None
    """Key of a cell."""
    seeds: tuple[int, ...]
    reads: tuple[str, ...]
    claims: tuple[Mapping[str, Any], ...]
    """Fields of `workbench.study.spec.Claim`."""
    smoke: bool
    plan: str
    labels: Mapping[str, str]
    """Key of each cell -> its label; the order is that of the plan."""
    cells: Mapping[str, Mapping[str, Value]]
    """Key of each cell -> its axes."""

    says: Mapping[str, str] = field(default_factory=dict)
    """Axis -> wording of its choices, see `workbench.naming`."""
    contrasts: tuple[Mapping[str, Any], ...] = ()
    """Registered contrasts in their order: `text`, and for `of` and `against` the keys of their `cells` and
    the `axes` that name them."""
    exploring: bool = False
    """Whether nothing is claimed: a smoke test, a study with registered contrasts, seen by another metric or
    in groups, one with planned looks, seen with other numbers of seeds, or one whose tests were changed after
    its answer had been seen."""
    collapse: float | None = None
    """Runs whose metric on val is not better than this have collapsed and are left out of the tests."""
    looks: Mapping[int, float] = field(default_factory=dict)
    """Planned looks: number of seeds -> share of the 5 % that the look may spend; empty without a plan."""
    within: tuple[str, ...] = ()
    """Axes that separate comparisons, see `workbench.study.spec.Study`; `baseline` is then one of several."""
    over: str = ""
    """The axis in `within` whose values are budgets, over which other choices have curves; empty if none."""
    cost: str = ""
    """The metric that a search for a Pareto front minimises."""
    trials: int = 0
    """Number of trials of a search; 0 for a study that runs every cell."""
    importances: tuple[Mapping[str, Any], ...] = ()
    """Importances after a search, see `workbench.study.importance`: axis, share, low, high."""
    optuna: str = ""
    """Version of Optuna in a search; empty if it was not recorded."""
    note: str = ""
    """In the confirmation of a search: how its cells were chosen, and the seeds not used for that."""
    studies: tuple[str, ...] = ()
    """Names of the studies of a joint answer, see `workbench.answer.joint`."""
    arguments: tuple[str, ...] = ()
    """Arguments of the command that made the plan; empty if they were not recorded."""

    @property
    def measure(self) -> Metric:
        """The metric on test: label, unit, range and queries. The study defines the direction."""
        return tasks.metric(f"test/{self.metric}")

    def base_of(self, key: str) -> str | None:
        """The cell that a cell is compared with: the baseline's choices, in the cell's own stratum."""
        if self.baseline is None or not self.within:
            return self.baseline
        wanted = self._split(self.baseline)[1], self._split(key)[0]
        return next((other for other in self.cells if self._split(other)[::-1] == wanted), None)

    @property
    def bases(self) -> tuple[str, ...]:
        """Keys of all baselines, in the order of the plan."""
        if self.baseline is None or not self.within:
            return () if self.baseline is None else (self.baseline,)
        return tuple(base for base in dict.fromkeys(map(self.base_of, self.cells)) if base is not None)

    @property
    def registered(self) -> bool:
        """Whether only registered contrasts can be claims."""
        return bool(self.contrasts) or self.exploring

    @property
    def against(self) -> str:
        """The baseline in words."""
        assert self.baseline is not None
        if not self.within:
            return self.labels[self.baseline]
        return f"{self.choice(self.baseline)} of the same {self.separating}"

    @property
    def separating(self) -> str:
        """The axes that separate comparisons, in words; equal names appear once."""
        *names, last = dict.fromkeys(naming.axis(axis, self.says) for axis in self.within)
        return f"{', '.join(names)} and {last}" if names else last

    def stratum(self, key: str) -> str:
        """The stratum of a cell: its choices of the axes `within`, as in `unit=steps times=2`."""
        return naming.cell(self._split(key)[0], self.says)

    def choice(self, key: str) -> str:
        """A cell's choices of all other axes, as in `ratio=0.9`."""
        return naming.cell(self._split(key)[1], self.says) or self.labels[key]

    def _split(self, key: str) -> tuple[dict[str, Value], dict[str, Value]]:
        """A cell's axes: those of `within`, and the others."""
        axes = self.cells[key]
        inside = {axis: value for axis, value in axes.items() if axis in self.within}
        return inside, {axis: value for axis, value in axes.items() if axis not in self.within}

    @property
    def report(self) -> str:
        """Name of the report: the study's name, and the options that differ from the study's own."""
        parts = [] if self.plan == PLAIN else [slug(self.plan)]
        if self.smoke and not self.plan.startswith("smoke"):
            parts.insert(0, "smoke")
        return "-".join([self.name, *parts])

    @property
    def search(self) -> bool:
        """Whether the study is a search, whose cells are proposed."""
        return self.trials > 0

    @property
    def expected(self) -> int:
        """Number of planned runs."""
        return self.trials or len(self.cells) * len(self.seeds)

    @property
    def command(self) -> str:
        """The command that runs the missing runs of this study."""
        if self.arguments:
            return shlex.join(["python", "-m", "workbench.study", *self.arguments])
        return command(self.name) + (" --smoke" if self.smoke else "")

    @staticmethod
    def of(description: Mapping[str, Any]) -> StudyRecord:
        """A record from the content of `study.json` (`Plan.description()`)."""
        cells = description["cells"]
        return StudyRecord(
            name=str(description["study"]),
            question=str(description["question"]),
            metric=str(description["metric"]),
            maximize=description["direction"] == "maximize",
            axes=tuple(description["axes"]),
            says=description.get("says", {}),
            baseline=description["baseline"],
            within=tuple(description.get("within", ())),
            over=str(description.get("over", "")),
            seeds=tuple(description["seeds"]),
            reads=tuple(description["reads"]),
            claims=tuple(description.get("claims", ())),
            contrasts=tuple(description.get("contrasts", ())),
            collapse=description.get("collapse"),
            looks={int(seeds): float(alpha) for seeds, alpha in description.get("looks", {}).items()},
            smoke=bool(description["smoke"]),
            plan=str(description["plan"]),
            labels={cell["key"]: cell["cell"] for cell in cells},
            cost=str(description.get("cost", "")),
            trials=int(description.get("trials", 0)),
            importances=tuple((description.get("importances") or {}).get("axes", ())),
            note=str(description.get("note", "")),
            optuna=str(description.get("optuna", "")),
            arguments=tuple(map(str, description.get("arguments", ()))),
            cells={cell["key"]: cell["axes"] for cell in cells},
        )


def command(study: str) -> str:
    """What runs a study, given the name of its runs: `NAME`, `NAME-RECIPE`, `NAME-single`, `NAME-confirm`."""
    name, *how = study.split("-")
    known = {"single": " --single", "confirm": " --confirm 3"}
    options = [known.get(word, f" --recipe {word}") for word in how]
    return f"python -m workbench.study {name}{''.join(options)}"


def load(results: Path, study: str) -> StudyRecord:
    """The record of a study's latest plan. Raises `UserError`, which names the command that makes one."""
    path = results / "runs" / check_name(study, "study name") / "study.json"
    try:
        return _read(path, study)
    except (FileNotFoundError, NotADirectoryError) as error:
        if any(path.parent.glob("*/run.json")):
            raise UserError(
                f"the runs of study {study!r} in {results} have no study.json, which says what was asked; "
                f"`{command(study)}` with the options of that time writes it anew"
            ) from error
        for asked in (results / "runs").glob("*/asked-*.json"):
            if study == f"{asked.parent.name}-{asked.stem.removeprefix('asked-')}":
                raise UserError(
                    f"{study!r} is how a report is called; its study is {asked.parent.name}, asked "
                    f"{_plan(asked)!r} (--asked)"
                ) from error
        raise UserError(
            f"there are no runs of study {study!r} in {results}; "
            f"`{command(study)}` makes them{_others(results)}"
        ) from error


def load_asked(results: Path, study: str, plan: str = "") -> tuple[StudyRecord, tuple[str, ...]]:
    """The record of one plan of a study, and the names of its other plans.

    plan: its name in reports, such as `budget 2x`; empty for the study's own plan, or else for the latest.
    """
    last = load(results, study)
    folder = results / "runs" / study
    known = {_plan(path): path for path in sorted(folder.glob("asked-*.json"))}
    known[last.plan] = folder / "study.json"  # also if an earlier version wrote it
    wanted = plan or (PLAIN if PLAIN in known else last.plan)
    if wanted not in known:
        raise UserError(
            f"study {study!r} was not asked {plan!r}; --asked is one of {', '.join(map(repr, known))}"
        )
    return _read(known[wanted], study), tuple(one for one in known if one != wanted)


def smoke_cells(results: Path, study: str) -> frozenset[str]:
    """Keys of the cells that only smoke tests have planned, by the records of the plans.

    A smoke test does not replace the record of the real plan, so its runs may be beside real ones.
    """
    small, real = set[str](), set[str]()
    folder = results / "runs" / study
    for path in (folder / "study.json", *folder.glob("asked-*.json")):
        try:
            description = json.loads(path.read_text(encoding="utf-8"))
            keys = {cell["key"] for cell in description["cells"]}
            (small if description["smoke"] else real).update(keys)
        except (OSError, ValueError, TypeError, KeyError):
            continue  # the cells of a damaged record are unknown; its runs have no mark
    return frozenset(small - real)


def _plan(path: Path) -> str:
    """The plan in a file; the file's name if it is damaged, so that other plans can be selected."""
    try:
        return str(json.loads(path.read_text(encoding="utf-8"))["plan"])
    except (ValueError, TypeError, KeyError):
        return path.stem.removeprefix("asked-")


def _read(path: Path, study: str) -> StudyRecord:
    """A record. Raises `UserError` for one that is damaged or of another version."""
    try:
        return StudyRecord.of({"study": study} | json.loads(path.read_text(encoding="utf-8")))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise UserError(f"{path} is not readable JSON: {error}") from error
    except (KeyError, TypeError, AttributeError) as error:
        raise UserError(f"{path} is of another version; `{command(study)}` writes it anew") from error


def _others(results: Path) -> str:
    known = sorted(path.parent.name for path in (results / "runs").glob("*/study.json"))
    return f" (there are runs of {', '.join(known)})" if known else ""
