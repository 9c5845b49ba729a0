"""The Effects view: which pictures there are, what they are about, and what the choices change."""

import json

import pytest
from reading import said
from synthetic import BASE, RATIOS, grid, key_of, write_study

from app.widgets import LIGHT

STRATEGIES = grid(strategy=["random", "tube"], video_ratio=[0.5, 0.9], text_ratio=[0.0, 0.25])


def captions(page):
    return [caption.value.replace("\\", "").replace("\u2060", "") for caption in page.caption]


def pictures(page):
    return len(page.get("plotly_chart"))


def test_a_complete_grid_has_every_picture(ratios, opened):
    ratios()
    page = opened(view="effects")
    assert not page.exception
    assert pictures(page) == 6
    shown = captions(page)
    assert any(
        c.startswith("Text-to-video R@1 (%) over video mask ratio, with 95 % intervals over seeds.")
        for c in shown
    )
    assert any("better and ↓ worse than video_ratio=0.0 text_ratio=0.0, after Holm" in c for c in shown)
    assert any(
        c.startswith("Text-to-video R@1 (%): each level of an axis, difference to the mean of") for c in shown
    )
    assert any(c.startswith("Text-to-video R@1 (%): each pair of levels, beyond its two main") for c in shown)


@pytest.mark.parametrize(
    ("error", "words"), [("queries", "over queries"), ("seeds+queries", "over seeds and queries")]
)
def test_the_error_bar_says_what_it_is_about(ratios, opened, error, words):
    ratios()
    page = opened(view="effects", error=error)
    assert not page.exception
    words = f"Text-to-video R@1 (%) over video mask ratio, with 95 % intervals {words}. "
    assert captions(page)[0].startswith(words)


def test_one_seed_has_intervals_over_queries_and_no_claim(ratios, opened):
    ratios(seeds=(0,))
    page = opened(view="effects")
    said_of_sweep = (
        "Text-to-video R@1 (%) over video mask ratio, with 95 % intervals over queries (one seed). "
    )
    assert any(c.startswith(said_of_sweep) for c in captions(page))
    assert any("one seed: no interval and no test" in c for c in captions(page))


def test_registered_contrasts_have_a_picture(ratios, opened):
    sides = [
        {
            "cells": [key_of(axes) for axes in RATIOS if axes["video_ratio"] == ratio],
            "axes": {"video_ratio": ratio},
        }
        for ratio in (0.9, 0.0)
    ]
    ratios(contrasts=[{"text": "hiding video helps", "of": sides[0], "against": sides[1]}])
    page = opened(view="effects")
    assert not page.exception
    assert any(
        c.startswith("The registered contrasts in their order: difference, with 95 %") for c in captions(page)
    )


def test_grouping_averages_over_the_other_axes(results, opened):
    write_study(results, "ratios", STRATEGIES, baseline=STRATEGIES[0], steps=8)
    page = opened(["The numbers"], view="effects", by=["strategy", "video_ratio"])
    assert not page.exception
    table = page.dataframe[0].value
    assert len(table) == 4
    assert table["seeds"].tolist() == [3] * 4
    assert table.columns[:2].tolist() == ["strategy", "video mask ratio"]
    assert any("strategy=random video_ratio=0.5, mean of 2 cells" in c for c in captions(page))


def test_a_group_that_lacks_a_cell_is_left_out_and_named(ratios, opened):
    ratios(skip={(5, seed) for seed in range(3)})
    page = opened(["The numbers"], view="effects", by=["video_ratio"])
    assert any("no seed is complete in all 2 cells" in c for c in captions(page))
    assert len(page.dataframe[0].value) == 2


def test_the_choices_are_in_the_address(ratios, opened):
    ratios()
    page = opened(view="effects", baseline=key_of(RATIOS[5]), error="queries")
    assert not page.warning
    assert page.selectbox(key="address: baseline").value == key_of(RATIOS[5])
    page.multiselect(key="address: by").set_value(["text_ratio"]).run()
    assert page.query_params["by"] == ["text_ratio"] or page.query_params["by"] == "text_ratio"
    assert "Difference to text_ratio=0.25, mean of 3 cells" in " ".join(captions(page))


