"""Whatever the order of leases, deaths, late returns and restarts: every run is done once and none is lost.

Hypothesis plays processes against real ledgers on a real SQLite database and compares with a small model:
on one machine, where locks tell who is alive, and on two that share the database only.
"""

import shutil
import tempfile
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from ledgers import abandon, age_heartbeats, complete_record, open_ledger, start_record, three_runs
from real import FULL

from workbench.study import ledger as ledgers
from workbench.study.outcome import MAX_ATTEMPTS, Outcome

DONE = Outcome(state="complete", value=1.0)
MACHINES = ("one", "two")


@dataclass
class Process:
    """A study process: its ledger, what it works on, and whether it is dead (and may still write late)."""

    machine: str
    ledger: object
    leases: list = field(default_factory=list)
    dead: bool = False


class Queue(RuleBasedStateMachine):
    """One machine: all processes have one results folder."""

    shared = False

    def __init__(self):
        super().__init__()
        self.root = Path(tempfile.mkdtemp(prefix="wb-queue-"))
        self.address = f"sqlite:///{self.root / 'ledger.db'}"
        self.plan = three_runs(self.root)
        self.processes = []
        self.failures = Counter()
        self.failed_by = {}

    def teardown(self):
        shutil.rmtree(self.root)

    # What may happen

    @initialize()
    def first(self):
        self.start("one")

    @precondition(lambda self: len(self.living()) < 3)
    @rule(machine=st.sampled_from(MACHINES))
    def start(self, machine):
        folder = self.root / (machine if self.shared else "results")
        ledger = open_ledger(self.plan, folder, self.address)
        self.processes.append(Process(machine, ledger))
        ledger.reconcile()
        ledger.enqueue()

    @rule(who=st.integers(0, 9), what=st.integers(0, 2))
    def acquire(self, who, what):
        if (process := self.pick(self.living(), who)) is None:
            return
        run = self.plan.runs[what]
        taken = [c for p in self.living() for c in p.leases if c.run == run]
        lease = process.ledger.acquire(run)
        if lease is not None:
            assert not taken, "two living processes have one run"
            process.leases.append(lease)
            start_record(lease)

    @rule(who=st.integers(0, 9), how=st.sampled_from(["complete", "interrupted", *MAX_ATTEMPTS]))
    def settle(self, who, how):
        if (process := self.pick([p for p in self.living() if p.leases], who)) is None:
            return
        lease = process.leases.pop()
        if how == "complete":
            complete_record(lease)
            process.ledger.settle(lease, DONE)
        elif how == "interrupted":
            lease.directory.set_status("interrupted")
            process.ledger.settle(lease, Outcome(state="interrupted"))
        else:
            lease.directory.set_status("failed", failure=how)
            process.ledger.settle(lease, Outcome(state="failed", failure=how, reason=how))
            self.failures[lease.run.name, how] += 1

    @rule(who=st.integers(0, 9), recorded=st.booleans())
    def die(self, who, recorded):
        """Killed; with `recorded` its run had just completed and nobody had settled it."""
        if (process := self.pick(self.living(), who)) is None:
            return
        process.dead = True
        for lease in process.leases:
            if recorded:
                complete_record(lease)
            abandon(lease)

    @rule(who=st.integers(0, 9), outcome=st.sampled_from([DONE, Outcome(state="interrupted")]))
    def write_late(self, who, outcome):
        """A process that was taken for dead comes back; its training process writes only if in charge."""
        taken_away = [p for p in self.processes if p.dead and p.leases and self.was_replaced(p)]
        if (process := self.pick(taken_away, who)) is not None:
            process.ledger.settle(process.leases.pop(), outcome)

    @rule(who=st.integers(0, 9))
    def reconcile(self, who):
        if (process := self.pick(self.living(), who)) is not None:
            process.ledger.reconcile()
            process.ledger.enqueue()

    # What must hold

    @invariant()
    def every_run_is_complete_once_at_most(self):
        if self.processes:
            for states in self.states().values():
                assert states["COMPLETE"] <= 1
                assert states["RUNNING"] <= 1, "one attempt at a time"
                assert not (states["COMPLETE"] and states["RUNNING"])

    @invariant()
    def who_has_leased_a_run_still_has_it(self):
        for process in self.living():
            for lease in process.leases:
                assert process.ledger.state(lease.run) == "running"

    @invariant()
    def only_what_failed_too_often_is_given_up(self):
        if not self.processes:
            return
        for entry in self.processes[0].ledger.entries():
            counts = {kind: n for (name, kind), n in self.failures.items() if name == entry.run.name}
            given_up = any(n >= MAX_ATTEMPTS[kind] for kind, n in counts.items())
            assert entry.attempts == sum(counts.values())
            assert (entry.state == "failed") <= given_up
            if given_up:
                assert entry.state in ("failed", "complete", "running")

    def ends_complete(self):
        """One more start, with everybody else dead, finishes exactly the rest."""
        for process in self.living():
            for lease in process.leases:
                abandon(lease)
            process.dead = True
        self.let_time_pass()
        self.start("one")
        ledger = self.processes[-1].ledger
        for run in self.plan.runs:
            if (lease := ledger.acquire(run)) is not None:
                start_record(lease)
                complete_record(lease)
                ledger.settle(lease, DONE)
        assert {entry.state for entry in ledger.entries()} <= {"complete", "failed"}
        ledger.reconcile()
        for run, states in self.states().items():
            assert not states["RUNNING"], run
            given_up = any(
                n >= MAX_ATTEMPTS[kind] for (name, kind), n in self.failures.items() if name == run
            )
            assert states["COMPLETE"] == 1 or given_up
            assert not (states["COMPLETE"] and states["WAITING"]), "nothing waits for a run that is done"

    # Helpers

    def living(self):
        return [p for p in self.processes if not p.dead]

    @staticmethod
    def pick(those, number):
        return those[number % len(those)] if those else None

    def states(self):
        trials = self.processes[0].ledger._trials()
        return {
            run.name: Counter(t.state.name for t in trials[run.cell.key, run.seed]) for run in self.plan.runs
        }

    def was_replaced(self, process):
        """Whether its trial was settled by others: before that, nothing tells it from a living one."""
        lease = process.leases[-1]
        trials = process.ledger._of((lease.run.cell.key, lease.run.seed))
        return any(t.number == lease.trial and t.state.name != "RUNNING" for t in trials)

    def let_time_pass(self):
        """Long enough that silent machines are taken for dead."""


class SharedQueue(Queue):
    """Two machines with folders of their own; heartbeats tell who is alive."""

    shared = True

    @rule()
    def let_time_pass(self):
        age_heartbeats(self.address, [c.trial for p in self.processes if p.dead for c in p.leases])


class Finished(Queue):
    """The same, finished at the end of each example."""

    def teardown(self):
        self.ends_complete()
        super().teardown()


class SharedFinished(SharedQueue):
    def teardown(self):
        self.ends_complete()
        super().teardown()


SETTINGS = settings(
    max_examples=60 if FULL else 6,
    stateful_step_count=30 if FULL else 15,
    deadline=None,
    derandomize=not FULL,
    database=None,
    suppress_health_check=list(HealthCheck),
)


@pytest.mark.timeout(3600)
@pytest.mark.parametrize("machine", [Finished, SharedFinished])
def test_any_order_of_leases_deaths_and_restarts_keeps_the_ledger_right(machine, monkeypatch):
    from hypothesis.stateful import run_state_machine_as_test

    monkeypatch.setattr(ledgers, "is_shared", lambda address: machine.shared)
    run_state_machine_as_test(machine, settings=SETTINGS)
