"""The command writes page, tables and pictures, and checks saved tables against the runs."""

import csv
import errno
import os
import re
import shutil
import subprocess
import sys

import pytest
from synthetic import BASE, RATIOS, grid, key_of, write_study

from workbench.report import latex

LETTERS = "".join(map(chr, range(ord("À"), ord("ÿ") + 1)))
NASTY = ["a_b & 50%", "$x^2$ {1}", "[a] <b>|c|", "ü ✓ 日本 \\end{tabular}", "=cmd() #1 ~",
         'the "best" one', "a--b – c", LETTERS, "".join(latex.SPECIAL)]  # fmt: skip


def files(results, study="ratios"):
    return sorted(path.name for path in (results / "reports" / study).iterdir())


def test_a_report_is_a_page_tables_and_pictures(ratios, report):
    results = ratios(steps=20)
    code, out, err = report("ratios")
    assert (code, err) == (0, "")
    assert "beats" in out
    pictures = [f"{n}.{e}" for n in ("cost", "curves", "effects", "grid", "sweep") for e in ("pdf", "png")]
    assert files(results) == sorted(
        [*pictures, "answer.md", "figures.html", "numbers.tex", "table.csv", "table.tex"]
    )
    page = (results / "reports/ratios/answer.md").read_text()
    for part in (
        "How much should be hidden?",
        "What limits this",
        "c" * 40,
        "d" * 64,
        "decord 0.6.0",
        key_of(BASE),
    ):
        assert part in page
    assert set(re.findall(r"\((\w+\.png)\)", page)) == {p for p in pictures if p.endswith("png")}


def test_the_interactive_page_needs_no_network_and_holds_plotly_once(ratios, report):
    results = ratios(steps=20)
    report("ratios")
    page = (results / "reports/ratios/figures.html").read_text()
    assert page.count("plotly.js v") == 1
    assert not re.search(r"<(script|link)[^>]+(src|href)=", page)
    for name in ("sweep", "grid", "cost", "curves", "effects"):
        assert f'id="{name}"' in page
    beats = re.search(r"<p>(Best on val[^<]+)</p>", page)
    assert beats
    for words in ("<h1>How much should be hidden?</h1>", "<h2>Text-to-video R@1 (%) over", "d" * 64):
        assert words in page


def test_the_page_says_what_people_say(ratios, report):
    results = ratios(steps=20)
    report("ratios")
    page = (results / "reports/ratios/answer.md").read_text()
    head = next(line for line in page.splitlines() if "text-to-video R@1 (%) |" in line)
    names = [name.strip() for name in head.strip("|").split("|")]
    assert names[:4] == ["video mask ratio", "text mask ratio", "seeds", "text-to-video R@1 (%)"]
    assert "\\_" not in page
    assert "\\[" not in page
    words = re.sub(r"`[^`]*`|\S*python -m\S*.*", "", page)
    assert not re.search(r"(test|val|cost|speed)/|t2v|_r1", words)


def test_pictures_are_written_only_where_the_study_has_the_axes(results, report):
    write_study(results, "arms", grid(arm=["a", "b"]), (0, 1), baseline={"arm": "a"})
    assert report("arms")[0] == 0
    assert "grid.png" not in files(results, "arms")  # one axis
    assert "curves.png" not in files(results, "arms")  # nothing was recorded during training
    write_study(results, "none", [{}], (0, 1))
    assert report("none")[0] == 0
    assert not [name for name in files(results, "none") if name.endswith("png")]


def test_pictures_of_an_earlier_report_do_not_stay(ratios, report):
    results = ratios(steps=20)
    report("ratios")
    ratios(cells=RATIOS[:1])
    report("ratios")
    assert not [name for name in files(results) if name.startswith(("sweep", "grid", "effects"))]


def test_the_table_has_all_digits_in_csv(ratios, report):
    results = ratios()
    report("ratios")
    with open(results / "reports/ratios/table.csv") as file:
        rows = list(csv.DictReader(file))
    assert [row["key"] for row in rows] == [key_of(axes) for axes in RATIOS]
    assert rows[2]["standing"] == "better"
    assert float(rows[2]["effect_low"]) > 0
    assert rows[0]["effect"] == ""


def test_the_selected_cell_is_bold_and_claims_are_marked(ratios, report):
    results = ratios()
    report("ratios")
    tex = (results / "reports/ratios/table.tex").read_text()
    assert tex.count(r"\textbf{") == 1
    assert len(re.findall(r"\$\\uparrow\$ &", tex)) == 4


@pytest.mark.parametrize("name", NASTY)
def test_escaped_text_comes_back(name):
    absent = {c for c in name if not (c.isascii() or "À" <= c <= "ÿ" or c in latex.SPECIAL)} | set("ÐÞðþ")
    expected = "".join(f"(U+{ord(c):04X})" if c in absent else c for c in name)
    assert latex.unescape(latex.escape(name)) == expected
    assert latex.unescape(rf"\textbf{{{latex.escape('-3 [+1, -2]')}}}") == "-3 [+1, -2]"


