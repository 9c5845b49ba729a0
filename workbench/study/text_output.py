"""Texts of a study for the terminal: the plan, its status, the answer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import fmean

import polars as pl

from workbench import naming, tables, tasks
from workbench.answer import caveats, contrasts, search, sentences
from workbench.answer.results import Answer
from workbench.answer.study_record import smoke_cells
from workbench.project_paths import called
from workbench.report.rows import legend, readable
from workbench.study.outcome import FINAL, Entry
from workbench.study.plan import Plan
from workbench.study.trials import Range


def listing(questions: dict[str, str]) -> str:
    """The studies and their questions."""
    width = max((len(name) for name in questions), default=0)
    lines = [f"  {name.ljust(width)}  {question}" for name, question in questions.items()]
    usage = f"{called('study')} NAME [--plan | --status | --smoke]"
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
            {
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
    lines = [f"{study.name}: {study.question}", *_changes(plan), "", _beside_axes(plan, rows), ""]
    if all(budget.unit == "pflops" for budget in budgets):
        total += f", {sum(budget.amount for budget in budgets):.4g} training PFLOPs in all"
    if not left:
        lines.append(f"{total}; nothing is left to do.")
    elif usual is None:
        lines.append(f"{total}; {len(left)} left. How long a run takes is known after the first.")
    else:
        rest = sum(seconds.get(key, usual) for key in left)
        lines.append(f"{total}; {len(left)} left, about {tables.duration(rest)}.")
    lines += _notes(plan)
    if plan.contrasts:
        texts = [f"  {i}. {contrast['text']}" for i, contrast in enumerate(plan.contrasts, 1)]
        head = sentences.LONE_CONTRAST if len(texts) == 1 else sentences.ORDER_OF_CONTRASTS
        lines += ["", head, *texts]
    if study.looks and not plan.options.smoke:
        each = ", ".join(f"{seeds} seeds at {100 * alpha:.3g} %" for seeds, alpha in study.looks.items())
        lines += ["", f"Claims are looked for with {each}."]
    if study.collapse is not None and not plan.options.smoke:
        worst = f"{tasks.title(f'val/{study.metric}')} is not better than {study.collapse:g}"
        rule = f"A run whose {worst} has collapsed"
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
    axes = [naming.axis(axis, study.says) for axis in space.axes]
    who = "NSGA-II" if study.sampler == "nsga2" else "TPE"
    lines = [
        f"{study.name}: {study.question}", *_changes(plan), "",
        tables.to_text(pl.DataFrame({"axis": axes, "may be": levels})), "",
        f"{plan.trials} trials with seed 0, proposed by {who} for {tasks.title(f'val/{study.metric}')}"
        + (f" against {tasks.title(study.cost)}." if study.cost else "; what lags at equal FLOPs is pruned."),
        f"Trained for {' or '.join(sorted(budgets)[:3])} each.",
    ]  # fmt: skip
    done = sum(entry.state in ("complete", "pruned") for entry in entries)
    left = max(0, plan.trials - done)
    time_left = f", about {tables.duration(left * fmean(seconds.values()))}" if seconds else ""
    return "\n".join([*lines, f"{done} done; {left} left{time_left}.", *_notes(plan)])


def _beside_axes(plan: Plan, rows: Sequence[Mapping[str, str]]) -> str:
    """A table with the choices of the cells first, a row each."""
    heads = {axis: naming.axis(axis, plan.study.says) for axis in plan.axes}
    columns = {axis: tables.numbers(cell.axes.get(axis) for cell in plan.cells) for axis in plan.axes}
    axes = pl.DataFrame(columns, schema=dict.fromkeys(columns, pl.String()))
    return tables.to_text(pl.concat([tables.rename(axes, heads), pl.DataFrame(rows)], how="horizontal"))


def _notes(plan: Plan) -> list[str]:
    """What was decided for the user about the data of the cells, a line each."""
    notes = dict.fromkeys(note for cell in plan.samples for note in cell.notes)
    return ["", *notes] if notes else []


def _changes(plan: Plan) -> list[str]:
    """What `--set` changes, a line each."""
    own = {name: tables.number(before) for name, (before, _) in plan.changes.items()}
    given = [(text, own[text.partition("=")[0]]) for text in plan.options.settings]
    return [f"  in every cell {text} (the study has {before or 'null'})" for text, before in given]


def status_text(plan: Plan, entries: Sequence[Entry], beside: Sequence[str] = ()) -> str:
    """Expected, done, running, failed and missing, for each cell and seed; beside: sentences at the end."""
    state = {(entry.run.cell.key, entry.run.seed): entry.state for entry in entries}
    rows = [{f"seed {seed}": state[cell.key, seed] for seed in plan.seeds} for cell in plan.cells]
    count = dict.fromkeys(("complete", "pruned", "running", "waiting", "failed", "missing"), 0)
    for entry in entries:
        count[entry.state] += 1
    summary = ", ".join(f"{n} {name}" for name, n in count.items() if n)
    lines = [_beside_axes(plan, rows), ""] if rows else []
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
        elif entry.state == "complete" and entry.reason:
            lines.append(f"  {entry.run.cell.label} seed {entry.run.seed}: {entry.reason}")
    return "\n".join([*lines, *beside])


def beside(plan: Plan, others: Sequence[str], results: Path) -> list[str]:
    """Sentences on complete runs of the study that are not of this plan. others: keys of their cells."""
    smoke = smoke_cells(results, plan.study.name)
    return caveats.other_plans(len(others), sum(key in smoke for key in others))


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
        lines += ["Axis importance:", tables.to_text(table), "", caveats.IMPORTANCE_LEGEND, ""]
    if answer.contrasts:
        table = contrasts.table(answer.contrasts)
        lines += ["The registered contrasts:", tables.to_text(table), "", answer.contrasts_legend, ""]
    lines.append(f"Answer: {answer.sentence}")
    lines += [f"  Claim: {verdict.line}" for verdict in answer.verdicts]
    return "\n".join(lines + [f"  Note: {caveat}" for caveat in answer.caveats])


def look_further(results: Path, folder: str, mlflow: str) -> str:
    """What else shows the results; folder and mlflow as they were given to the command."""
    checkout = Path("app/dashboard.py").exists() and Path("Makefile").exists()
    where = "" if folder == "results" else f" {'RESULTS=' if checkout else ''}{results}"
    commands = [] if mlflow or not checkout else [f"make mlflow{where}"]
    commands.append(f"make dashboard{where}" if checkout else f"workbench dash{where}")
    return "Look further:\n" + "\n".join(f"  {command}" for command in commands)
