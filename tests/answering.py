"""Fixtures around synthetic studies of several shapes, for the tests of answers and of reports."""

import json

import pytest
from synthetic import BASE, RATIOS, write_study

from workbench.answer.results import answer
from workbench.answer.study_record import load
from workbench.report.__main__ import main


@pytest.fixture
def results(tmp_path):
    return tmp_path / "results"


@pytest.fixture
def ratios(results):
    """Writes the study `ratios`: 3 x 2 cells of which those with a masked video are clearly better."""

    def write(seeds=(0, 1, 2, 3, 4, 5), cells=RATIOS, **options):
        given = {"quality": lambda axes: 30 + 30 * (axes["video_ratio"] > 0), "baseline": BASE, "spread": 1.0}
        write_study(results, "ratios", cells, seeds, **(given | options))
        return results

    return write


@pytest.fixture
def answered(results):
    """The answer of a study that was written."""
    return lambda name="ratios": answer(load(results, name), results)


@pytest.fixture
def report(results, capsys):
    """Runs the command: exit code, output, errors."""

    def run(*arguments):
        code = main([*map(str, arguments), "--results", str(results)])
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return run


@pytest.fixture
def change(results):
    """Changes JSON values in a file of a run: change("ratios", key, seed, "summary.json", {...})."""

    def edit(study, key, seed, file, values):
        path = results / "runs" / study / f"{key}-s{seed}" / file
        path.write_text(json.dumps(json.loads(path.read_text()) | values))
        return path

    return edit
