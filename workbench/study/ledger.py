"""The ledger of a study: Optuna's storage knows what is done, running, waiting and failed.

A run is a trial; a trial is *claimed* by taking the lock of its run
directory and setting it RUNNING, and *settled* once. On one machine (SQLite) the lock is the authority on
whether a RUNNING trial is alive; between machines (PostgreSQL) it is Optuna's heartbeat.
"""

from __future__ import annotations

import secrets
import socket
import time
from collections import defaultdict
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution
from optuna.exceptions import UpdateFinishedTrialError
from optuna.storages import fail_stale_trials
from optuna.trial import FrozenTrial, TrialState

from workbench.addresses import sqlite
from workbench.study.outcome import ATTEMPTS, Claim, Entry, Outcome, completed, read_outcome
from workbench.study.plan import Plan, Run
from workbench.study.spec import Choice
from workbench.study.storage import is_shared, open_study, record_param
from workbench.tracking.files import Lock, wait_for_lock
from workbench.tracking.run_dir import RunDir


class Ledger:
    """The trials of one study. Opening it creates the storage and the Optuna study when missing."""

    def __init__(self, plan: Plan, results: Path, storage: str = "", retry: bool = False) -> None:
        self.plan = plan
        self.results = results
        self.folder = results / "runs" / plan.study.name
        self.address = storage or sqlite(results / "optuna.db")
        self.shared = is_shared(self.address)
        self._place = f"{socket.gethostname()}:{results.resolve()}"
        # Earlier failures are forgotten on request: they carry the mark of an earlier opening.
        self._forget_before = time.time() if retry else 0.0
        self.folder.mkdir(parents=True, exist_ok=True)
        with wait_for_lock(results / ".optuna.lock"):  # two first starts would both create the tables
            self._storage, self._study = open_study(self.address, plan.study, self.shared)

    # What there is

    def entries(self) -> list[Entry]:
        """The state of every run of the plan, in the plan's order."""
        trials = self._trials()
        return [self._entry(run, trials[run.cell.key, run.seed]) for run in self.plan.runs]

    def state(self, run: Run) -> str:
        """The state of one run."""
        return self._entry(run, self._of(run)).state

    def others(self) -> int:
        """Completed runs of this study that belong to other plans (another budget, data, ...)."""
        planned = {(run.cell.key, run.seed) for run in self.plan.runs}
        return sum(
            identity not in planned and any(t.state == TrialState.COMPLETE for t in trials)
            for identity, trials in self._trials().items()
        )

    def directory(self, run: Run) -> RunDir:
        return RunDir.of(self.results, self.plan.study.name, run.cell.key, run.seed)

    # What is to be done

    def reconcile(self) -> list[str]:
        """Brings trials and run directories into agreement; returns a sentence for each repair.

        Settles RUNNING trials whose process is gone, and takes over completed run directories that
        the storage does not know (a lost database, directories copied from another machine).
        """
        if self.shared:
            fail_stale_trials(self._study)
        repairs = []
        trials = self._trials()
        for run in self.plan.runs:
            states = {t.state for t in trials[run.cell.key, run.seed]}
            directory = self.directory(run)
            if TrialState.RUNNING not in states and (
                TrialState.COMPLETE in states or not completed(directory)
            ):
                continue
            if (lock := directory.try_lock()) is not None:  # else alive, in another process
                with lock:
                    repairs += self._repair(run)
        return repairs

    def enqueue(self) -> int:
        """Puts every run that is missing into the Optuna study's queue; returns how many."""
        with wait_for_lock(self.folder / ".queue.lock"):
            missing = [entry for entry in self.entries() if entry.state == "missing"]
            for entry in missing:
                self._enqueue(entry.run, entry.attempts + 1)
        return len(missing)

    def claim(self, run: Run) -> Claim | None:
        """The right to work on `run`, or None when it is done, given up, or in other hands."""
        directory = self.directory(run)
        if (lock := directory.try_lock()) is None:
            return None
        claim = None
        try:
            self._repair(run)
            claim = self._claim(run, directory, lock)
        finally:
            if claim is None:
                lock.release()
        return claim

    def beat(self, claim: Claim) -> None:
        """A sign of life for other machines; without effect on a storage of this machine."""
        self._beat(claim.trial)

    def settle(self, claim: Claim, outcome: Outcome) -> None:
        """Writes the outcome of a claimed run and lets go of it. Called once for each claim."""
        try:
            if outcome.state == "interrupted":
                # Another machine may have taken the trial for dead: then it is in the queue already.
                with suppress(UpdateFinishedTrialError):
                    self._set_state(claim.trial, TrialState.WAITING)
            else:
                self._tell(claim.trial, outcome)
        finally:
            claim.lock.release()

    # Inside

    def _trials(self) -> defaultdict[tuple[str, int], list[FrozenTrial]]:
        found: defaultdict[tuple[str, int], list[FrozenTrial]] = defaultdict(list)
        for trial in self._study.get_trials(deepcopy=False):
            key, seed = trial.user_attrs.get("key"), trial.user_attrs.get("seed")
            if isinstance(key, str) and isinstance(seed, int):  # else: not one of ours
                found[key, seed].append(trial)
        return found

    def _of(self, run: Run) -> list[FrozenTrial]:
        return self._trials()[run.cell.key, run.seed]

    def _claim(self, run: Run, directory: RunDir, lock: Lock) -> Claim | None:
        entry = self._entry(run, self._of(run))
        if entry.state not in ("waiting", "missing"):
            return None
        if entry.state == "missing":
            self._enqueue(run, entry.attempts + 1)
        number = min(t.number for t in self._of(run) if t.state == TrialState.WAITING)
        self._beat(number)  # first, since a RUNNING trial without a recent one is taken for dead
        if not self._set_state(number, TrialState.RUNNING):
            return None
        token = secrets.token_hex(8)
        attempt = entry.attempts + 1
        claim = Claim(run=run, directory=directory, lock=lock, trial=number, attempt=attempt, token=token)
        if self._second(claim):
            self._close([number], "duplicate", "ran on another machine")
            return None
        trial = self._live_trial(number)
        for name, value in {"token": token, "attempt": attempt, "place": self._place}.items():
            trial.set_user_attr(name, value)
        self._record_params(trial, run)
        return claim

    def _running(self, run: Run) -> list[FrozenTrial]:
        return [t for t in self._of(run) if t.state == TrialState.RUNNING and self._local(t)]

    def _local(self, trial: FrozenTrial) -> bool:
        """Whether the lock in our results folder tells if this RUNNING trial is alive."""
        return not self.shared or trial.user_attrs.get("place") == self._place

    def _entry(self, run: Run, trials: Iterable[FrozenTrial]) -> Entry:
        states = {trial.state for trial in trials}
        failed = [t for t in trials if t.state == TrialState.FAIL and self._counts(t)]
        reason = str(failed[-1].user_attrs.get("reason", "")) if failed else ""
        failures = [t.user_attrs.get("failure") for t in failed]
        if TrialState.COMPLETE in states and self._recorded(run):
            state = "complete"
        elif TrialState.RUNNING in states:
            state = "running"
        elif any(failures.count(kind) >= most for kind, most in ATTEMPTS.items()):
            state = "failed"
        elif TrialState.WAITING in states:
            state = "waiting"
        else:
            state = "missing"
        return Entry(run=run, state=state, attempts=len(failed), reason=reason)

    def _recorded(self, run: Run) -> bool:
        """Whether the record of a completed run still exists: deleting it asks for the run anew."""
        return self.shared or completed(self.directory(run))

    def _counts(self, trial: FrozenTrial) -> bool:
        """Lost with its study process, or stale: not the run's doing, so it costs no attempt."""
        settled = trial.user_attrs.get("settled", 0.0)
        return trial.user_attrs.get("failure") in ATTEMPTS and settled >= self._forget_before

    def _enqueue(self, run: Run, attempt: int) -> None:
        # The axes are an attribute as well, since Optuna refuses params whose choices have changed.
        attributes = {
            "key": run.cell.key,
            "seed": run.seed,
            "cell": run.cell.label,
            "axes": run.cell.axes,
            "attempt": attempt,
        }
        self._study.enqueue_trial(dict(run.cell.axes), user_attrs=attributes)

    def _distributions(self, run: Run) -> dict[str, BaseDistribution]:
        """Numbers as a range, so that a later study file may add choices; words as they are."""
        found: dict[str, BaseDistribution] = {}
        for name in run.cell.axes:
            choices = self._choices(name)
            numbers = [c for c in choices if isinstance(c, int | float) and not isinstance(c, bool)]
            if len(numbers) == len(choices):
                found[name] = FloatDistribution(min(numbers), max(numbers))
            else:
                found[name] = CategoricalDistribution(choices)
        return found

    def _choices(self, axis: str) -> list[Choice]:
        seen: list[Choice] = []
        for cell in self.plan.cells:
            for axes in (cell.axes, *cell.twins):
                if axis in axes and axes[axis] not in seen:
                    seen.append(axes[axis])
        return seen

    def _second(self, claim: Claim) -> bool:
        """Whether another machine has this run: of two claims the one with the lower number stays."""
        live = (TrialState.RUNNING, TrialState.COMPLETE)
        return self.shared and any(t.state in live and t.number < claim.trial for t in self._of(claim.run))

    def _repair(self, run: Run) -> list[str]:
        """Settles what a vanished process left behind; the caller holds the run's lock."""
        directory = self.directory(run)
        running = [trial.number for trial in self._running(run)]
        name = f"{run.cell.label} seed {run.seed}"
        if self._entry(run, self._of(run)).state == "complete":
            self._close(running, "duplicate", "completed by another attempt")
            return []
        outcome = read_outcome(directory, self.plan.study.metric)
        if outcome.state == "complete":
            self._adopt(run, running, outcome)
            return [f"{name}: was complete, now entered"]
        if not running:
            return []
        self._close(running, "lost", "its process is gone")
        status = directory.status()
        if status is not None and status.state == "running":
            directory.set_status("interrupted", reason="its process is gone", pid=0)
        return [f"{name}: its process is gone, back in the queue"]

    def _adopt(self, run: Run, running: list[int], outcome: Outcome) -> None:
        """Enters a run that completed without its study process, in a trial of its own if need be."""
        numbers = running or [t.number for t in self._of(run) if t.state == TrialState.WAITING]
        if not numbers:
            self._enqueue(run, 1)
            numbers = [t.number for t in self._of(run) if t.state == TrialState.WAITING]
        if running or self._set_state(numbers[0], TrialState.RUNNING):
            self._record_params(self._live_trial(numbers[0]), run)
            self._tell(numbers[0], outcome)
        self._close(running[1:], "duplicate", "completed by another attempt")

    def _close(self, numbers: Iterable[int], failure: str, reason: str) -> None:
        for number in numbers:
            self._tell(number, Outcome(state="failed", failure=failure, reason=reason))

    def _tell(self, number: int, outcome: Outcome) -> None:
        notes = dict(outcome.notes or {}) | {"settled": time.time()}
        if outcome.failure:
            notes |= {"failure": outcome.failure, "reason": outcome.reason}
        try:
            for name, value in notes.items():
                self._storage.set_trial_user_attr(self._trial_id(number), name, value)
        except UpdateFinishedTrialError:
            return  # another machine took this trial for dead and settled it: its word stands
        complete = outcome.state == "complete"
        self._study.tell(
            number,
            outcome.value if complete else None,
            state=TrialState.COMPLETE if complete else TrialState.FAIL,
            skip_if_finished=True,
        )

    def _record_params(self, trial: optuna.trial.Trial, run: Run) -> None:
        for name, distribution in self._distributions(run).items():
            record_param(trial, name, distribution)

    def _live_trial(self, number: int) -> optuna.trial.Trial:
        return optuna.trial.Trial(self._study, self._trial_id(number))

    def _beat(self, number: int) -> None:
        if self.shared:
            self._storage.record_heartbeat(self._trial_id(number))

    def _set_state(self, number: int, state: TrialState) -> bool:
        return self._storage.set_trial_state_values(self._trial_id(number), state)

    def _trial_id(self, number: int) -> int:
        study = self._storage.get_study_id_from_name(self.plan.study.name)
        return self._storage.get_trial_id_from_study_id_trial_number(study, number)
