"""Records that an earlier version left behind say what they said then: the same tables and sentences.

`tests/fixtures/records_before.tar.gz` holds the run directories of four smoke studies, without checkpoints,
and the report that the version of that time wrote of them. Smoke tests claim nothing since; so that what is
tested and claimed is compared too, they are answered here as if they were none.
"""

import csv
import io
import math
import tarfile
from dataclasses import replace
from pathlib import Path

import pytest

from workbench import tables
from workbench.answer.caveats import SMOKE
from workbench.answer.results import answer
from workbench.answer.study_record import load
from workbench.report import pictures, rows
from workbench.report.check import check
from workbench.report.page import page

ARCHIVE = Path(__file__).parents[1] / "fixtures" / "records_before.tar.gz"
STUDIES = ("mask_ratio", "mac_claims", "unmasked_tuning", "pareto")
WRITTEN_BY = ("- workbench: ", "% workbench: ")
"""Lines that name the version which wrote the report, the only thing that may change."""


@pytest.fixture(scope="module")
def before(tmp_path_factory):
    """The results folder of that time: `runs/` and `reports/`."""
    folder = tmp_path_factory.mktemp("before")
    with tarfile.open(ARCHIVE) as archive:
        archive.extractall(folder, filter="data")
    return folder


@pytest.fixture(scope="module", params=STUDIES)
def told(request, before):
    """The answer of now, and the folder of the report of then."""
    asked = replace(load(before, request.param), smoke=False)
    return answer(asked, before), before / "reports" / f"{request.param}-smoke"


def lines(text):
    told = [line.removeprefix(f"{SMOKE} ") for line in text.splitlines()]
    return [line for line in told if not line.startswith(WRITTEN_BY)]


def same(now, then):
    """Equal words; numbers with all digits may differ in the last ones, which another build of numpy may sum
    up in another order."""
    if now == then:
        return True
    try:
        return math.isclose(float(now), float(then), rel_tol=1e-9, abs_tol=1e-12)
    except ValueError:
        return False


def test_the_page_says_the_same(told, before):
    found, folder = told
    shown = [(picture.name, picture.caption) for picture in pictures.pictures(found, before)]
    assert lines(page(found, shown)) == lines((folder / "answer.md").read_text())


def test_the_table_for_a_paper_still_matches(told):
    """It is printed in another form now, and the old form holds the same words."""
    found, folder = told
    checked = check(found, folder / "table.tex")
    assert checked.differences == ()
    columns = (folder / "table.tex").read_text().split("\\toprule\n")[1].split("\\\\")[0].count("&") + 1
    assert checked.compared[0].startswith(f"{found.cells.height} of {found.cells.height} rows x ")
    axes = sum(axis in found.cells.columns for axis in found.asked.axes)
    assert f"x {columns - axes} of {columns - axes} columns" in checked.compared[0]


def test_all_digits_are_the_same(told):
    found, folder = told
    texts = (tables.to_csv(rows.exact(found)), (folder / "table.csv").read_text())
    now, then = (list(csv.reader(io.StringIO(text))) for text in texts)
    assert now[0] == then[0]
    assert [len(row) for row in now] == [len(row) for row in then]
    pairs = [pair for both in zip(now, then, strict=True) for pair in zip(*both, strict=True)]
    assert [pair for pair in pairs if not same(*pair)] == []