@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="there is no pdflatex")
def test_the_table_compiles_whatever_the_names(results, report, tmp_path):
    cells = [{name: value, "b": i} for name in NASTY[:1] for i, value in enumerate(NASTY)]
    write_study(results, "nasty", cells, (0, 1), baseline=cells[0], question="50% of a_b & $c$?\n\\evil")
    assert report("nasty")[0] == 0
    table = results / "reports/nasty/table.tex"
    preamble = "\\documentclass{article}\\usepackage{booktabs}\\begin{document}"
    (tmp_path / "paper.tex").write_text(f"{preamble}\n\\input{{{table}}}\n\\end{{document}}\n")
    command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "paper.tex"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout[-2000:]
    log = (tmp_path / "paper.log").read_text(encoding="latin-1")
    assert not re.search(r"Missing character|LaTeX Font Warning|Environment .* undefined", log)


def test_names_do_not_act_as_markup(results, report):
    name = "<img src=x onerror=alert(1)> *b* [x](y)"
    write_study(results, "nasty", [{name: i} for i in (1, 2)], (0, 1), baseline={name: 1}, question=name)
    assert report("nasty")[0] == 0
    page = (results / "reports/nasty/answer.md").read_text()
    assert not re.search(r"(?<!\\)<img", page)
    assert not re.search(r"(?<!\\)\[x(?<!\\)\]\(y\)", page)
    assert "<img" not in (results / "reports/nasty/figures.html").read_text().replace("\\u003cimg", "")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nothing"], "`python -m workbench.study nothing` makes them (there are runs of ratios)"),
        (["../x"], "is not a valid study name"),
        (["ratios", "--check", "missing.csv"], "cannot read missing.csv"),
    ],
)
def test_bad_input_is_one_sentence(ratios, report, arguments, message):
    ratios(seeds=(0,))
    code, out, err = report(*arguments)
    assert (code, out) == (2, "")
    assert err.startswith("error: ")
    assert message in err
    assert err.count("\n") == 1


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EROFS, errno.EDQUOT])
def test_a_full_disk_is_one_sentence(ratios, report, monkeypatch, number):
    ratios(seeds=(0,))

    def full(path, content):
        raise OSError(number, os.strerror(number), str(path))

    monkeypatch.setattr("workbench.report.write.write_atomic", full)
    code, _, err = report("ratios")
    assert code == 2
    assert os.strerror(number) in err
    assert "table.csv: " in err
    assert err.count("\n") == 1


def test_a_place_that_is_no_folder_is_one_sentence(ratios, report):
    results = ratios(seeds=(0,))
    (results / "reports").write_text("")
    code, _, err = report("ratios")
    assert (code, err.count("\n")) == (2, 1)
    assert "reports" in err


def test_a_table_of_another_kind_is_refused(ratios, report, tmp_path):
    ratios(seeds=(0,))
    (tmp_path / "table.xls").write_text("x")
    code, _, err = report("ratios", "--check", tmp_path / "table.xls")
    assert code == 2
    assert "--check must be given a file in .csv, .tex, .md" in err


def test_an_empty_store_says_which_command_to_run(results, report):
    code, _, err = report("mask_ratio")
    assert code == 2
    assert err.endswith("`python -m workbench.study mask_ratio` makes them\n")


def test_a_study_without_a_complete_run_writes_nothing(ratios, report):
    results = ratios(failed={(i, s) for i in range(6) for s in range(6)})
    code, _, err = report("ratios")
    assert code == 2
    assert "`python -m workbench.study ratios` runs what is missing" in err
    assert not (results / "reports").exists()


def test_a_damaged_description_is_said(ratios, report):
    results = ratios(seeds=(0,))
    path = results / "runs/ratios/study.json"
    path.write_text("{")
    assert "is not readable JSON" in report("ratios")[2]
    path.write_text("{}")
    assert "is of another version" in report("ratios")[2]


def test_a_smoke_test_does_not_overwrite_the_report(ratios, report):
    results = ratios(seeds=(0,), smoke=True)
    report("ratios")
    assert (results / "reports/ratios-smoke/answer.md").exists()
    assert not (results / "reports/ratios").exists()


def test_a_partial_study_is_reported(ratios, report):
    results = ratios(seeds=(0, 1), skip={(i, 1) for i in range(1, 6)} | {(5, 0)}, steps=20)
    assert report("ratios")[0] == 0
    assert report("ratios", "--check", results / "reports/ratios/table.tex")[0] == 0


def test_a_thousand_runs_are_reported(results, report):
    cells = grid(strategy=["a", "b", "c", "d"], ratio=[i / 25 for i in range(25)])
    write_study(results, "many", cells, range(10), steps=40, baseline=cells[0])
    assert report("many")[0] == 0
    with open(results / "reports/many/table.csv") as file:
        assert len(list(csv.DictReader(file))) == 100


def test_a_thousand_cells_of_one_seed_are_reported(results, report):
    cells = grid(strategy=["a", "b", "c", "d"], ratio=[i / 250 for i in range(250)])
    write_study(results, "many", cells, (0,), baseline=cells[0])
    assert report("many")[0] == 0
    with open(results / "reports/many/table.csv") as file:
        assert len(list(csv.DictReader(file))) == 1000


def test_reporting_loads_no_torch():
    code = "import sys, workbench.report.write, workbench.report.__main__; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = {name.split(".")[0] for name in done.stdout.split()}
    assert (
        loaded & {"torch", "timm", "transformers", "mlflow", "optuna", "streamlit", "decord", "av"} == set()
    )
