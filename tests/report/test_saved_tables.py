"""A saved table that differs from the runs in anything is found, however it is written."""

import json
import re

import pytest
from synthetic import BASE, RATIOS, grid, key_of, write_study

from workbench.answer.results import answer
from workbench.answer.study_record import StudyRecord
from workbench.report.saved import read_markdown, read_tex

SAVED = "reports/ratios"
CLAIM = {
    "text": "masking is better", "arm": RATIOS[2], "metric": "t2v_r1", "figure": "difference",
    "paper": "+5", "at_least": 0.0,
}  # fmt: skip


@pytest.fixture(autouse=True)
def _without_pictures(monkeypatch):
    monkeypatch.setattr("workbench.report.write.pictures", lambda answer, results: [])


@pytest.fixture
def edited(report):
    """Replaces text in a saved file of `ratios` and checks it: exit code, output."""

    def edit(results, file, old, new, regex=False):
        path = results / SAVED / file
        text = path.read_text()
        changed = re.sub(old, new, text, count=1) if regex else text.replace(old, new, 1)
        assert changed != text
        path.write_text(changed)
        return report("ratios", "--check", path)[:2]

    return edit


def answer_of(results, study="ratios"):
    description = json.loads((results / "runs" / study / "study.json").read_text())
    return answer(StudyRecord.of(description), results)


@pytest.mark.parametrize("file", ["table.csv", "table.tex", "answer.md"])
class TestCheck:
    def test_a_fresh_table_matches(self, ratios, report, file):
        results = ratios()
        report("ratios", "--text-width", "450")
        code, out, _ = report("ratios", "--check", results / "reports/ratios" / file)
        assert (code, "matches the runs" in out) == (0, True)
        assert re.search(r"6 of 6 rows x (\d+) of \1 columns", out)

    def test_a_changed_run_is_found_and_named(self, ratios, report, change, file):
        results = ratios()
        report("ratios")
        change("ratios", key_of(RATIOS[3]), 0, "summary.json", {"speed/clips_per_s": 9.0})
        code, out, _ = report("ratios", "--check", results / "reports/ratios" / file)
        assert code == 1
        assert "clips_per_s was" in out
        assert out.count(" was ") == 1

    def test_a_forged_number_is_found(self, ratios, report, file):
        results = ratios()
        report("ratios")
        path = results / "reports/ratios" / file
        value = answer_of(results).cells["test/t2v_r1"][2]
        number = f"{value:.12g}" if file == "table.csv" else f"{value:.1f}"
        path.write_text(path.read_text().replace(number, "99.9"))
        code, out, _ = report("ratios", "--check", path)
        assert code == 1
        assert "99.9" in out

    def test_another_seed_is_found(self, ratios, report, file):
        results = ratios(seeds=(0, 1, 2, 3))
        report("ratios")
        ratios(seeds=(0, 1, 2, 3, 4))
        assert report("ratios", "--check", results / "reports/ratios" / file)[0] == 1

    def test_rows_that_a_paper_leaves_out_do_not_matter(self, ratios, report, file):
        results = ratios()
        report("ratios")
        path = results / "reports/ratios" / file
        gone = {
            "table.csv": key_of(RATIOS[5]),
            "table.tex": r"0\.9 & 0\.25 &",
            "answer.md": r"\| +0\.9 \| +0\.25 \|",
        }[file]
        lines = path.read_text().splitlines()
        kept = [line for line in lines if not re.search(gone, line)]
        assert len(kept) < len(lines)
        path.write_text("\n".join(kept) + "\n")
        code, out, _ = report("ratios", "--check", path)
        assert (code, "5 of 6 rows" in out) == (0, True)

    def test_a_cell_that_is_gone_is_named(self, ratios, report, file):
        results = ratios()
        report("ratios")
        ratios(cells=RATIOS[:-1])
        code, out, _ = report("ratios", "--check", results / "reports/ratios" / file)
        assert code == 1
        assert "no such cell" in out

    def test_a_file_without_the_table_is_refused(self, ratios, report, tmp_path, file):
        ratios()
        path = tmp_path / file
        path.write_text("nothing of the kind\n")
        code, out, err = report("ratios", "--check", path)
        assert (code, out) == (2, "")
        assert "holds no table of study ratios" in err

    def test_a_renamed_column_is_not_passed_over(self, ratios, report, edited, file):
        results = ratios()
        report("ratios")
        name, new = {
            "table.csv": ("test/t2v_r1", "R_r1"),
            "table.tex": (r"R@1 (\%) &", "R &"),
            "answer.md": ("text-to-video R@1 (%) |", "R |"),
        }[file]
        code, out = edited(results, file, name, new)
        assert code == 1
        assert "the column test/t2v_r1 is missing" in out
        assert "the report has no column R" in out

    def test_a_row_with_a_field_too_many_or_too_few_is_no_match(self, ratios, report, edited, file):
        results = ratios()
        report("ratios")
        mark = {"table.csv": ",", "table.tex": " &", "answer.md": " |"}[file]
        row = {"table.csv": key_of(RATIOS[3]), "table.tex": "    0.5", "answer.md": f"|{' ' * 14}0.5"}[file]
        assert edited(results, file, row, row + mark)[0] == 1
        code, out = edited(results, file, row + mark, row)
        assert code == 0
        more = {"table.csv": "seeds,", "table.tex": "seeds &", "answer.md": "seeds |"}[file]
        code, out = edited(results, file, more, more[:-1])
        assert code == 1
        # A printed head has two lines, which then no longer belong together.
        said = "is missing" if file == "table.tex" else "fields, the head of the table"
        assert said in out