def test_without_a_complete_run_it_says_what_to_run(ratios, opened):
    ratios(failed={(i, seed) for i in range(6) for seed in range(3)})
    assert "python -m workbench.study ratios" in said(opened(view="effects"))


@pytest.mark.parametrize(
    ("metric", "words"),
    [
        ("stage0_t2v_r1", "Text-to-video R@1 (%) after stage 0"),
        ("speed/clips_per_s", "Clips per second"),
        ("cost/train_gflops_per_clip", "Training GFLOPs per clip"),
    ],
)
def test_every_metric_has_its_pictures_and_so_has_what_a_choice_costs(ratios, opened, metric, words):
    ratios()
    page = opened(view="effects", metric=metric)
    assert not page.exception
    assert any(c.startswith(f"{words} over video mask ratio") for c in captions(page))


def test_hostile_names_are_words(results, opened):
    name = "<script>x</script> ![i](http://e/i.png) $\\alpha$ =cmd()"
    cells = grid(**{name: [name, "b"], "<b>ratio": [0.0, 0.5]})
    write_study(results, "ratios", cells, baseline=cells[0], steps=8)
    page = opened(view="effects")
    assert not page.exception
    assert pictures(page) == 6
    assert "<script>" not in said(page)
    assert "![i](" not in said(page)


def test_the_baseline_of_the_study_is_the_default(ratios, opened):
    ratios()
    assert opened(view="effects").selectbox(key="address: baseline").value == key_of(BASE)


def test_what_is_better_is_told_by_shape_as_well_as_by_colour(ratios, opened):
    ratios()
    specs = [chart.proto.spec for chart in opened(view="effects").get("plotly_chart")]
    assert any('"symbol":"triangle-up"' in spec and '"symbol":"circle"' in spec for spec in specs)


def test_what_stands_beside_a_picture_is_in_the_ink_of_the_page(ratios, opened):
    ratios()
    layouts = [json.loads(chart.proto.spec)["layout"] for chart in opened(view="effects").get("plotly_chart")]
    notes = [note for layout in layouts for note in layout.get("annotations", ())]
    assert any(note["text"].startswith("chance") for note in notes)
    assert {note["font"]["color"] for note in notes} == {LIGHT}


def test_over_many_cells_the_slow_parts_wait_to_be_asked_for(results, opened):
    cells = grid(video_ratio=[0.0, 0.5, 0.75], lr=[i * 1e-4 for i in range(1, 69)])
    write_study(results, "wide", cells, (0,), baseline=cells[0], steps=8)
    folded, open_ = (
        opened(view="effects"),
        opened(["Every cell through its choices"], view="effects"),
    )
    assert not folded.exception
    assert not open_.exception
    assert pictures(open_) - pictures(folded) == 1


def test_curves_have_a_view_of_their_own(ratios, opened):
    ratios()
    page = opened(view="effects")
    assert "view=curves&curve=val%2Ft2v_r1" in said(page)
    assert not [box for box in page.multiselect if box.label == "Cells"]


def rings(page):
    """How many points of each picture are marked, and the rows of the tables that are chosen."""
    shown = [json.loads(chart.proto.spec)["data"] for chart in page.get("plotly_chart")]
    marked = [sum(len(trace["x"]) for trace in traces if trace.get("name") == "marked") for traces in shown]
    return marked, page.session_state["table: ratios-effects"]["selection"]["rows"]


def test_a_marked_cell_is_marked_in_every_picture_and_in_the_table(ratios, opened):
    ratios()
    page = opened(["The numbers"], view="effects", marked=[key_of(RATIOS[4])])
    assert not page.exception
    assert not page.warning
    assert rings(page) == ([1, 1, 1, 0, 0, 0], [4])
    assert f"filter={key_of(RATIOS[4])}" in said(page)
    page.button(key="unmark: ratios-sweep").click().run()
    assert rings(page) == ([0] * 6, [])
    assert "marked" not in page.query_params


def test_only_cells_of_the_study_can_be_marked(ratios, opened):
    ratios()
    page = opened(["The numbers"], view="effects", marked=["0123456789ab", key_of(RATIOS[1])])
    assert rings(page)[1] == [1]
    assert "asks for marked" in said(page)
    assert "0123456789ab" in said(page)
