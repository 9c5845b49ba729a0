"""The README stays true: its tree, its links, its commands."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from workbench.report.__main__ import main as report
from workbench.runner.arguments import parser
from workbench.study.stages import CHOSEN
from workbench.tracking.archive import opened
from workbench.tracking.runs import load_runs

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def tree() -> dict[str, str]:
    """Paths of the annotated tree and their notes."""
    block = README.split("## Repository layout")[1].split("```")[1]
    found, parent = {}, ""
    for line in block.strip("\n").splitlines():
        name, _, note = line.strip().partition(" ")
        if not line.startswith(" "):
            parent = name
            found[name] = note.strip()
        else:
            found[parent + name] = note.strip()
    return found


def test_the_tree_shows_what_is_there_and_nothing_else() -> None:
    shown = tree()
    assert all(shown[path] for path in shown if path != "workbench/"), "every line says what it is"
    missing = [path for path in shown if not (ROOT / path).exists()]
    assert missing == []
    here = {
        f"workbench/{p.name}{'/' if p.is_dir() else ''}"
        for p in (ROOT / "workbench").iterdir()
        if not p.name.startswith("__")
    }
    assert here <= set(shown), sorted(here - set(shown))


def test_its_links_and_pictures_exist() -> None:
    links = re.findall(r"\]\(([^)#]+)\)", README)
    local = [link for link in links if not link.startswith("http")]
    assert local
    assert [link for link in local if not (ROOT / link).exists()] == []


def test_the_study_options_it_shows_exist() -> None:
    shown = set(re.findall(r"python -m workbench\.study[^\n#]*?(--[a-z-]+)", README))
    known = set(re.findall(r"--[a-z-]+", parser().format_help()))
    assert shown
    assert shown <= known


def test_make_targets_it_names_exist() -> None:
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    assert set(re.findall(r"^make ([a-z]+)", README, re.MULTILINE)) <= targets


def test_the_tests_that_the_reliability_page_names_exist() -> None:
    page = (ROOT / "docs/reliability.md").read_text(encoding="utf-8")
    named = set(re.findall(r"::(test_\w+|Test\w+)", page))
    source = "\n".join(path.read_text(encoding="utf-8") for path in (ROOT / "tests").rglob("test_*.py"))
    assert len(named) > 20
    assert [name for name in sorted(named) if not re.search(rf"(def|class) {name}", source)] == []
    files = set(re.findall(r"`((?:tests/)?[\w/]+\.py)", page))
    assert [f for f in files if not (ROOT / f).exists() and not (ROOT / "tests/faults" / f).exists()] == []


ARCHIVE = ROOT / "docs/data/findings.zip"
PARTS = tuple(f"components-{name}" for name in ("coca", "videomae", "maskvlm", "violetv2"))
PROMISES = tuple(f"promises-{name}" for name in ("omnivl", "hitea", "internvideo", "slan", "locvtp"))
CHECKED = (
    "mask_ratio",
    "scaling",
    "mask_strategy",
    "mac_claims",
    "mac_trend",
    "flip_curve",
    "align_or_predict",
    "text_masking",
    "unmasked_tuning",
    "systems",
    *PARTS,
    "promises",
    *PROMISES,
    "text_start",
)


@pytest.mark.parametrize(
    ("study", "page"), [("mask_ratio", "README.md"), *((study, "docs/findings.md") for study in CHECKED)]
)
def test_its_tables_are_those_of_the_runs_in_the_archive(study: str, page: str) -> None:
    assert report([study, "--results", str(ARCHIVE), "--check", str(ROOT / page)]) == 0


def test_the_table_of_learning_rates_is_that_of_the_runs_in_the_archive() -> None:
    page = (ROOT / "docs/findings.md").read_text(encoding="utf-8")
    section = page.split("## At which learning rate")[1].split("\n## ")[0]
    rows = [
        [field.strip() for field in line.strip("|").split("|")]
        for line in section.splitlines()
        if line[:1] == "|"
    ]
    (_, *rates, _), _, *systems = rows
    with opened(ARCHIVE) as results:
        runs = load_runs(results, "systems_rates").select("axis.system", "axis.lr", "metric.val/t2v_meanr")
    measured = {(system, rate): rank for system, rate, rank in runs.iter_rows()}
    shown = {
        (system, float(rate)): rank
        for system, *ranks, _ in systems
        for rate, rank in zip(rates, ranks, strict=True)
    }
    assert set(shown) == set(measured)
    for (system, rate), rank in shown.items():
        assert rank.strip("*") == f"{measured[system, rate]:.1f}", (system, rate)
        assert rank.startswith("**") == (CHOSEN[system] == rate), f"{system}: the bold one is what was chosen"


def test_the_archive_is_small() -> None:
    assert ARCHIVE.stat().st_size < 4 << 20