@pytest.mark.parametrize(
    "ending",
    [
        r"\\\\[2pt]",
        r"\\\\ \\addlinespace",
        r"\\\\ % a note",
        r"\\\\% a note",
        r"\\\\*",
        r"\\tabularnewline",
        r"\\\\ \\hline",
    ],
)
def test_rows_of_latex_may_end_as_they_like(ratios, report, edited, ending):
    results = ratios()
    report("ratios")
    code, out = edited(results, "table.tex", r"(    0\.5 .*)\\\\", rf"\1{ending}", regex=True)
    assert (code, "6 of 6 rows" in out) == (0, True)
    assert edited(results, "table.tex", r"(    0\.5 & 0\.\d+ & )\d", r"\g<1>7", regex=True)[0] == 1


def test_every_table_of_the_page_is_compared_and_so_is_the_answer(ratios, report, edited):
    results = ratios(claims=[CLAIM])
    report("ratios")
    page = (results / SAVED / "answer.md").read_text()
    titles = [table.heading for table in read_markdown(page)]
    assert titles[:3] == ["The claims", "Every cell", "Average effect of each choice"]
    assert titles[-1] == "Provenance"
    for old, new, said in (
        (
            r"\| holds",
            "| does not hold",
            "The claims: claim=masking is better: verdict was does not hold, is now holds",
        ),
        (r"\| -19\.\d", "| -1.0", "axis=video mask ratio choice=0: effect was -1.0"),
        (
            key_of(BASE),
            "0" * 12,
            "Provenance: cell=video_ratio=0.0 text_ratio=0.0: key was 000000000000",
        ),
        ("Best on val", "Second best on val", "the answer is now: "),
        ("## The claims", "## Claims", "Claims: this table is none of the report's"),
        (r"selected(?= +\|)", "rejected", "the note was rejected, is now selected"),
    ):
        (results / SAVED / "answer.md").write_text(page)
        code, out = edited(results, "answer.md", old, new, regex=True)
        assert code == 1
        assert said in out


def test_the_tables_of_a_search_are_compared_too(results, report):
    found = {"axes": [{"axis": "ratio", "share": 0.7, "low": 0.5, "high": 0.9}]}
    write_study(
        results, "search", grid(ratio=[0.0, 0.5, 0.9]), (0,), trials=3, importances=found,
        cost=lambda axes: 1 - axes["ratio"],
    )  # fmt: skip
    path = results / "runs/search/study.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"cost": "cost/train_gflops_per_clip"}))
    report("search")
    path = results / "reports/search/answer.md"
    page = path.read_text()
    assert report("search", "--check", path)[0] == 0
    for old, new, said in (
        (r"\d+ % *\|\n\nThe front", "1 % |\n\nThe front", "The Pareto front: ratio="),
        (r"70 % \[50", "71 % [50", "Axis importance: axis=ratio: importance was 71"),
    ):
        changed = re.sub(old, new, page, count=1)
        assert changed != page
        path.write_text(changed)
        code, out, _ = report("search", "--check", path)
        assert code == 1
        assert said in out


