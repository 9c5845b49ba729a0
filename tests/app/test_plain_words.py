"""What files call a metric is seen on no screen."""

import json
import re
from pathlib import Path

import pytest
from reading import said
from synthetic import RATIOS, key_of

VIEWS = sorted(p.stem for p in (Path(__file__).parents[2] / "app/views").glob("*.py") if p.stem != "__init__")
RAW = re.compile(r"\b(?:test|val|train|cost|speed|mask)/[a-z]\w*|\w+_(?:r1|r5|r10|medr|meanr)\b")
PARTS = ("curves", "config", "environment", "cost", "log")


def shown(page):
    """All words on the page: texts, choices, heads and words of tables, axes and captions of pictures."""
    words = [re.sub(r"\]\([^)]*\)", "]", said(page))]  # without the addresses of links
    for kind in ("selectbox", "multiselect", "radio", "button_group", "text_input", "slider"):
        for widget in page.get(kind):
            words += [widget.label, *map(str, getattr(widget, "options", ()))]
    for element in page.dataframe:
        table = element.value
        words += [*map(str, table.columns), *(str(word) for column in table for word in table[column])]
    words += [f"{metric.label} {metric.value}" for metric in page.metric]
    for chart in page.get("plotly_chart"):
        words += [chart.proto.alt, *strings(json.loads(chart.proto.spec))]
    return "\n".join(words)


def strings(part):
    """All words of a picture but its name, by which it is known when it is drawn again."""
    if isinstance(part, dict):
        return [word for name, value in part.items() if name != "uirevision" for word in strings(value)]
    if isinstance(part, list):
        return [word for value in part for word in strings(value)]
    return [part] if isinstance(part, str) else []


@pytest.mark.parametrize("view", VIEWS)
def test_no_view_has_a_metric_as_files_call_it(ratios, opened, view):
    ratios()
    page = opened(["The numbers", "Every cell and seed"], view=view)
    assert not page.exception
    assert not RAW.findall(shown(page))


@pytest.mark.parametrize("part", PARTS)
def test_the_page_of_a_run_has_none(ratios, opened, part):
    ratios()
    page = opened(view="runs", run=f"{key_of(RATIOS[1])}-s0", part=part)
    assert not page.exception
    assert not RAW.findall(shown(page))
