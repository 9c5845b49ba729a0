"""What one sees of a study: the plan, its status, live progress, the answer."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any, TextIO

import polars as pl
from tqdm import tqdm

from workbench import tables
from workbench.answer import caveats, contrasts, search, sentences
from workbench.answer.results import Answer
from workbench.errors import UserError
from workbench.metrics import CORE_WAIT, disturbed
from workbench.report.rows import legend, readable
from workbench.study.outcome import FINAL, Entry, Lease, Outcome
from workbench.study.plan import Plan
from workbench.study.trials import Range
from workbench.tracking.points import is_finite
from workbench.tracking.run_dir import RunDir


def listing(questions: dict[str, str]) -> str:
    """The studies and their questions."""
    width = max((len(name) for name in questions), default=0)
    lines = [f"  {name.ljust(width)}  {question}" for name, question in questions.items()]
    usage = "python -m workbench.study NAME [--plan | --status | --smoke]"
    return "\n".join(["studies:", *lines, "", usage])


def plan_text(plan: Plan, entries: Sequence[Entry], seconds: dict[str, float]) -> str:
    """The plan with its expected cost. `seconds`: of a run of each cell, as far as measured."""
    if plan.space is not None:
        return search_text(plan, entries, seconds)
    study = plan.study
    usual = fmean(seconds.values()) if seconds else None
    rows = []
    for cell in plan.cells:
        mine = [entry for entry in entries if entry.run.cell.key == cell.key]
        done = sum(entry.state == "complete" for entry in mine)
        note = "baseline" if cell in plan.baselines else ""
        rows.append(
            {axis: tables.number(cell.axes.get(axis)) for axis in plan.axes}
            | {
                "key": cell.key,
                "budget a run": " + ".join(str(stage.budget) for stage in cell.config.stages),
                "batch": str(cell.config.optim.batch_size),
                "a run takes": tables.duration(seconds[cell.key]) if cell.key in seconds else "",
                "done": f"{done} of {len(mine)}",
                "": note,
            }
        )
    left = [entry.run.cell.key for entry in entries if entry.state not in FINAL]
    budgets = [stage.budget for entry in entries for stage in entry.run.cell.config.stages]
    total = f"{len(plan.cells)} cells x {len(plan.seeds)} seeds = {len(entries)} runs"
    lines = [f"{study.name}: {study.question}", "", tables.to_text(pl.DataFrame(rows)), ""]
    if all(budget.unit == "pflops" for budget in budgets):
        total += f", {sum(budget.amount for budget in budgets):.4g} training PFLOPs in all"
    if not left:
        lines.append(f"{total}; nothing is left to do.")
    elif usual is None:
        lines.append(f"{total}; {len(left)} left. How long a run takes is known after the first.")
    else:
        rest = sum(seconds.get(key, usual) for key in left)
        lines.append(f"{total}; {len(left)} left, about {tables.duration(rest)}.")
    if plan.contrasts:
        texts = [f"  {i}. {contrast['text']}" for i, contrast in enumerate(plan.contrasts, 1)]
        lines += ["", sentences.ORDER_OF_CONTRASTS, *texts]
    if study.looks and not plan.options.smoke:
        each = ", ".join(f"{seeds} seeds at {100 * alpha:.3g} %" for seeds, alpha in study.looks.items())
        lines += ["", f"Claims are looked for with {each}."]
    if study.collapse is not None and not plan.options.smoke:
        rule = f"A run whose val/{study.metric} is not better than {study.collapse:g} has collapsed"
        lines += ["", f"{rule} and is left out of what is tested."]
    return "\n".join(lines)


def search_text(plan: Plan, entries: Sequence[Entry], seconds: dict[str, float]) -> str:
    """What a search may propose, and how far it has come."""
    study, space = plan.study, plan.space
    assert space is not None
    levels = [
        str(found) if isinstance(found, Range) else ", ".join(tables.number(level) for level in found)
        for found in space.axes.values()
    ]
    budgets = {" + ".join(str(s.budget) for s in cell.config.stages) for cell in space.examples}
    who = "NSGA-II" if study.sampler == "nsga2" else "TPE"
    lines = [
        f"{study.name}: {study.question}", "",
        tables.to_text(pl.DataFrame({"axis": list(space.axes), "may be": levels})), "",
        f"{plan.trials} trials with seed 0, proposed by {who} for val/{study.metric}"
        + (f" against {study.cost}." if study.cost else "; what lags at equal FLOPs is pruned."),
        f"Trained for {' or '.join(sorted(budgets)[:3])} each.",
    ]  # fmt: skip
    done = sum(entry.state in ("complete", "pruned") for entry in entries)
    left = max(0, plan.trials - done)
    time_left = f", about {tables.duration(left * fmean(seconds.values()))}" if seconds else ""
    return "\n".join([*lines, f"{done} done; {left} left{time_left}."])


def status_text(plan: Plan, entries: Sequence[Entry], others: int) -> str:
    """Expected, done, running, failed and missing, for each cell and seed."""
    state = {(entry.run.cell.key, entry.run.seed): entry.state for entry in entries}
    rows = [
        {axis: tables.number(cell.axes.get(axis)) for axis in plan.axes}
        | {f"seed {seed}": state[cell.key, seed] for seed in plan.seeds}
        for cell in plan.cells
    ]
    count = dict.fromkeys(("complete", "pruned", "running", "waiting", "failed", "missing"), 0)
    for entry in entries:
        count[entry.state] += 1
    summary = ", ".join(f"{n} {name}" for name, n in count.items() if n)
    lines = [tables.to_text(pl.DataFrame(rows)), ""] if rows else []
    if plan.space is None:
        lines.append(f"{len(entries)} runs expected: {summary}.")
    else:
        lines.append(f"{plan.trials} trials expected: {summary or 'none proposed yet'}.")
    for entry in entries:
        if entry.state == "failed":
            run = entry.run
            times = f"{entry.attempts} attempt{'s' if entry.attempts > 1 else ''}"
            after = f" after {times}" if entry.attempts else ""
            lines.append(f"  {run.cell.label} seed {run.seed} failed{after}: {entry.reason}")
    return "\n".join(lines + _others(others))


def answer_text(answer: Answer) -> str:
    """The table, the answer in a sentence, verdicts on claims, and what to beware of."""
    asked = answer.asked
    lines = ["", f"{asked.name}: {asked.question}", ""]
    if answer.cells.height:
        lines += [tables.to_text(readable(answer)), "", legend(answer), ""]
    if answer.front:
        table = search.front_table(asked, answer.evidence, answer.cells, answer.front)
        lines += ["The Pareto front:", tables.to_text(table), "", caveats.FRONT_LEGEND, ""]
    if asked.importances:
        table = search.importance_table(asked)
        lines += ["What mattered:", tables.to_text(table), "", caveats.IMPORTANCE_LEGEND, ""]
    if answer.contrasts:
        table = contrasts.table(answer.contrasts)
        lines += ["The registered contrasts:", tables.to_text(table), "", answer.contrasts_legend, ""]
    lines.append(f"Answer: {answer.sentence}")
    lines += [f"  Claim: {verdict.line}" for verdict in answer.verdicts]
    return "\n".join(lines + [f"  Note: {caveat}" for caveat in answer.caveats])


def measured_seconds(plan: Plan, results: Path) -> dict[str, float]:
    """Key of a cell -> mean seconds that its complete runs took, start-up and evaluation included.

    Where the budget itself is a time, at least that is known before the first run.
    """
    budgets = {cell.key: [stage.budget for stage in cell.config.stages] for cell in plan.cells}
    known = {
        key: sum(budget.amount for budget in stages)
        for key, stages in budgets.items()
        if all(budget.unit == "seconds" for budget in stages)
    }
    found: dict[str, list[float]] = {}
    for run in plan.runs:
        directory = RunDir.of(results, plan.study.name, run.cell.key, run.seed)
        total = _summary(directory).get("speed/total_seconds")
        if is_finite(total):
            found.setdefault(run.cell.key, []).append(float(total))
    return known | {key: fmean(values) for key, values in found.items()}


def _summary(directory: RunDir) -> dict[str, Any]:
    """Empty where the record is damaged, which the state of the run says."""
    try:
        return directory.summary()
    except UserError:
        return {}


def _others(count: int) -> list[str]:
    if not count:
        return []
    text = f"{count} complete run{'s' if count > 1 else ''} of this study belong"
    return [f"{text}{'' if count > 1 else 's'} to other plans (budget, data or study file differ)."]


def look_further(results: Path, folder: str, mlflow: str, storage: str) -> str:
    """What else shows the results; folder, mlflow and storage as they were given to the command."""
    where = "" if folder == "results" else f" RESULTS={results}"
    commands = [] if mlflow else [f"make mlflow{where}"]
    if Path("app/dashboard.py").exists():
        commands.append(f"make dashboard{where}")
    elif not storage:
        commands.append(f"optuna-dashboard sqlite:///{results / 'optuna.db'}")
    return "Look further:\n" + "\n".join(f"  {command}" for command in commands)


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
        self._key[run.name], self._labels[run.cell.key] = run.cell.key, run.cell.label
        self._refresh(lease)

    def progressed(self, lease: Lease, share: float) -> None:
        self._share = share
        if time.monotonic() - self._shown > 0.5:
            self._refresh(lease)

    def ended(self, lease: Lease, outcome: Outcome, over: bool) -> None:
        run, took = lease.run, time.monotonic() - self._began
        if outcome.state == "interrupted":
            return
        self._states |= {entry.run.name: entry.state for entry in self._look()}
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
        parts = [f"test/{metric} {tables.score(summary.get(f'test/{metric}'))}"]
        parts.append(f"val {tables.score(summary.get(f'val/{metric}'))}")
        if (speed := summary.get("speed/clips_per_s")) is not None:
            beside = disturbed(summary.get(CORE_WAIT))
            parts.append(f"{speed:.0f} clips/s{' beside other work' if beside else ''}")
        return ", ".join(parts)

    def _note_value(self, key: str, directory: RunDir) -> None:
        value = _summary(directory).get(f"val/{self.plan.study.metric}")
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
