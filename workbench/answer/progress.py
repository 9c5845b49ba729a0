"""Progress of a study from its run directories: every cell and seed, problems, the time left."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

import polars as pl

from workbench.answer.study_record import StudyRecord, command
from workbench.naming import PLAIN
from workbench.tables import duration

SILENT = 300.0
"""Seconds without a sign of life after which a running run is called silent."""
STATES = ("complete", "pruned", "running", "silent", "interrupted", "failed", "unreadable", "missing")
MARKED = {
    "complete": "✓ done",
    "pruned": "– pruned",
    "running": "▶",
    "silent": "▷ silent",
    "interrupted": "‖ stopped",
    "failed": "✗ failed",
    "unreadable": "✗ unreadable",
    "missing": "· missing",
}


@dataclass(frozen=True, kw_only=True)
class Progress:
    """The state of the planned runs at one time."""

    table: pl.DataFrame
    """One row a cell: `cell`, then for each seed its state in words."""
    counts: Mapping[str, int]
    """Runs in each state that occurs, in the order of `STATES`."""
    troubles: pl.DataFrame
    """Runs that failed, stopped or are silent: cell, seed, state, attempt, reason."""
    under_way: float
    """Sum of the shares of steps done by the runs that are running."""
    seconds_left: float | None
    """Estimated seconds left; None if no run shows its duration yet, or if nothing is left."""

    @property
    def total(self) -> int:
        return sum(self.counts.values())

    @property
    def done(self) -> int:
        return self.counts.get("complete", 0) + self.counts.get("pruned", 0)

    @property
    def share(self) -> float:
        """The share of all runs that is done, from 0 to 1; running ones count by their steps."""
        return (self.done + self.under_way) / max(1, self.total)

    @property
    def unfinished(self) -> bool:
        """Whether runs are missing, waiting or running."""
        return any(state not in ("complete", "pruned", "failed", "unreadable") for state in self.counts)

    def sentence(self) -> str:
        """The state as a sentence: `18 runs: 12 done, 1 running, 5 missing; about 12 min left.`"""
        names = {"complete": "done", "interrupted": "stopped"}
        parts = ", ".join(f"{count} {names.get(state, state)}" for state, count in self.counts.items())
        left = "" if self.seconds_left is None else f"; about {duration(self.seconds_left)} left"
        return f"{self.total} run{'' if self.total == 1 else 's'}: {parts}{left}."


def progress(asked: StudyRecord, runs: pl.DataFrame, now: float) -> Progress:
    """runs: the run table of the study; now: seconds since 1970."""
    found = {row["run"]: row for row in runs.select(_columns(runs)).iter_rows(named=True)}
    states: dict[tuple[str, int], str] = {}
    cells, troubles, under_way = [], [], 0.0
    for key, label in asked.labels.items():
        line: dict[str, Any] = {"cell": label}
        for seed in asked.seeds:
            row = found.get(f"{key}-s{seed}")
            state = states[key, seed] = _state(row, now)
            line[f"seed {seed}"] = _state_text(state, row)
            under_way += (_share(row) or 0.0) if state == "running" else 0.0
            if row is not None and state in ("failed", "unreadable", "interrupted", "silent"):
                troubles.append((label, seed, state, row["attempt"], _reason(row, now)))
        cells.append(line)
    schema = {"cell": pl.String(), **{f"seed {seed}": pl.String() for seed in asked.seeds}}
    trouble = {"cell": pl.String(), "seed": pl.Int64(), "state": pl.String(), "attempt": pl.Int64(),
               "reason": pl.String()}  # fmt: skip
    every = list(states.values())
    # A search replaces failed trials, and trials that are not proposed yet have no cell.
    unknown = max(0, asked.trials - sum(state not in ("failed", "unreadable") for state in every))
    every += ["missing"] * unknown
    return Progress(
        table=pl.DataFrame(cells, schema=schema),
        counts={state: every.count(state) for state in STATES if state in every},
        troubles=pl.DataFrame(troubles, schema=trouble, orient="row"),
        under_way=under_way,
        seconds_left=_left(states, found, unknown),
    )


@dataclass(frozen=True, kw_only=True)
class Step:
    """A suggested next step."""

    why: str
    """A sentence that ends before the command."""
    command: str
    """The command, without the results folder."""


def next_step(asked: StudyRecord, state: Progress) -> Step:
    """The next step: the missing runs, the real study after a smoke test, more seeds, or the report."""
    if asked.smoke and not state.unfinished:
        return Step(why="This asks the question in full:", command=command(asked.name))
    if state.counts.get("running"):
        return Step(why="Runs are under way; where they stop, this goes on:", command=asked.command)
    if state.unfinished or not state.done:
        return Step(why="This makes the runs that are missing:", command=asked.command)
    if len(asked.seeds) == 1 and not asked.search:
        return Step(why="This tells whether the differences are luck:", command=_with_seeds(asked))
    asked_for = "" if asked.plan == PLAIN else f" --asked {shlex.quote(asked.plan)}"
    report = f"python -m workbench.report {asked.name}{asked_for}"
    return Step(why="This writes the answer as a page with tables and figures for a paper:", command=report)


def _with_seeds(asked: StudyRecord) -> str:
    """The command of a plan with one seed, with the seeds that the study asks for, or else with three."""
    words = shlex.split(asked.command)
    if "--quick" in words:
        return shlex.join(word for word in words if word != "--quick")
    if "--seeds" in words:
        at = words.index("--seeds")
        del words[at : at + 2]
    return shlex.join([*words, "--seeds", "3"])


def _columns(runs: pl.DataFrame) -> Sequence[str]:
    wanted = ("run", "state", "failure", "reason", "attempt", "step", "steps", "updated", "seconds",
              "metric.speed/total_seconds")  # fmt: skip
    return [name for name in wanted if name in runs.columns]


def _state(row: Mapping[str, Any] | None, now: float) -> str:
    if row is None:
        return "missing"
    if row["state"] == "running" and now - (row["updated"] or 0.0) > SILENT:
        return "silent"
    return row["state"] if row["state"] in STATES else "unreadable"


def _state_text(state: str, row: Mapping[str, Any] | None) -> str:
    """The state of a run in words, such as `▶ 40 %`."""
    share = _share(row)
    if row is None or share is None or state not in ("running", "silent", "interrupted"):
        return MARKED[state]
    return f"{MARKED[state]} {100 * share:.0f} %"


def _share(row: Mapping[str, Any] | None) -> float | None:
    """The share of its steps that a run has done."""
    if row is None or not row["steps"]:
        return None
    return min(1.0, (row["step"] or 0) / row["steps"])


def _reason(row: Mapping[str, Any], now: float) -> str:
    if row["state"] == "running":
        return f"no sign of life for {duration(now - (row['updated'] or now))}"
    return ": ".join(part for part in (row["failure"], row["reason"]) if part)


def _left(
    states: Mapping[tuple[str, int], str], found: Mapping[str, Mapping[str, Any]], unknown: int
) -> float | None:
    """Seconds left when each run takes as long as its cell did before, or else as the mean run, and as many
    run at once as now; None where nothing is known or left.

    unknown: further runs whose cells are not known yet.
    """
    rest: dict[tuple[str, int], float] = {}
    known: dict[str, list[float]] = {}
    for (key, seed), state in states.items():
        row = found.get(f"{key}-s{seed}")
        share = _share(row) or 0.0
        if row is not None and state == "complete":
            seconds = row.get("metric.speed/total_seconds") or row["seconds"]
            if seconds:
                known.setdefault(key, []).append(float(seconds))
        elif row is not None and state == "running" and share > 0.05 and row["seconds"]:
            known.setdefault(key, []).append(row["seconds"] / share)
        if state in ("running", "silent", "interrupted", "missing"):
            rest[key, seed] = 1 - share
    if not (rest or unknown) or not known:
        return None
    takes = {key: fmean(values) for key, values in known.items()}
    usual = fmean(takes.values())
    at_once = max(1, sum(state == "running" for state in states.values()))
    total = sum(takes.get(key, usual) * share for (key, _), share in rest.items())
    return (total + usual * unknown) / at_once
