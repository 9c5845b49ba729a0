"""Tables for paper fit a column, in whatever layout, and what `--check` reads from them."""

import json
import re
import shutil
import subprocess

import pytest
from synthetic import READS, grid, key_of, write_study

from workbench.report.fit import TEXT_WIDTH, Column, fit, width
from workbench.report.latex import escape
from workbench.report.rows import readable
from workbench.tracking.files import kept_file

PREAMBLE = r"\documentclass{article}\usepackage{booktabs}\setlength\textwidth{%gpt}"
LONG = [{"part": f"without the {what} that the paper adds to its two encoders, and without its weight"}
        for what in ("order prediction", "momentum queue", "second reader of hidden words")]  # fmt: skip


@pytest.fixture(autouse=True)
def _without_pictures(monkeypatch):
    monkeypatch.setattr("workbench.report.write.pictures", lambda answer, results: [])


def compiled(folder, *tables, preamble=PREAMBLE % TEXT_WIDTH):
    """The log of an article with these files."""
    body = "\n".join(rf"\input{{{table}}}" for table in tables)
    (folder / "paper.tex").write_text(f"{preamble}\n\\begin{{document}}\n{body}\n\\end{{document}}\n")
    command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "paper.tex"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout[-2000:]
    return (folder / "paper.log").read_text(encoding="latin-1")


@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="there is no pdflatex")
@pytest.mark.parametrize("points", [345, 397, 450])
def test_tables_fit_the_text_of_a_paper(ratios, results, report, tmp_path, points):
    ratios()
    many = grid(strategy=["tube", "per_frame", "block"], video_ratio=[0.5, 0.9], text_ratio=[0.0, 0.25])
    write_study(results, "wide", many, (0, 1), baseline=many[0], reads=[*READS, "speed/train_seconds"])
    write_study(results, "long", LONG, (0, 1), baseline=LONG[0])
    names = ("ratios", "wide", "long")
    assert [report(name, "--text-width", points)[0] for name in names] == [0, 0, 0]
    files = [results / f"reports/{name}/table.tex" for name in names]
    assert not re.search(
        r"(Over|Under)full \\hbox",
        compiled(tmp_path, *files, preamble=PREAMBLE % points),
    )
    assert all(report(name, "--check", file)[0] == 0 for name, file in zip(names, files, strict=True))


def test_heads_are_short_a_unit_stands_once_and_the_label_is_the_study(ratios, report):
    results = ratios()
    report("ratios")
    text = (results / "reports/ratios/table.tex").read_text()
    heads = text.split("\\toprule")[1].split("\\midrule")[0]
    assert re.findall(r"[^&\\\n]+", heads.replace(r"\%", "%"))
    assert [w for w in ("R@1 (", "GFLOPs/clip", "clips/s", "steps") if w in heads] == [
        "R@1 (", "GFLOPs/clip", "clips/s", "steps",
    ]  # fmt: skip
    assert "%" not in text.split("\\midrule")[1]
    assert r"\label{tab:ratios}" in text


def test_of_one_seed_there_is_no_column_of_p_and_an_earlier_table_with_one_still_matches(
    ratios, report, answered
):
    results = ratios(seeds=(0,))
    report("ratios")
    path = results / "reports/ratios/table.tex"
    assert " p &" not in path.read_text()
    content = readable(answered("ratios"))
    assert "p" in content.columns
    rows = [content.columns[:-1], *(row[:-1] for row in content.iter_rows())]
    words = " \\\\\n".join(" & ".join(map(escape, row)) for row in rows)
    path.write_text(f"\\begin{{tabular}}{{l}}\n{words} \\\\\n\\end{{tabular}}\n")
    code, out, err = report("ratios", "--check", path)
    assert (code, err) == (0, ""), out


def test_what_is_too_wide_is_left_out_and_named(results, report):
    cells = grid(arm=["a", "b"])
    reads = [*READS, "cost/video_gflops_per_clip", "cost/peak_memory_gb", "speed/train_seconds",
             "cost/video_tokens_in", "cost/video_tokens_out", "cost/video_passes"]  # fmt: skip
    write_study(results, "wide", cells, (0, 1, 2), baseline=cells[0], reads=reads)
    report("wide")
    path = results / "reports/wide/table.tex"
    assert "% left out for want of room: " in path.read_text()
    code, out, _ = report("wide", "--check", path)
    assert (code, "2 of 2 rows" in out) == (0, True)


def test_of_what_does_not_fit_first_goes_what_is_the_same_everywhere_then_what_some_rows_lack():
    long = "x" * 60
    names = ("first", "lacking", "same", "last")
    cells = {"first": (long, "y"), "lacking": (long, ""), "same": (long, long), "last": (long, "z")}
    columns = [Column(head=name, cells=cells[name], optional=True) for name in names]
    assert fit(columns, text_width=900).left_out == ("same",)
    assert fit(columns, text_width=600).left_out == ("same", "lacking")
    assert fit(columns, text_width=300).left_out == ("same", "lacking", "last")


def test_a_width_that_no_text_has_is_refused(ratios, report):
    ratios()
    code, _, err = report("ratios", "--text-width", "9")
    assert (code, "from 100 to 2000, not 9" in err) == (2, True)


def test_the_width_of_letters_is_that_of_the_font():
    assert width("0123456789", 10) == pytest.approx(50)
    assert width("mmmm", 10) == pytest.approx(33.3, abs=0.1)
    words = Column(head="arm", cells=("word " * 40,))
    found = fit([words, Column(head="n", cells=("1",), right=True)])
    assert found.columns[0].wrapped < TEXT_WIDTH
    assert sum(c.points(8) + 2 * found.gap for c in found.columns) <= TEXT_WIDTH


def test_each_thing_that_was_asked_has_a_report_of_its_own(ratios, results, report, write_asked):
    ratios()
    write_asked("ratios", "budget 2x")
    assert report("ratios")[0] == 0
    code, out, _ = report("ratios", "--asked", "budget 2x")
    assert (code, "asked as well: as the study asks (--asked)" in out) == (0, True)
    assert sorted(p.name for p in (results / "reports").iterdir()) == ["ratios", "ratios-budget-2x"]
    table = results / "reports/ratios-budget-2x/table.tex"
    assert "--asked 'budget 2x' --check FILE" in table.read_text()
    assert report("ratios", "--asked", "budget 2x", "--check", table)[0] == 0
    assert report("ratios", "--check", table)[0] == 1
    assert report("ratios", "--check", results / "reports/ratios/table.tex")[0] == 0
    code, _, err = report("ratios", "--asked", "budget 3x")
    assert (code, err.count("\n")) == (2, 1)
    assert "was not asked 'budget 3x'; --asked is one of 'as the study asks', 'budget 2x'" in err
    code, _, err = report("ratios-budget-2x")
    assert code == 2
    assert "is how a report is called; its study is ratios, asked 'budget 2x' (--asked)" in err


@pytest.fixture
def write_asked(results):
    """As if a study had been asked otherwise after the first time: its first two cells alone."""

    def write(study, plan):
        folder = results / "runs" / study
        first = json.loads((folder / "study.json").read_text())
        kept_file(folder, first["plan"]).write_text(json.dumps(first))
        second = first | {
            "plan": plan,
            "cells": first["cells"][:2],
            "baseline": key_of({"video_ratio": 0.0, "text_ratio": 0.0}),
        }
        for file in (folder / "study.json", kept_file(folder, plan)):
            file.write_text(json.dumps(second))

    return write
