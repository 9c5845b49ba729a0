"""The Python door: `import workbench as wb`, and the example notebook, whose cells run."""

import ast
import json
import subprocess
import sys
from pathlib import Path

import polars as pl
import pytest
from synthetic import BASE, RATIOS, grid, write_study

import workbench as wb
from workbench.errors import UserError

ROOT = Path(__file__).parents[1]
NOTEBOOK = ROOT / "docs/notebook.ipynb"


@pytest.fixture
def results(tmp_path, monkeypatch):
    """Where the notebook looks: a study with an answer, one without runs, one of another axis."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("WORKBENCH_RESULTS", raising=False)
    better = {"quality": lambda axes: 30 + 30 * (axes["video_ratio"] > 0), "spread": 1.0, "steps": 40}
    write_study(tmp_path / "results", "mask_ratio", RATIOS, (0, 1, 2), baseline=BASE, **better)
    write_study(tmp_path / "results", "empty", RATIOS, ())
    write_study(tmp_path / "results", "sizes", grid(size=["small", "large"]), (0, 1))
    return tmp_path / "results"


def test_importing_it_loads_the_rest_only_when_it_is_used():
    code = """
import sys
import workbench as wb
assert {"runs", "answer", "compare", "figure"} <= set(dir(wb))
assert not {"polars", "plotly", "numpy", "workbench.notebook"} & set(sys.modules)
assert callable(wb.answer) and not "workbench.notebook" in sys.modules
assert callable(wb.runs)
assert "workbench.notebook" in sys.modules and "torch" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)


def test_a_run_is_a_row(results):
    found = wb.runs("mask_ratio")
    assert found.height == len(RATIOS) * 3
    assert {"axis.video_ratio", "config.seed", "metric.test/t2v_r1", "metric.cost/train_pflops"} <= set(
        found.columns
    )
    assert set(wb.runs()["study"]) == {"mask_ratio", "sizes"}
    assert wb.runs("sizes", results=results).height == 4


def test_an_answer_shows_itself(results):
    said = wb.answer("mask_ratio")
    assert "beats" in said.sentence
    assert said.cells.height == len(RATIOS)
    assert said.best != said.baseline
    assert said._repr_markdown_().startswith("# mask_ratio\n")
    shown = said._repr_html_()
    assert shown.startswith("<h1>mask_ratio</h1>")
    assert (
        f"<td>{said.cell(video_ratio=0.9, text_ratio=0.0).said.answer.asked.labels[said.best.key]}</td>"
        in shown
    )
    assert said.sentence in repr(said)


def test_two_cells_are_compared_without_a_claim(results):
    said = wb.answer("mask_ratio")
    found = wb.compare(said.cell(video_ratio=0.9, text_ratio=0), said.baseline)
    assert 20 < found.comparison.effect < 40
    assert found.sentence.endswith("without a test and without a claim.")
    assert found.comparison.interval is not None
    back = wb.compare(said.baseline, said.cell(video_ratio=0.9, text_ratio=0))
    assert back.comparison.effect == pytest.approx(-found.comparison.effect)
    assert found.sentence.split(" (")[0] in found._repr_html_()


def test_figures_are_those_of_the_report(results):
    for kind in ("sweep", "grid", "cost", "curves", "effects", "factors", "interactions", "parallel"):
        assert wb.figure("mask_ratio", kind=kind).data, kind


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (lambda: wb.runs("nothing"), "there are no runs of study 'nothing' in results"),
        (lambda: wb.runs(results="nowhere"), "there is no folder of results 'nowhere'"),
        (lambda: wb.answer("empty"), "no run of study 'empty' is complete yet"),
        (lambda: wb.answer(), "name a study"),
        (lambda: wb.answer("mask_ratio", plan="budget 9x"), "was not asked 'budget 9x'; --asked is one of"),
        (lambda: wb.answer("sizes").baseline, "study sizes has no baseline"),
        (lambda: wb.answer("sizes").cell(width=3), "study sizes has no axis 'width'; its axes are size"),
        (
            lambda: wb.answer("mask_ratio").cell(video_ratio=0.5),
            "2 cells of study mask_ratio with video_ratio=0.5",
        ),
        (
            lambda: wb.answer("mask_ratio").cell(video_ratio=0.7),
            "no cell of study mask_ratio with video_ratio=0.7",
        ),
        (lambda: wb.compare("a", "b"), "compare needs two cells of an answer"),
        (
            lambda: wb.compare(wb.answer("mask_ratio").best, wb.answer("sizes").best),
            "compare takes two cells of one answer",
        ),
        (
            lambda: wb.compare(wb.answer("sizes").best, wb.answer("sizes").best),
            "compare takes two different cells, not size=",
        ),
        (lambda: wb.figure("mask_ratio", kind="pie"), "there is no figure 'pie'; there are sweep, grid"),
        (lambda: wb.figure("sizes", kind="effects"), "study sizes lacks the axes or the runs"),
    ],
)
def test_what_cannot_be_done_is_one_sentence(results, wrong, said):
    with pytest.raises(UserError) as error:
        wrong()
    assert said in str(error.value)
    assert "\n" not in str(error.value)


def test_the_example_notebook_runs_from_above(results):
    """Cell by cell in one namespace; of each the last expression is shown, as a notebook does."""
    notebook = json.loads(NOTEBOOK.read_text(encoding="utf-8"))
    names: dict[str, object] = {}
    shown = []
    for cell in notebook["cells"]:
        if cell["cell_type"] == "code":
            body = ast.parse("".join(cell["source"])).body
            last = body.pop() if isinstance(body[-1], ast.Expr) else None
            exec(compile(ast.Module(body, []), str(NOTEBOOK), "exec"), names)
            if last is not None:
                shown.append(eval(compile(ast.Expression(last.value), str(NOTEBOOK), "eval"), names))
    assert [type(one).__name__ for one in shown] == [
        "DataFrame", "DataFrame", "StudyAnswer", "DataFrame", "CellComparison", "Figure", "Figure",
    ]  # fmt: skip
    assert all(one._repr_html_() for one in shown)
    assert all(one.height for one in shown if isinstance(one, pl.DataFrame))


def test_the_example_notebook_holds_nothing_of_a_machine():
    notebook = json.loads(NOTEBOOK.read_text(encoding="utf-8"))
    code = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
    assert all(cell["outputs"] == [] and cell["execution_count"] is None for cell in code)
    assert set(notebook["metadata"]) == {"kernelspec", "language_info"}
    assert len({cell["id"] for cell in notebook["cells"]}) == len(notebook["cells"])
