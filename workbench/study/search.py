"""The ledger of a search: Optuna proposes cells one after another, knowing how the others did.

The history in the storage is all there is to a search: who proposes the n-th trial is seeded by the study's
name and n, so a search that was stopped goes on as one that was not. A run that lags behind the median of the
others at equal FLOPs is stopped (pruned), but never where a Pareto front is searched for: Optuna has no
pruning there, since what is bad may be cheap.
"""

from __future__ import annotations

import secrets
import zlib
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.exceptions import UpdateFinishedTrialError
from optuna.trial import FrozenTrial, TrialState

from workbench.errors import UserError
from workbench.study.cells.build import Builder, Cell
from workbench.study.description import describe
from workbench.study.importance import importances
from workbench.study.ledger import Ledger
from workbench.study.outcome import Entry, Lease
from workbench.study.plan import Plan, Run
from workbench.study.spec import Choice
from workbench.study.storage import retried
from workbench.study.trials import Asking, Levels, Mismatch, Range, Replay
from workbench.tracking.files import wait_for_lock
from workbench.tracking.run_dir import RunDir

STARTUP_TRIALS = 10
"""Number of random trials before the sampler begins to learn."""
POPULATION = 10
"""Population of NSGA-II, since searches have tens of trials here, not thousands."""
PRUNING_NEEDS = 5
"""Number of complete trials before one may be pruned."""
MAX_PROPOSALS = 50
"""Number of consecutive proposals without a new cell after which the search is exhausted."""
MARK_TOLERANCE = 0.1
"""How far, in shares of the distance between two marks, an evaluation may lie from a mark."""
_C = TypeVar("_C", bound=Choice)


def open_ledger(
    plan: Plan, results: Path, storage: str = "", *, retry: bool = False, looking: bool = False
) -> Ledger:
    """The ledger of an ablation or of a search."""
    kind = Ledger if plan.space is None else SearchLedger
    return kind(plan, results, storage, retry=retry, looking=looking)


