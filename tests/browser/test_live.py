"""A dashboard that was opened before there was anything to see follows by itself, view by view."""

import pytest
from serving import dashboard, settled, visit
from synthetic import BASE, RATIOS, key_of, label_of, write_run, write_study

pytestmark = pytest.mark.timeout(600, method="thread")
PATIENCE = 90_000
"""Milliseconds; how soon a page follows is no matter of a test, that it does without a click is."""


@pytest.fixture
def person(chromium):
    context = chromium.new_context(viewport={"width": 1400, "height": 1000})
    yield context
    context.close()


def grow(results, seed):
    """One more seed of every cell, asked for and complete."""
    for axes in RATIOS:
        cell = {"key": key_of(axes), "cell": label_of(axes), "axes": axes}
        write_run(results, "ratios", cell, seed, 40, 1, steps=40)


def test_every_view_follows_a_study_that_begins_and_grows(person, tmp_path):
    results = tmp_path / "results"
    results.mkdir()
    with dashboard(results, tmp_path / "log") as (address, _):
        empty = person.new_page()
        visit(empty, address)
        assert "No runs yet" in empty.inner_text("main")
        write_study(results, "ratios", RATIOS, (0, 1), baseline=BASE, steps=40)
        empty.get_by_role("heading", name="How much should be hidden?").wait_for(timeout=PATIENCE)

        pages = {name: person.new_page() for name in ("runs", "effects", "curves")}
        for view, page in pages.items():
            visit(page, address, study="ratios", view=view)
        older = "This page shows older numbers"
        assert all(older not in page.inner_text("main") for page in pages.values())
        grow(results, 2)
        pages["runs"].get_by_text("18 of 18 runs.").wait_for(timeout=PATIENCE)
        pages["curves"].get_by_text("up to 3 seeds").wait_for(timeout=PATIENCE)
        page = pages["effects"]
        page.get_by_text("6 more runs have ended since it was opened.").wait_for(timeout=PATIENCE)
        page.get_by_role("button", name="Show the new ones").click()
        page.get_by_text(older).wait_for(state="detached", timeout=PATIENCE)
        settled(page)

        write_study(results, "another", RATIOS[:2], (0,), baseline=BASE)
        page.get_by_text("A study has begun since: another.").wait_for(timeout=PATIENCE)
