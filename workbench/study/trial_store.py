"""The trials of one Optuna study as the ledger moves them: found by run, set, told, put back."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Iterable
from contextlib import suppress

import optuna
from optuna.exceptions import UpdateFinishedTrialError
from optuna.storages import RDBStorage
from optuna.trial import FrozenTrial, TrialState

from workbench.study.outcome import Outcome
from workbench.study.storage import explained

Identity = tuple[str, int]
"""Key of the cell, and seed."""


class Trials:
    """What `Ledger` asks of Optuna. Where a trial was settled by somebody else, that word stands."""

    name: str
    address: str
    shared: bool
    _storage: RDBStorage
    _study: optuna.Study
    _beaten: float

    def _trials(self) -> defaultdict[Identity, list[FrozenTrial]]:
        found: defaultdict[Identity, list[FrozenTrial]] = defaultdict(list)
        for trial in self._study.get_trials(deepcopy=False):
            key, seed = trial.user_attrs.get("key"), trial.user_attrs.get("seed")
            if isinstance(key, str) and isinstance(seed, int):  # else: not one of ours
                found[key, seed].append(trial)
        return found

    def _of(self, identity: Identity) -> list[FrozenTrial]:
        return self._trials()[identity]

    def _queued(self, identity: Identity) -> list[int]:
        return [t.number for t in self._of(identity) if t.state == TrialState.WAITING]

    def _close(self, numbers: Iterable[int], failure: str, reason: str) -> None:
        for number in numbers:
            self._tell(number, Outcome(state="failed", failure=failure, reason=reason))

    def _tell(self, number: int, outcome: Outcome) -> None:
        notes = dict(outcome.notes or {}) | {"settled": time.time()}
        if outcome.failure:
            notes |= {"failure": outcome.failure, "reason": outcome.reason}
        state = {"complete": TrialState.COMPLETE, "pruned": TrialState.PRUNED}.get(
            outcome.state, TrialState.FAIL
        )
        values = [v for v in (outcome.value, outcome.cost) if v is not None]
        # Where another machine took this trial for dead and settled it, its word stands.
        with suppress(UpdateFinishedTrialError):
            for name, value in notes.items():
                self._storage.set_trial_user_attr(self._trial_id(number), name, value)
            self._study.tell(number, values or None, state=state, skip_if_finished=True)

    def _live_trial(self, number: int) -> optuna.trial.Trial:
        return optuna.trial.Trial(self._study, self._trial_id(number))

    def _beat(self, number: int) -> None:
        if self.shared:
            self._storage.record_heartbeat(self._trial_id(number))
        self._beaten = time.monotonic()

    def _set_state(self, number: int, state: TrialState) -> bool:
        """False where somebody else was quicker, be it that they have settled the trial already."""
        try:
            return self._storage.set_trial_state_values(self._trial_id(number), state)
        except UpdateFinishedTrialError:
            return False

    def _trial_id(self, number: int) -> int:
        study = self._storage.get_study_id_from_name(self.name)
        return self._storage.get_trial_id_from_study_id_trial_number(study, number)

    def _put_back(self, number: int) -> None:
        """Into the queue, with nothing on it of who had it: the next one may be another machine.

        It sets its own place a moment after it has set the trial RUNNING; in that moment we would find our
        place on it and our lock free, and take it for lost.
        """
        # Another machine may have taken the trial for dead: then it is in the queue already.
        with suppress(UpdateFinishedTrialError):
            for name in ("place", "token"):
                self._storage.set_trial_user_attr(self._trial_id(number), name, "")
            self._set_state(number, TrialState.WAITING)

    def _failed(self) -> frozenset[int]:
        """Trials that had failed by now."""
        with explained(self.address):
            trials = self._study.get_trials(deepcopy=False)
        return frozenset(trial.number for trial in trials if trial.state == TrialState.FAIL)
