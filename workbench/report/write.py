"""`results/reports/STUDY/`: page, tables and pictures, each file replaced in one step."""

from __future__ import annotations

import shlex
from pathlib import Path

from workbench import tables
from workbench.answer import contrasts
from workbench.answer.results import Answer
from workbench.answer.scaling.curves import curve_rows
from workbench.report import latex, macros, rows
from workbench.report.about import about
from workbench.report.fit import TEXT_WIDTH
from workbench.report.page import check_command, page, plain, provenance
from workbench.report.pictures import pictures
from workbench.report.pictures import write as write_pictures
from workbench.report.pivot import Pivot
from workbench.tracking.files import write_atomic

PICTURES = ("scaling", "sweep", "grid", "cost", "curves", "contrasts", "effects")


def write(answer: Answer, results: Path, *, text_width: float = TEXT_WIDTH) -> Path:
    """Writes the report and returns its folder, one for each thing that was asked of the study.

    text_width: points that tables in LaTeX fit.
    """
    name = answer.asked.report
    folder = results / "reports" / name
    folder.mkdir(parents=True, exist_ok=True)
    found = pictures(answer, results)
    write_pictures(found, folder, about(answer))
    for gone in set(PICTURES) - {picture.name for picture in found}:
        for ending in ("pdf", "png"):  # of an earlier report; they would contradict this one
            (folder / f"{gone}.{ending}").unlink(missing_ok=True)
    for old in ("contrasts.csv", "contrasts.tex", "scaling.csv"):
        (folder / old).unlink(missing_ok=True)
    if answer.scaling is not None:
        write_atomic(folder / "scaling.csv", tables.to_csv(curve_rows(answer.scaling)))
    if answer.contrasts:
        write_atomic(folder / "contrasts.csv", tables.to_csv(contrasts.exact(answer.contrasts)))
        caption = f"{answer.asked.question} {answer.contrasts_legend}"
        content = contrasts.table(answer.contrasts)
        words = latex.plain_table(content, caption, f"{name}-contrasts", text_width=text_width)
        write_atomic(folder / "contrasts.tex", words)
    write_atomic(folder / "table.csv", tables.to_csv(rows.exact(answer)))
    write_atomic(folder / "table.tex", paper_table(answer, text_width))
    write_atomic(folder / "numbers.tex", macros.text(answer, provenance(answer)))
    write_atomic(folder / "answer.md", page(answer, [(p.name, p.caption) for p in found]))
    return folder


def paper_table(answer: Answer, text_width: float = TEXT_WIDTH) -> str:
    """`table.tex`: the table of the cells for a paper, with its provenance in comments."""
    return latex.table(answer, provenance(answer), text_width=text_width)


def write_pivot(found: Pivot, results: Path, *, text_width: float = TEXT_WIDTH) -> list[Path]:
    """Writes a table in a layout of its own beside the report, as LaTeX, CSV and Markdown; the files.

    text_width: points that the one in LaTeX fits.
    """
    folder = results / "reports" / found.asked.report
    folder.mkdir(parents=True, exist_ok=True)
    check = f"{check_command(found.asked)} {shlex.join(found.layout.arguments)} --check FILE"
    words = {
        "tex": found.printed([f"check: {check}"], text_width=text_width),
        "csv": tables.to_csv(found.exact()),
        "md": f"{tables.to_markdown(found.words())}\n\n{plain(found.caption)}\n",
    }
    paths = [folder / f"{found.layout.name}.{ending}" for ending in words]
    for path, text in zip(paths, words.values(), strict=True):
        write_atomic(path, text)
    return paths
