"""A person at the dashboard: every view, a deep link, a filter, a download, hostile names."""

import json
from pathlib import Path

import pytest
from serving import click_cell, settled, visit

# The first test waits for the smoke study. A browser that hangs leaves Playwright waiting in a loop that no
# signal ends in good order: the worker is ended and another one takes over.
pytestmark = pytest.mark.timeout(600, method="thread")
ROOT = Path(__file__).parents[2]
VIEWS = sorted(p.stem for p in (ROOT / "app/views").glob("*.py") if p.stem != "__init__")


def shot(page, pictures, name):
    path = pictures / f"{name}.png"
    page.screenshot(path=str(path), full_page=True)
    assert path.stat().st_size > 10_000


@pytest.mark.parametrize("view", VIEWS)
def test_every_view_opens_over_a_real_study(page, served, pictures, view):
    visit(page, served, study="mask_ratio", view=view)
    assert not page.query_selector('[data-testid="stException"]'), page.inner_text("body")
    assert not page.query_selector('[data-testid="stAlertContentError"]'), page.inner_text("body")
    assert page.get_by_role("radio", checked=True).count() >= 1
    shot(page, pictures, view)


@pytest.mark.parametrize("view", VIEWS)
def test_hostile_names_are_only_words(page, served, pictures, view):
    asked = []
    page.on("request", lambda request: asked.append(request.url))
    visit(page, served, study="hostile", view=view)
    assert not page.query_selector('[data-testid="stException"]'), page.inner_text("body")
    assert page.evaluate("window.pwned") is None
    assert not page.query_selector("main img[src*='127.0.0.1:1/']")
    assert not page.query_selector("main .katex")
    assert [url for url in asked if not url.startswith((served, "ws:", "data:", "blob:"))] == []


def test_navigation_follows_the_keyboard_and_the_address(page, served):
    visit(page, served, study="gaps")
    page.get_by_role("radio").first.focus()
    page.keyboard.press("ArrowDown")
    page.wait_for_url("**view=*")
    settled(page)
    assert "view=effects" in page.url
    page.reload()
    settled(page)
    assert page.get_by_role("heading", name="Effects", exact=True).count() == 1


def test_hostile_addresses_do_no_harm(page, served):
    visit(
        page,
        served,
        study="../../etc/passwd",
        view="<script>alert(1)</script>",
        cells=["'; drop", "x" * 3000],
    )
    assert not page.query_selector('[data-testid="stException"]')
    assert "is left out" in page.inner_text('[data-testid="stAlert"]')


def test_a_table_comes_down_as_csv_and_latex(page, served, tmp_path):
    visit(page, served, study="mask_ratio", view="study")
    for kind, mark in (("CSV", "90 % of the video hidden"), ("TEX", "\\toprule")):
        with page.expect_download() as waiting:
            page.get_by_role("button", name=kind, exact=True).first.click()
        file = tmp_path / f"table.{kind}"
        waiting.value.save_as(file)
        assert mark in file.read_text()


def test_a_figure_comes_down_for_the_paper(page, served, tmp_path):
    visit(page, served, study="mask_ratio", view="effects")
    for kind, magic in (("PNG", b"\x89PNG"), ("PDF", b"%PDF")):
        with page.expect_download() as waiting:
            page.get_by_role("button", name=kind, exact=True).first.click()
        file = tmp_path / f"figure.{kind}"
        waiting.value.save_as(file)
        assert file.read_bytes().startswith(magic)


def test_selecting_a_point_leads_to_its_cell(page, served):
    visit(page, served, study="mask_ratio", view="cost")
    key = click_cell(page, page.locator(".js-plotly-plot").first, 0)
    link = page.get_by_role("link", name="its runs")
    link.wait_for()
    assert f"filter={key}" in link.get_attribute("href")
    visit(page, served, study="mask_ratio", view="runs", filter=key)
    assert "1 of 5 runs" in page.inner_text("body")


def test_a_filter_narrows_the_table_and_stands_in_the_address(page, served):
    visit(page, served, study="gaps", view="runs")
    assert "16 of 16 runs" in page.inner_text("body")
    box = page.get_by_role("textbox", name="Filter")
    box.fill("failed")
    box.press("Enter")
    page.wait_for_url("**filter=failed*")
    settled(page)
    assert "1 of 16 runs" in page.inner_text("body")


