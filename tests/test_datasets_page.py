"""docs/datasets.md has a table for every benchmark, with what the page promises."""

import re
from pathlib import Path

import pytest

from workbench import data

PAGE = (Path(__file__).parents[1] / "docs" / "datasets.md").read_text(encoding="utf-8")
SECTIONS = {
    name.strip(): section
    for section in PAGE.split("\n### ")[1:]
    for name in section.partition("\n")[0].split(",")
}
BENCHMARKS = [name for name in data.names() if "benchmarks" in data.load(name).__name__]


def test_every_benchmark_has_a_section_and_no_other_is_named():
    assert set(SECTIONS) == set(BENCHMARKS)


@pytest.mark.parametrize("name", BENCHMARKS)
def test_a_section_says_protocol_files_and_licence(name):
    rows = re.findall(r"^\| (\w+) \| .+ \|$", SECTIONS[name].partition("\n## ")[0], re.MULTILINE)
    assert {"protocol", "files", "licence"} <= set(rows)
    assert len(rows) == len(set(rows))
