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
OWNER = "place"
"""User attribute of a trial: which results folder of which machine its lease belongs to. The word is that of
the storages that exist."""


class Trials:
    """What `Ledger` asks of Optuna. Where somebody else has settled a trial, that outcome stands."""

    name: str
    address: str
    shared: bool
    _storage: RDBStorage
    _study: optuna.Study
    _last_heartbeat: float

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
        # Where another machine took this trial for dead and settled it, that outcome stands.
        with suppress(UpdateFinishedTrialError):
            for name, value in notes.items():
                self._storage.set_trial_user_attr(self._trial_id(number), name, value)
            self._study.tell(number, values or None, state=state, skip_if_finished=True)

    def _live_trial(self, number: int) -> optuna.trial.Trial:
        return optuna.trial.Trial(self._study, self._trial_id(number))

    def _record_heartbeat(self, number: int) -> None:
        if self.shared:
            self._storage.record_heartbeat(self._trial_id(number))
        self._last_heartbeat = time.monotonic()

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
        """Into the queue, with nothing on it of its former owner: the next one may be another machine.

        That one writes its name on the trial a moment after it has set it RUNNING; in that moment we would
        find our own name on it and our lock free, and take the trial for lost.
        """
        # Another machine may have taken the trial for dead: then it is in the queue already.
        with suppress(UpdateFinishedTrialError):
            for name in (OWNER, "token"):
                self._storage.set_trial_user_attr(self._trial_id(number), name, "")
            self._set_state(number, TrialState.WAITING)

    def _failed(self) -> frozenset[int]:
        """Trials that had failed by now."""
        with explained(self.address):
            trials = self._study.get_trials(deepcopy=False)
        return frozenset(trial.number for trial in trials if trial.state == TrialState.FAIL)
