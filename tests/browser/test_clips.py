"""From a number to its clips, by mouse and keyboard: pictures lead to cells, clips play and stop together."""

import pytest
from serving import settled, visit

pytestmark = pytest.mark.timeout(600, method="thread")


def click(page, chart, which):
    """Clicks a point of a picture; of a map, one of its fields."""
    point = chart.locator(".scatterlayer .point").nth(which)
    point.scroll_into_view_if_needed()
    place = point.bounding_box()
    page.mouse.click(place["x"] + place["width"] / 2, place["y"] + place["height"] / 2)


def test_a_point_of_a_curve_and_a_field_of_a_map_lead_to_their_cells(page, served):
    visit(page, served, study="gaps", view="effects")
    charts = page.locator(".js-plotly-plot")
    assert charts.nth(1).locator(".heatmaplayer image").count() == 1
    for number in (0, 1):
        click(page, charts.nth(number), 1)
        page.get_by_role("link", name="its runs").nth(number).wait_for()
    links = page.get_by_role("link", name="its runs").all()
    keys = [link.get_attribute("href").rpartition("filter=")[2] for link in links]
    assert [len(key) for key in keys] == [12, 12]
    visit(page, served, study="gaps", view="runs", filter=keys[1])
    assert "3 of 16 runs" in page.inner_text("body")
    settled(page)
