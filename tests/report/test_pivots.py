"""Tables in a layout of one's own, and numbers for prose: what they show, and that `--check` holds them."""

import csv
import re
import shutil

import polars as pl
import pytest
from synthetic import grid, key_of, write_study
from test_printed_tables import PREAMBLE, compiled

from workbench.report.macros import letters


@pytest.fixture(autouse=True)
def _without_pictures(monkeypatch):
    monkeypatch.setattr("workbench.report.write.pictures", lambda answer, results: [])


SEVERAL = ["--rows", "video_ratio", "--columns", "text_ratio", "--metrics", "t2v_r1", "clips_per_s"]


def table(results, name):
    return results / "reports/ratios" / f"table-{name}"


def test_axes_stand_down_and_across_with_several_metrics_in_each_field(ratios, report, answered):
    results = ratios()
    code, out, err = report("ratios", *SEVERAL)
    assert (code, err) == (0, "")
    assert "text_ratio=0.25, clips/s" in out
    with open(table(results, "video_ratio-by-text_ratio-t2v_r1-clips_per_s.csv")) as file:
        rows = list(csv.DictReader(file))
    assert [row["video_ratio"] for row in rows] == ["0.0", "0.5", "0.9"]
    cells = answered("ratios").cells.filter(video_ratio=0.9, text_ratio=0.25).row(0, named=True)
    assert float(rows[2]["text_ratio=0.25 test/t2v_r1 mean"]) == pytest.approx(cells["test/t2v_r1"])
    assert float(rows[2]["text_ratio=0.25 test/t2v_r1 low"]) == pytest.approx(cells["low"])
    assert float(rows[2]["text_ratio=0.25 speed/clips_per_s mean"]) == pytest.approx(
        cells["speed/clips_per_s"]
    )
    assert {row["text_ratio=0 test/t2v_r1 seeds"] for row in rows} == {"6"}


def test_axes_that_are_not_named_are_averaged_over_seed_by_seed(ratios, report, answered):
    results = ratios()
    code, out, _ = report("ratios", "--rows", "video_ratio", "--format", "mean ± std")
    assert code == 0
    assert "averaged over text mask ratio; 6 seeds" in out
    with open(table(results, "video_ratio-std.csv")) as file:
        row = list(csv.DictReader(file))[1]
    runs = answered("ratios").evidence.done.filter(**{"axis.video_ratio": 0.5})
    per_seed = runs.group_by("seed").agg(pl.col("metric.test/t2v_r1").mean())["metric.test/t2v_r1"]
    assert float(row["test/t2v_r1 mean"]) == pytest.approx(per_seed.mean())
    assert float(row["test/t2v_r1 deviation"]) == pytest.approx(per_seed.std())
    text = table(results, "video_ratio-std.md").read_text()
    assert f"{per_seed.mean():.1f} ± {per_seed.std():.1f}" in text


@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="there is no pdflatex")
def test_three_layouts_fit_the_text_of_a_paper(ratios, report, tmp_path):
    results = ratios()
    layouts = (
        SEVERAL,
        ["--columns", "video_ratio", "--format", "mean ± std"],
        ["--rows", "text_ratio", "video_ratio", "--metrics", "t2v_r1", "train_gflops_per_clip", "steps"],
    )
    wide = ("--text-width", "450")
    assert [report("ratios", *layout, *wide)[0] for layout in layouts] == [0, 0, 0]
    files = sorted((results / "reports/ratios").glob("table-*.tex"))
    assert len(files) == 3
    assert not re.search(r"(Over|Under)full \\hbox", compiled(tmp_path, *files, preamble=PREAMBLE % 450))