class SearchLedger(Ledger):
    """Of its plan's cells it learns from the storage."""

    def __init__(
        self, plan: Plan, results: Path, storage: str = "", *, retry: bool = False, looking: bool = False
    ) -> None:
        super().__init__(plan, results, storage, retry=retry, looking=looking)
        self._build = Builder(plan.study, plan.options, plan.root)
        self._mismatched: set[str] = set()
        self._study.pruner = optuna.pruners.MedianPruner(
            n_startup_trials=PRUNING_NEEDS, n_warmup_steps=0, interval_steps=1, n_min_trials=PRUNING_NEEDS
        )
        self._load_new_cells()

    @retried
    def entries(self) -> list[Entry]:
        self._load_new_cells()
        return super().entries()

    @retried
    def reconcile(self) -> list[str]:
        self._load_new_cells()
        return super().reconcile() + self._import_records()

    @retried
    def enqueue(self) -> int:
        """Proposes a cell where nothing waits and there are too few; as many may fail and be replaced."""
        with wait_for_lock(self.folder / ".queue.lock"):
            entries = self.entries()
            missing = [entry for entry in entries if entry.state == "missing"]
            for entry in missing:  # failed, but not for good
                self._enqueue(entry.run, entry.attempts + 1)
            failed = sum(entry.state == "failed" for entry in entries)
            waiting = any(entry.state == "waiting" for entry in entries)
            wanted = len(entries) - failed < self.plan.trials and failed < self.plan.trials
            if missing or waiting or not wanted or self.exhausted:
                return len(missing)
            self.exhausted = not self._propose()
            self._load_new_cells()
        describe(self.plan, self.results)
        return int(not self.exhausted)

    def importances(self) -> dict[str, Any] | None:
        mine = {cell.key for cell in self.plan.cells}
        trials = [t for t in self._study.get_trials(deepcopy=False) if t.user_attrs.get("key") in mine]
        return importances(trials, self._study.directions)

    def should_prune(self, lease: Lease) -> bool:
        """Tells Optuna what is known of a run by now, and asks whether that is below the median."""
        if self.plan.study.cost or (distance := self._distance()) is None:
            return False
        try:
            return self._lags(lease, distance)
        except UpdateFinishedTrialError:  # another machine took the run for dead
            return False

    @retried
    def _lags(self, lease: Lease, distance: float) -> bool:
        total = _pflops(lease.run.cell)
        trial = self._frozen(lease.trial)
        new = False
        for row in lease.directory.read_metrics().rows:
            value, pflops = row.get(f"val/{self.plan.study.metric}"), row.get("pflops", 0.0)
            mark = round(pflops / distance)
            if value is None or mark < 1 or abs(pflops / distance - mark) > MARK_TOLERANCE:
                continue
            if mark not in trial.intermediate_values:
                self._storage.set_trial_intermediate_value(trial._trial_id, mark, float(value))
                new = total is not None and pflops < total * 0.999  # the last one comes with the end
        return new and self._study.pruner.prune(self._study, self._frozen(lease.trial))

    # Inside

    def _load_new_cells(self) -> None:
        """Adds the cells of trials that were proposed since the last look, also by other processes."""
        known = {cell.key for cell in self.plan.cells} | self._mismatched
        new = []
        for (key, _), trials in self._trials().items():
            if key in known:
                continue
            if (cell := self._replay(trials[0].user_attrs["axes"], key)) is not None:
                new.append(cell)
            else:  # proposed by an earlier study file
                self._mismatched.add(key)
        if new:
            self.plan = replace(self.plan, cells=(*self.plan.cells, *new))

    def _replay(self, axes: dict[str, Choice], key: str) -> Cell | None:
        study = self.plan.study
        try:
            config = Replay(axes, study.recipe, study.cost).ask(study.configure)
        except Mismatch:
            return None
        cell = self._build.cell(axes, config)
        return cell if cell.key == key else None

    def _propose(self) -> bool:
        """One new cell, waiting to be run; False when all that comes was tried before."""
        known = {key for key, _ in self._trials()}
        for attempt in range(MAX_PROPOSALS):
            number = len(self._study.get_trials(deepcopy=False))
            # A sampler that has found its favourite proposes it again and again: then chance decides.
            self._study.sampler = self._sampler(number) if not attempt else _random_sampler(self.name, number)
            trial = self._new_trial()
            asked = _Proposed(trial, self.plan.study.recipe, self.plan.study.cost)
            try:
                cell = self._build.cell(asked.axes, asked.ask(self.plan.study.configure))
            except (UserError, ValueError) as error:
                self._give_up(trial.number)
                if isinstance(error, UserError):
                    raise
                raise UserError(
                    f"Optuna cannot go on with study {self.name}: {error}; the choices of an axis cannot "
                    "change in mid-search: give the study file another name, or --results another folder"
                ) from error
            if cell.key in known:
                self._give_up(trial.number)
                continue
            for name, value in self._attributes(Run(cell=cell, seed=0), 1).items():
                trial.set_user_attr(name, value)
            return True
        return False

    def _new_trial(self) -> optuna.trial.Trial:
        """A trial that waits and is none of ours until it has a key; `Study.ask` would take a waiting one."""
        token = secrets.token_hex(8)
        self._study.add_trial(
            optuna.trial.create_trial(state=TrialState.WAITING, user_attrs={"proposal": token})
        )
        trials = self._study.get_trials(deepcopy=False)
        [number] = [t.number for t in trials if t.user_attrs.get("proposal") == token]
        return self._live_trial(number)

    def _give_up(self, number: int) -> None:
        if self._set_state(number, TrialState.RUNNING):
            self._close([number], "duplicate", "was proposed before")

    def _sampler(self, number: int) -> optuna.samplers.BaseSampler:
        """Arguments are written out: their defaults changed between Optuna 4.9 and 5. Those left out are on
        their way out of Optuna, which warns of whoever gives them."""
        seed = _seed(self.name, number)
        if self.plan.study.sampler == "nsga2":
            return optuna.samplers.NSGAIISampler(
                population_size=POPULATION,
                mutation_prob=None,  # one parameter of each child on the average
                crossover=optuna.samplers.nsgaii.UniformCrossover(swapping_prob=0.5),
                crossover_prob=0.9,
                seed=seed,
            )
        return optuna.samplers.TPESampler(
            n_startup_trials=STARTUP_TRIALS,
            n_ei_candidates=24,
            multivariate=not self.plan.study.cost,
            group=False,
            constant_liar=True,
            seed=seed,
        )

    def _enqueue(self, run: Run, attempt: int) -> None:
        """The same proposal once more, after a failure."""
        first = self._frozen(self._of((run.cell.key, run.seed))[0].number)
        self._study.add_trial(
            optuna.trial.create_trial(
                state=TrialState.WAITING,
                params=first.params,
                distributions=first.distributions,
                user_attrs=self._attributes(run, attempt),
                system_attrs=first.system_attrs,
            )
        )

    def _record_params(self, number: int, run: Run) -> None:
        """They are recorded when a cell is proposed."""

    def _import_records(self) -> list[str]:
        """Enters completed run directories that the storage does not know, such as after its loss."""
        repairs = []
        with wait_for_lock(self.folder / ".queue.lock"):
            known = {key for key, _ in self._trials()}
            found = [RunDir(path.parent) for path in self.folder.glob("*/run.json")]
            lost = [d for d in found if self._of_search(d) and d.identity()["key"] not in known]
            for directory in sorted(lost, key=_started):
                outcome, identity = self.outcome(directory), directory.identity()
                cell = self._replay(identity["axes"], identity["key"])
                if outcome.state == "complete" and cell is not None:
                    self._study.add_trial(self._record(cell, outcome.value, outcome.cost))
                    repairs.append(f"{cell.label}: was complete, now entered")
        self._load_new_cells()
        return repairs

    def _of_search(self, directory: RunDir) -> bool:
        """Whether this is a record that a search could have made; a damaged one is left where it is."""
        try:
            complete = self.outcome(directory).state == "complete"
            return complete and directory.identity("key", "axes")["seed"] == 0
        except UserError:
            return False

    def _record(self, cell: Cell, value: float | None, cost: float | None) -> FrozenTrial:
        study = self.plan.study
        replay = Replay(cell.axes, study.recipe, study.cost)
        replay.ask(study.configure)
        return optuna.trial.create_trial(
            state=TrialState.COMPLETE,
            values=[v for v in (value, cost) if v is not None],
            params=cell.axes,
            distributions={name: _distribution(levels) for name, levels in replay.levels.items()},
            user_attrs=self._attributes(Run(cell=cell, seed=0), 1),
        )

    def _distance(self) -> float | None:
        """PFLOPs between two marks at which trials are compared; None where budgets are not in FLOPs."""
        assert self.plan.space is not None
        example = self.plan.space.examples[0]
        total = _pflops(example)
        return None if total is None else total / example.config.evaluations

    def _frozen(self, number: int) -> FrozenTrial:
        return self._storage.get_trial(self._trial_id(number))