def test_of_a_file_with_other_tables_those_of_the_cells_are_compared(ratios, report, tmp_path):
    results = ratios()
    report("ratios")
    page = (results / SAVED / "answer.md").read_text()
    table = page.partition("## Every cell")[2].partition("\n\n")[2].partition("\n\n")[0]
    readme = tmp_path / "README.md"
    readme.write_text(f"# Mine\n\n| a | b |\n|---|---|\n| 1 | 2 |\n\n{table}\n")
    assert report("ratios", "--check", readme)[0] == 0
    # Markdown does not need the bars at the ends of a row.
    readme.write_text(readme.read_text().replace("| 0.5", "0.5").replace(" 0.25 |", " 0.99 |"))
    code, out, _ = report("ratios", "--check", readme)
    assert code == 1
    assert out.count("no such cell") == 3


def test_of_a_page_of_several_studies_the_tables_under_its_name_are_compared(ratios, report, tmp_path):
    results = ratios()
    report("ratios")
    page = (results / SAVED / "answer.md").read_text()
    table = page.partition("## Every cell")[2].partition("\n\n")[2].partition("\n\n")[0]
    other = table.replace(" 0.25 |", " 0.99 |")
    findings = tmp_path / "findings.md"
    findings.write_text(f"# Mine\n\n## Of ratios (`ratios`)\n\n{table}\n\n## Others, `more`\n\n{other}\n")
    assert report("ratios", "--check", findings)[0] == 0
    findings.write_text(findings.read_text().replace("`ratios`", "ratios"))
    assert report("ratios", "--check", findings)[0] == 1, "no heading says whose table it is"


def test_under_its_name_other_tables_than_that_of_the_cells_are_compared_too(ratios, report, tmp_path):
    results = ratios()
    report("ratios")
    page = read_markdown((results / SAVED / "answer.md").read_text())
    cells, choices = (
        next(table for table in page if table.heading == heading)
        for heading in ("Every cell", "Average effect of each choice")
    )

    def markdown(table, columns):
        rows = [table.columns, ["---"] * len(table.columns), *table.rows]
        at = [table.columns.index(name) for name in columns]
        return "\n".join("| " + " | ".join(row[i] for i in at) + " |" for row in rows)

    findings = tmp_path / "findings.md"
    parts = [markdown(cells, cells.columns), markdown(choices, ["axis", "choice", "effect"])]
    findings.write_text("# Mine\n\n## `ratios`\n\n" + "\n\n".join(parts) + "\n")
    code, out, _ = report("ratios", "--check", findings)
    many = len(choices.rows)
    assert (code, f"Average effect of each choice: {many} of {many} rows x 1 of 2 columns" in out) == (
        0,
        True,
    )
    effect = choices.rows[0][choices.columns.index("effect")]
    wrong = effect.replace("[", "[9")
    findings.write_text(findings.read_text().replace(effect, wrong, 1))
    code, out, _ = report("ratios", "--check", findings)
    assert (code, out.count("Average effect of each choice: ")) == (1, 2)
    assert f"effect was {wrong}, is now {effect}" in out


def test_tables_are_read_with_escapes_rules_and_comments():
    tex = r"""
    \begin{tabular*}{\textwidth}[t]{@{}l@{\extracolsep{\fill}}r}  % a & b \\
      \toprule a & b \\ \cmidrule(lr){1-2}
      x\&y & 50\,\% \\[1ex] \hline  z & \textbf{2} \tabularnewline \bottomrule
    \end{tabular*}"""
    (table,) = read_tex(tex)
    assert table.columns == ("a", "b")
    assert table.rows == (("x&y", "50\\,%"), ("z", "2"))
    (table,) = read_markdown("# T\n\n|a|b|\n|:-|-:|\n|x\\|y||\nz|2\n")
    assert (table.heading, table.rows) == ("T", (("x|y", ""), ("z", "2")))