def test_a_clip_plays(page, served):
    visit(page, served, study="mask_ratio", view="retrieval")
    video = page.locator("video").first
    video.scroll_into_view_if_needed()
    video.evaluate("video => { video.muted = true; return video.play(); }")
    page.wait_for_function("() => document.querySelector('video').currentTime > 0")


def test_a_deep_link_shows_the_comparison_it_was_copied_from(page, served, results, chromium):
    asked = json.loads((results / "runs/mask_ratio/study.json").read_text())
    labels = {cell["key"]: cell["cell"] for cell in asked["cells"]}
    base, *cells = [key for key in labels if key != asked["baseline"]][1:4]
    given = {"baseline": base, "cells": cells, "metric": "t2v_r5"}
    visit(page, served, study="mask_ratio", view="compare", **given)
    page.get_by_role("radio", name="FLOPs").click()
    page.wait_for_url("**clock=pflops*")
    settled(page)
    other = chromium.new_context(viewport={"width": 1400, "height": 1000}).new_page()
    other.goto(page.url)
    settled(other)
    for shown in (page, other):
        assert shown.get_by_role("combobox", name="Baseline", exact=True).input_value() == labels[base]
        assert "R@5" in shown.get_by_role("combobox", name="Metric", exact=True).input_value()
        chosen = shown.locator(".st-key-address--cells").inner_text()
        assert [key for key in labels if labels[key] in chosen.split("\n")] == cells
        assert shown.get_by_role("radio", name="FLOPs").get_attribute("aria-checked") == "true"
        assert "5 (%) over training PFLOPs" in shown.inner_text("main")
    assert other.inner_text("main") == page.inner_text("main")
    other.context.close()


def test_an_address_names_what_would_else_move(page, served):
    visit(page, served, study="mask_ratio", view="compare")
    assert "cells=" in page.url
    visit(page, served)
    page.wait_for_url("**study=*")


@pytest.mark.parametrize("letters", [100, 250, 300])
def test_a_long_name_does_not_break_the_page(page, served, pictures, letters):
    """The longest name of a study, a folder that cannot be one, and one that no disk could hold."""
    visit(page, served, study="n" * letters)
    assert ("is left out" in page.inner_text("body")) == (letters > 100)
    width = page.evaluate("document.documentElement.scrollWidth")
    assert width <= 1400
    shot(page, pictures, f"name-of-{letters}")


def brightness(page, selector, colour):
    """Sum of red, green and blue of a style of the first such element."""
    style = f"getComputedStyle(document.querySelector({selector!r})).{colour}"
    return sum(int(float(part)) for part in page.evaluate(style).strip("rgba()").split(",")[:3])


@pytest.mark.parametrize("view", ["study", "effects", "cost", "masks"])
def test_in_the_dark(chromium, served, pictures, view):
    context = chromium.new_context(viewport={"width": 1400, "height": 1000}, color_scheme="dark")
    page = context.new_page()
    visit(page, served, study="mask_ratio", view=view)
    assert brightness(page, "[data-testid=stApp]", "backgroundColor") < 200
    assert brightness(page, "h1, h2", "color") > 500
    if view in ("effects", "cost"):
        page.wait_for_selector(".js-plotly-plot .xtick text")
        assert brightness(page, ".js-plotly-plot .xtick text", "fill") > 300
        assert brightness(page, ".js-plotly-plot .main-svg", "backgroundColor") < 200
    if view == "masks":
        page.wait_for_selector("img[alt='Frame 1, from above: the clip, as the encoder sees it']")
    shot(page, pictures, f"dark-{view}")
    context.close()


def test_the_server_listens_on_loopback_only(served):
    port = f"{int(served.rpartition(':')[2]):04X}"
    tables = [Path(f"/proc/net/{name}").read_text().splitlines()[1:] for name in ("tcp", "tcp6")]
    listening = [row.split()[1] for table in tables for row in table if row.split()[3] == "0A"]
    mine = [address for address in listening if address.endswith(f":{port}")]
    assert mine == [f"0100007F:{port}"]
