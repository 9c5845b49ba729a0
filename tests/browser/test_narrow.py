"""The dashboard on a telephone: what is wide is scrolled at its own width, and nothing lies upon anything."""

import pytest
from serving import dashboard, visit
from synthetic import BASE, RATIOS, key_of, write_study

WIDTHS = """() => [...document.querySelectorAll('[class*=st-key-scrolled]')].map(place => {
    const least = Number(place.className.match(/st-key-scrolled-([0-9]+)/)[1])
    return [least, place.querySelector('.main-svg').getBoundingClientRect().width]
})"""
COVERED = """() => {
    const boxes = what => [...document.querySelectorAll(what)].map(e => e.getBoundingClientRect())
    const tools = boxes('[data-testid=stElementToolbar]').filter(box => box.width)
    const buttons = boxes('[data-testid=stDownloadButton] button')
    return [tools.length, buttons.length, buttons.filter(b => tools.some(
        t => t.left < b.right && b.left < t.right && t.top < b.bottom && b.top < t.bottom)).length]
}"""


@pytest.fixture(scope="module")
def shown(tmp_path_factory):
    """Address of the dashboard over a study with two axes."""
    results = tmp_path_factory.mktemp("narrow") / "results"
    sides = {"of": RATIOS[2], "against": BASE}
    contrast = {side: {"cells": [key_of(axes)], "axes": axes} for side, axes in sides.items()}
    contrasts = [{"text": "half hidden rather than none", **contrast}]
    write_study(results, "ratios", RATIOS, baseline=BASE, steps=40, contrasts=contrasts)
    with dashboard(results, tmp_path_factory.mktemp("server") / "log") as (address, _):
        yield address


@pytest.fixture
def telephone(chromium):
    context = chromium.new_context(viewport={"width": 420, "height": 900}, is_mobile=True, has_touch=True)
    yield context.new_page()
    context.close()


def test_wide_pictures_keep_their_width(shown, telephone):
    visit(telephone, shown, study="ratios", view="effects")
    telephone.wait_for_function("document.querySelectorAll('[class*=st-key-scrolled] .main-svg').length > 1")
    telephone.wait_for_function(f"({WIDTHS})().every(([least, width]) => width >= least)", timeout=20_000)
    widths = telephone.evaluate(WIDTHS)
    assert max(least for least, _ in widths) >= 420, "wider than there is room for"
    assert telephone.evaluate("document.documentElement.scrollWidth") <= 420


def test_the_buttons_of_a_table_leave_the_downloads_above_it_in_sight(shown, telephone):
    visit(telephone, shown, study="ratios", view="study")
    tools, buttons, covered = telephone.evaluate(COVERED)
    assert tools > 1
    assert buttons > 4
    assert covered == 0
