"""Access to the trials of one Optuna study for the ledger."""

from __future__ import annotations

import json
import threading
import time
from collections import defaultdict
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import optuna
from optuna.exceptions import UpdateFinishedTrialError
from optuna.storages import RDBStorage
from optuna.trial import TrialState
from sqlalchemy import column, or_, select, table

from workbench.study.outcome import Outcome
from workbench.study.storage import explained

Identity = tuple[str, int]
"""Key of the cell, and seed."""
OWNER = "place"
"""User attribute of a trial: which results folder of which machine its lease belongs to. The word is that of
the storages that exist."""
TRIALS = table("trials", column("trial_id"), column("study_id"), column("number"), column("state"))
ATTRIBUTES = table("trial_user_attributes", column("trial_id"), column("key"), column("value_json"))

MOST_NAMED = 1000
"""Trials that one query names; of more, all are read, since databases limit the length of such lists."""


@dataclass(frozen=True, kw_only=True)
class StoredTrial:
    """The properties of an Optuna trial that the ledger needs."""

    id: int
    number: int
    state: TrialState
    user_attrs: Mapping[str, Any]
    identity: Identity | None
    """Key and seed; None if the trial does not belong to the workbench, or not yet."""


class Reader:
    """Reads from Optuna's tables what has changed, and keeps the rest.

    Optuna itself reads every trial that is not finished with all that hangs on it, whatever is asked: with
    thousands of trials in the queue that takes a second, and many workers ask all the time.
    """

    def __init__(self, storage: RDBStorage, name: str) -> None:
        self._engine = storage.engine
        self._study = storage.get_study_id_from_name(name)
        self._known: dict[int, StoredTrial] = {}
        self._runs: defaultdict[Identity | None, set[int]] = defaultdict(set)
        self._ids: dict[int, int] = {}
        self._lock = threading.Lock()  # MLflow's mirror asks from a thread of its own

    def all(self) -> list[StoredTrial]:
        """Every trial by number, with its state of now.

        Attributes of a trial that runs may be those of a former lease; `of` reads them.
        """
        states = select(TRIALS.c.trial_id, TRIALS.c.state).where(TRIALS.c.study_id == self._study)
        with self._lock:
            with self._engine.connect() as connection:
                found = {trial: TrialState[state] for trial, state in connection.execute(states)}
            if self._known.keys() - found.keys():  # somebody has deleted trials
                self._known, self._ids = {}, {}
                self._runs.clear()
            changed = {trial for trial, known in self._known.items() if known.state != found[trial]}
            self._read(changed | self._nameless())
            return sorted(self._known.values(), key=lambda trial: trial.number)

    def of(self, identity: Identity) -> list[StoredTrial]:
        """The trials of one run by number, as they are now."""
        with self._lock:
            mine = {trial for trial in self._runs[identity] if not self._known[trial].state.is_finished()}
            there = self._read(mine | self._nameless())
            found = [self._known[trial] for trial in self._runs[identity] if trial not in mine - there]
        return sorted(found, key=lambda trial: trial.number)

    def id(self, number: int) -> int | None:
        """Optuna's id of a trial that was read before."""
        with self._lock:
            return self._ids.get(number)

    def _nameless(self) -> set[int]:
        """A search's proposals, which get their key a moment after they are made."""
        return {trial for trial in self._runs[None] if not self._known[trial].state.is_finished()}

    def _read(self, changed: set[int]) -> set[int]:
        """These trials, and those that are new: a study's trials are committed in the order of their ids.

        Returns those that were found, which are fewer where somebody has deleted trials.
        """
        newest = max(self._known, default=-1)
        if len(changed) > MOST_NAMED:
            newest, changed = -1, set()
        content = (
            select(*TRIALS.c, ATTRIBUTES.c.key, ATTRIBUTES.c.value_json)
            .select_from(TRIALS.outerjoin(ATTRIBUTES, TRIALS.c.trial_id == ATTRIBUTES.c.trial_id))
            .where(TRIALS.c.study_id == self._study)
            .where(or_(TRIALS.c.trial_id > newest, TRIALS.c.trial_id.in_(sorted(changed))))
        )
        attributes: defaultdict[int, dict[str, Any]] = defaultdict(dict)
        rows = {}
        with self._engine.connect() as connection:
            for row in connection.execute(content):
                rows[row.trial_id] = row
                if row.key is not None:
                    attributes[row.trial_id][row.key] = json.loads(row.value_json)
        for trial, row in rows.items():
            key, seed = attributes[trial].get("key"), attributes[trial].get("seed")
            identity = (key, seed) if isinstance(key, str) and isinstance(seed, int) else None
            self._known[trial] = StoredTrial(
                id=trial,
                number=row.number,
                state=TrialState[row.state],
                user_attrs=attributes[trial],
                identity=identity,
            )
            self._runs[None].discard(trial)
            self._runs[identity].add(trial)
            self._ids[row.number] = trial
        return set(rows)


class Trials:
    """What `Ledger` asks of Optuna. Where somebody else has settled a trial, that outcome stands."""

    name: str
    address: str
    shared: bool
    _storage: RDBStorage
    _study: optuna.Study
    _reader: Reader
    _last_heartbeat: float

    def _trials(self) -> defaultdict[Identity, list[StoredTrial]]:
        found: defaultdict[Identity, list[StoredTrial]] = defaultdict(list)
        for trial in self._reader.all():
            if trial.identity is not None:
                found[trial.identity].append(trial)
        return found

    def _of(self, identity: Identity) -> list[StoredTrial]:
        return self._reader.of(identity)

    def _queued(self, identity: Identity) -> list[int]:
        return [t.number for t in self._of(identity) if t.state == TrialState.WAITING]

    def _second(self, identity: Identity, number: int) -> bool:
        """Whether another machine has this run too: then whoever sees it steps back, perhaps both."""
        live = (TrialState.RUNNING, TrialState.COMPLETE)
        return self.shared and any(t.state in live and t.number != number for t in self._of(identity))

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
        if (known := self._reader.id(number)) is not None:
            return known
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
        """The trials that have failed so far."""
        with explained(self.address):
            trials = self._reader.all()
        return frozenset(trial.number for trial in trials if trial.state == TrialState.FAIL)
