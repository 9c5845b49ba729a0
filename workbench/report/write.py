"""`results/reports/STUDY/`: page, tables and pictures, each file replaced in one step."""

from __future__ import annotations

from pathlib import Path

from workbench import tables
from workbench.answer import contrasts
from workbench.answer.results import Answer
from workbench.report import latex, rows
from workbench.report.page import page, provenance
from workbench.report.pictures import pictures
from workbench.report.pictures import write as write_pictures
from workbench.tracking.files import write_atomic

PICTURES = ("sweep", "grid", "cost", "curves", "effects")


def write(answer: Answer, results: Path) -> Path:
    """Writes the report and returns its folder; reports of smoke tests have one of their own."""
    name = f"{answer.asked.name}-smoke" if answer.asked.smoke else answer.asked.name
    folder = results / "reports" / name
    folder.mkdir(parents=True, exist_ok=True)
    found = pictures(answer, results)
    write_pictures(found, folder, answer.asked.question)
    for gone in set(PICTURES) - {picture.name for picture in found}:
        for ending in ("pdf", "png"):  # of an earlier report; they would contradict this one
            (folder / f"{gone}.{ending}").unlink(missing_ok=True)
    for ending in ("csv", "tex"):
        (folder / f"contrasts.{ending}").unlink(missing_ok=True)
    if answer.contrasts:
        write_atomic(folder / "contrasts.csv", tables.to_csv(contrasts.exact(answer.contrasts)))
        caption = f"{answer.asked.question} {answer.contrasts_legend}"
        words = latex.plain_table(contrasts.table(answer.contrasts), caption, f"{name}-contrasts")
        write_atomic(folder / "contrasts.tex", words)
    write_atomic(folder / "table.csv", tables.to_csv(rows.exact(answer)))
    write_atomic(folder / "table.tex", latex.table(answer, provenance(answer)))
    write_atomic(folder / "answer.md", page(answer, [(p.name, p.caption) for p in found]))
    return folder
