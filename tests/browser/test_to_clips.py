"""From a number to its clips, by mouse and keyboard: pictures lead to cells, clips play and stop together."""

import re

import pytest
from playwright.sync_api import expect
from serving import click_cell, settled, visit

pytestmark = pytest.mark.timeout(600, method="thread")


MARKED = """(count) => [...document.querySelectorAll('.js-plotly-plot')].slice(0, 3).every(
    (picture) => picture.data.some((trace) => trace.name === 'marked' && trace.x.length === count))"""
"""Whether each of the first three pictures has so many marked cells."""


@pytest.mark.parametrize(
    ("picture", "which", "fields"), [(0, 1, False), (1, 3, True)], ids=["point", "field"]
)
def test_a_cell_that_is_selected_in_one_picture_is_marked_in_all_and_leads_to_its_runs(
    page, served, picture, which, fields
):
    visit(page, served, study="gaps", view="effects")
    charts = page.locator(".js-plotly-plot")
    assert charts.nth(1).locator(".heatmaplayer image").count() == 1
    key = click_cell(page, charts.nth(picture), which, fields=fields)
    page.wait_for_url(f"**marked={key}*")
    settled(page)
    page.wait_for_function(MARKED, arg=1)
    links = page.get_by_role("link", name="its runs")
    assert [link.get_attribute("href").rpartition("filter=")[2] for link in links.all()] == [key] * (
        1 + picture
    )
    visit(page, served, study="gaps", view="runs", filter=key)
    assert re.search(r"\b[1-3] of \d+ runs", page.inner_text("body")), page.inner_text("body")
    settled(page)


def test_clips_stop_and_go_on_together_with_controls_outside_of_the_pictures(page, served):
    visit(page, served, study="mask_ratio", view="retrieval")
    page.wait_for_function("() => document.querySelectorAll('video').length > 3")
    page.wait_for_function("() => [...document.querySelectorAll('video')].every(v => v.loop && !v.controls)")
    page.get_by_role("button", name="Pause all").click()
    page.wait_for_function("() => [...document.querySelectorAll('video')].every(v => v.paused)")
    page.get_by_role("button", name="Half speed").click()
    page.get_by_role("button", name="Replay all").click()
    page.wait_for_function("() => [...document.querySelectorAll('video')].every(v => !v.paused)")
    assert page.evaluate("() => [...document.querySelectorAll('video')].every(v => v.playbackRate === 0.5)")
    first = page.locator("video").first
    first.click()
    page.wait_for_function("() => document.querySelector('video').paused")


def test_a_change_is_one_entry_of_history_and_the_tab_says_where_one_is(page, served):
    visit(page, served, study="mask_ratio", view="masks")
    page.wait_for_url("**auto=cell*")
    before = page.evaluate("history.length")
    page.get_by_test_id("stSidebar").get_by_text("Compare", exact=True).click()
    page.wait_for_url("**cells=*")
    settled(page)
    assert page.evaluate("history.length") == before + 1
    assert page.title() == "Compare · mask_ratio"
    page.go_back()
    # The browser changes the address before the script begins, so neither it nor a still script says that the
    # page has followed; the title does.
    expect(page).to_have_title("Masks · mask_ratio", timeout=60_000)
    settled(page)
    assert page.get_by_role("heading", name="Masks", exact=True).count() == 1


def test_on_a_telephone_the_menu_closes_after_a_choice_and_masks_stand_in_pairs(chromium, served, pictures):
    context = chromium.new_context(viewport={"width": 390, "height": 844}, is_mobile=True, has_touch=True)
    page = context.new_page()
    visit(page, served, study="mask_ratio", view="study")
    page.get_by_test_id("stExpandSidebarButton").click()
    page.get_by_test_id("stSidebar").get_by_text("Masks", exact=True).click()
    page.wait_for_selector("img[alt='Frame 2, from above: the clip, as the encoder sees it']")
    page.wait_for_function(
        "() => !(document.querySelector('[data-testid=stSidebar]')?.getBoundingClientRect().right > 1)"
    )
    pair = page.locator("img[alt^='Frame 1, from above']").bounding_box()
    assert pair["height"] > 1.9 * pair["width"]
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    page.screenshot(path=str(pictures / "phone-masks.png"))
    context.close()