class _Proposed(Asking):
    """Asks Optuna, and takes its numbers rounded."""

    def __init__(self, trial: optuna.trial.Trial, recipe: str, cost: str) -> None:
        super().__init__(recipe, cost)
        self.trial = trial

    def _choose(self, name: str, choices: tuple[_C, ...]) -> _C:  # type: ignore[override]
        return self.trial.suggest_categorical(name, choices)  # type: ignore[return-value]

    def _draw(self, name: str, span: Range) -> float:
        if span.step is None:
            return self.trial.suggest_float(name, span.low, span.high, log=span.log)
        return self.trial.suggest_int(name, int(span.low), int(span.high), step=span.step, log=span.log)


def _seed(name: str, number: int) -> int:
    return zlib.crc32(f"{name} {number}".encode())


def _random_sampler(name: str, number: int) -> optuna.samplers.BaseSampler:
    return optuna.samplers.RandomSampler(seed=_seed(name, number))


def _distribution(levels: Levels) -> BaseDistribution:
    if isinstance(levels, Range) and levels.step is not None:
        return IntDistribution(int(levels.low), int(levels.high), log=levels.log, step=levels.step)
    if isinstance(levels, Range):
        return FloatDistribution(levels.low, levels.high, log=levels.log)
    return CategoricalDistribution(levels)


def _pflops(cell: Cell) -> float | None:
    """Training PFLOPs that a cell's budgets ask for; None where one is in another unit."""
    budgets = [stage.budget for stage in cell.config.stages]
    if any(budget.unit != "pflops" for budget in budgets):
        return None
    return sum(budget.amount for budget in budgets)


def _started(directory: RunDir) -> float:
    status = directory.status()
    return status.started if status is not None else 0.0
