"""Live progress of a study: a line for each run that ends, and a bar."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import fmean
from typing import TextIO

from tqdm import tqdm

from workbench import tables
from workbench.metrics import CORE_WAIT, disturbed
from workbench.study.outcome import FINAL, Entry, Lease, Outcome, measured_seconds, summary_of
from workbench.study.plan import Plan, Run
from workbench.tracking.points import is_finite
from workbench.tracking.run_dir import RunDir


class Screen:
    """Live progress: a line for each run that ends, and a bar with time left and the leader.

    Args:
        entries: the runs, as they are before anything begins.
        look: where all runs stand now, those of other processes too.
        worker: number of this one among several whose bars stand below each other; 0 alone.
    """

    def __init__(
        self,
        plan: Plan,
        entries: Sequence[Entry],
        results: Path,
        look: Callable[[], Sequence[Entry]],
        worker: int = 0,
    ) -> None:
        self.plan, self._look, self._worker = plan, look, worker
        self._states = {entry.run.name: entry.state for entry in entries}
        self._key = {run.name: run.cell.key for run in plan.runs}
        self._labels = {cell.key: cell.label for cell in plan.cells}
        self._seconds = {key: [value] for key, value in measured_seconds(plan, results).items()}
        self._values: dict[str, list[float]] = {}
        for entry in entries:
            if entry.state == "complete":
                directory = RunDir.of(results, plan.study.name, entry.run.cell.key, entry.run.seed)
                self._note_value(entry.run.cell.key, directory)
        self._began = time.monotonic()
        self._share = 0.0
        self._shown = 0.0
        self._bar = tqdm(
            total=plan.expected,
            initial=self._done,
            disable=not sys.stderr.isatty(),
            bar_format="{bar:24} {n:.1f} of {total} runs{postfix}",
            leave=False,
            position=max(0, worker - 1),
        )

    @property
    def _said(self) -> str:
        return f"worker {self._worker}: " if self._worker else ""

    @property
    def _done(self) -> int:
        return sum(state in FINAL for state in self._states.values())

    def started(self, lease: Lease) -> None:
        self._began, self._share = time.monotonic(), 0.0
        run = lease.run  # of a search, it was unknown until now
        self._states.setdefault(run.name, "running")
        self._know(run)
        self._refresh(lease)

    def _know(self, run: Run) -> None:
        self._key[run.name], self._labels[run.cell.key] = run.cell.key, run.cell.label

    def progressed(self, lease: Lease, share: float) -> None:
        self._share = share
        if time.monotonic() - self._shown > 0.5:
            self._refresh(lease)

    def ended(self, lease: Lease, outcome: Outcome, over: bool) -> None:
        run, took = lease.run, time.monotonic() - self._began
        if outcome.state == "interrupted":
            return
        for entry in self._look():  # in a search other processes propose runs too
            self._states[entry.run.name] = entry.state
            self._know(entry.run)
        self._states[run.name] = outcome.state if over else "waiting"
        self._share = 0.0
        total = self.plan.expected
        count = f"[{self._done:{len(str(total))}d}/{total}]"
        label = f"{self._said}{count} {run.cell.label} seed {run.seed}"
        if outcome.state == "complete":
            self._seconds.setdefault(run.cell.key, []).append(took)
            self._note_value(run.cell.key, lease.directory)
            text = f"{label}  {self._measured(lease.directory)}, {tables.duration(took)}"
        elif outcome.state == "pruned":
            text = f"{label}  pruned after {tables.duration(took)}"
        else:
            again = "" if over else "; will be tried again"
            text = f"{label}  failed{again} ({outcome.failure}: {outcome.reason})"
        self._print(text)
        self._refresh(lease)

    def waiting(self, entries: Sequence[Entry]) -> None:
        one = len(entries) == 1
        runs = "1 run of this study is" if one else f"{len(entries)} runs of this study are"
        self._print(f"{self._said}{runs} in the hands of another process; waiting for it")

    def close(self) -> None:
        self._bar.close()

    def _measured(self, directory: RunDir) -> str:
        summary, metric = directory.summary(), self.plan.study.metric
        parts = [f"{self.plan.title} {tables.score(summary.get(f'test/{metric}'))}"]
        parts.append(f"val {tables.score(summary.get(f'val/{metric}'))}")
        if (speed := summary.get("speed/clips_per_s")) is not None:
            beside = disturbed(summary.get(CORE_WAIT))
            parts.append(f"{speed:.0f} clips/s{' beside other work' if beside else ''}")
        return ", ".join(parts)

    def _note_value(self, key: str, directory: RunDir) -> None:
        value = summary_of(directory).get(f"val/{self.plan.study.metric}")
        if is_finite(value):
            self._values.setdefault(key, []).append(float(value))

    def _refresh(self, lease: Lease) -> None:
        self._shown = time.monotonic()
        self._bar.n = min(self._done + self._share, self.plan.expected)
        now = f"now {lease.run.cell.label} seed {lease.run.seed}"
        parts = [part for part in (self._left(lease), self._leader(), now) if part]
        self._bar.set_postfix_str(", ".join(parts), refresh=False)
        self._bar.refresh()

    def _left(self, lease: Lease) -> str:
        """Time left: each run as long as its cell took before, else as the mean run."""
        known = {key: fmean(values) for key, values in self._seconds.items()}
        elapsed = time.monotonic() - self._began
        current = lease.run.cell.key
        if current not in known and self._share > 0.05:
            known[current] = elapsed / self._share
        if not known:
            return ""
        usual = fmean(known.values())
        left = sum(
            known.get(self._key[name], usual) for name, state in self._states.items() if state not in FINAL
        )
        left += usual * max(0, self.plan.expected - len(self._states))  # not yet proposed
        if self._states[lease.run.name] not in FINAL:
            left -= known.get(current, usual) * self._share
        return f"{tables.duration(max(0.0, left))} left"

    def _leader(self) -> str:
        if not self._values:
            return ""
        means = {key: fmean(values) for key, values in self._values.items()}
        pick = max if self.plan.study.direction == "maximize" else min
        best = pick(means, key=lambda key: means[key])
        return f"leader {self._labels[best]} (val {means[best]:.1f})"

    def _print(self, text: str) -> None:
        stream: TextIO = sys.stdout
        if self._bar.disable:
            print(text, file=stream, flush=True)
        else:
            self._bar.write(text, file=stream)
