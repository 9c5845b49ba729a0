"""The answer of a study as files: `results/reports/STUDY/` with a page, a table and a picture."""

from __future__ import annotations

from pathlib import Path

import polars as pl

from workbench import figures, tables
from workbench.study.answer import Answer, planned_runs
from workbench.study.plan import Plan
from workbench.tracking.files import write_atomic

COST = "cost/train_gflops_per_clip"


def write(plan: Plan, answer: Answer, results: Path) -> Path:
    """Writes `answer.md`, `table.csv` and `sweep.png`; returns their folder."""
    name = f"{plan.study.name}-smoke" if plan.options.smoke else plan.study.name
    folder = results / "reports" / name
    folder.mkdir(parents=True, exist_ok=True)
    write_atomic(folder / "table.csv", tables.to_csv(answer.table))
    metric = f"test/{plan.study.metric}"
    if plan.axes:
        points = figures.sweep_table(answer.table, plan.axes, metric, COST)
        title = plan.study.question
        figure = figures.sweep_figure(points, axis=plan.axes[0], metric=metric, cost=COST, title=title)
        figures.save(figure, folder / "sweep.png")
    write_atomic(folder / "answer.md", page(plan, answer, planned_runs(plan, results)))
    return folder


def page(plan: Plan, answer: Answer, runs: pl.DataFrame) -> str:
    """The answer as Markdown: question, sentence, what limits it, table, picture, where it comes from."""
    metric = f"test/{plan.study.metric}"
    table = tables.to_markdown(tables.readable(answer.table, metric, answer.notes))
    lines = [f"# {plan.study.name}", "", f"**{plan.study.question}**", "", f"{answer.sentence}", ""]
    lines += [f"- {gate}" for gate in answer.gates] + [""] * bool(answer.gates)
    lines += [table, "", f"`{metric}` with its 95 % interval; cells are selected by val, reported by test."]
    if plan.axes:
        lines += ["", "![quality over the first axis and over cost](sweep.png)"]
    return "\n".join([*lines, "", "## Where it comes from", "", *_provenance(plan, runs), ""])


def _provenance(plan: Plan, runs: pl.DataFrame) -> list[str]:
    done = runs.filter(pl.col("state") == "complete")
    facts = [f"- study `{plan.study.name}`, {plan.options}; {done.height} complete runs"]
    names = ("commit", "dirty", "data_digest", "decoder", "device_name", "precision", "threads", "start",
             "torch", "timm", "transformers")  # fmt: skip
    for name in names:
        if (column := f"env.{name}") in done.columns:
            values = done[column].unique(maintain_order=True).to_list()
            facts.append(f"- {name.replace('_', ' ')}: {', '.join(str(value) for value in values)}")
    return facts