@pytest.mark.parametrize("ending", ["tex", "csv", "md"])
@pytest.mark.parametrize(
    "layout", [SEVERAL, SEVERAL[:-1], ["--columns", "text_ratio", "video_ratio", "--rows"]]
)
def test_a_number_that_was_changed_by_hand_is_found(ratios, results, report, ending, layout):
    if layout[-1] == "--rows":
        cells = grid(arm=["a", "b"], video_ratio=[0.0, 0.5], text_ratio=[0.0, 0.25])
        write_study(results, "ratios", cells, (0, 1), baseline=cells[0])
        layout = [*layout, "arm"]
    else:
        ratios()
    assert report("ratios", *layout)[0] == 0
    [path] = (results / "reports/ratios").glob(f"table-*.{ending}")
    code, out, _ = report("ratios", *layout, "--check", path)
    assert (code, "matches the runs" in out) == (0, True)
    text = path.read_text()
    head = text.index(r"\midrule" if ending == "tex" else "\n")
    path.write_text(text[:head] + re.sub(r"\d\d\.\d+", "99.9", text[head:], count=1))
    code, out, _ = report("ratios", *layout, "--check", path)
    assert code == 1
    assert " was " in out
    path.write_text("nothing of the kind\n")
    code, _, err = report("ratios", *layout, "--check", path)
    assert (code, err.count("\n")) == (2, 1)
    assert "holds no table of study ratios in the layout" in err


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (["--rows", "ratio"], "study ratios has no axis 'ratio'; its axes are video_ratio, text_ratio"),
        (["--rows", "text_ratio", "--columns", "text_ratio"], "the axis text_ratio is named twice"),
        (["--columns", "text_ratio", "video_ratio"], "--columns leaves no axis of study ratios for the rows"),
        (["--metrics", "r1"], "study ratios has no metric 'r1'; its runs have "),
        (["--format", "std"], "--format must be 'interval' or 'mean ± std', not 'std'"),
    ],
)
def test_a_layout_that_cannot_be_is_one_sentence(ratios, results, report, given, said):
    ratios(seeds=(0,))
    code, out, err = report("ratios", *given)
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert said in err
    assert not (results / "reports").exists()


def test_numbers_for_prose_are_macros_and_are_checked(ratios, report):
    results = ratios()
    report("ratios")
    path = results / "reports/ratios/numbers.tex"
    text = path.read_text()
    name = r"\RatiosVideoRatioZeroPointNineTextRatioZeroPointTwoFive"
    value = re.search(rf"\\newcommand{{\{name}}}{{([\d.]+)}}", text)[1]
    assert f"\\newcommand{{{name}DifferenceP}}" in text
    assert "\\newcommand{\\RatiosAnswer}{" in text
    code, out, _ = report("ratios", "--check", path)
    assert (code, "numbers for prose" in out) == (0, True)
    table = (results / "reports/ratios/table.tex").read_text()
    paper = results / "paper.tex"
    others = "\\newcommand{\\Mine}{1}\n\\newcommand{\\RatiosSimvtpRuns}{1} % ratios-simvtp\n"
    paper.write_text(f"{others}{text}\n{table}")
    assert report("ratios", "--check", paper)[0] == 0
    paper.write_text(
        f"{text}\n{table}".replace(f"{{{name}}}{{{value}}}", f"{{{name}}}{{{float(value) + 1}}}")
    )
    code, out, _ = report("ratios", "--check", paper)
    assert code == 1
    assert f"{name} was {float(value) + 1}, is now {value}" in out
    paper.write_text("\\newcommand{\\RatiosNothing}{1}\n")
    assert report("ratios", "--check", paper)[:2] == (
        1,
        f"the report has no number \\RatiosNothing\n{paper}: 1 difference; compared were 1 of "
        f"{text.count('newcommand')} numbers for prose\n",
    )


@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="there is no pdflatex")
def test_numbers_for_prose_compile(ratios, report, tmp_path):
    results = ratios()
    report("ratios")
    path = results / "reports/ratios/numbers.tex"
    names = re.findall(r"newcommand\{(\\\w+)\}", path.read_text())
    (tmp_path / "prose.tex").write_text("\n\n".join(f"{name}." for name in names))
    compiled(tmp_path, path, tmp_path / "prose.tex")


def test_names_of_macros_are_letters():
    assert letters("video_ratio 0.9") == "VideoRatioZeroPointNine"
    assert letters("x -12 é") == "XMinusOneTwo"
    assert letters(key_of({})).isalpha()
