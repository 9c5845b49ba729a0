"""The view Compare: over written ranks, and over a trained study whose clips play."""

import json
import re
import shutil

import numpy as np
import pytest
from reading import said
from synthetic import BASE, RATIOS, key_of
from trained import STUDY, keys

OTHER = RATIOS[4]


def videos(page):
    return page.get("video")


def test_it_compares_the_selected_cell_with_the_baseline(ratios, opened):
    ratios(seeds=range(5), spread=1.0)
    page = opened(view="compare", cells=key_of(OTHER))
    words = said(page)
    assert not page.exception
    assert "video\\_ratio\\=0\\.9 text\\_ratio\\=0\\.0" in words
    assert "beats" in words
    cells = next(f.value for f in page.dataframe if "difference" in f.value.columns)
    assert len(cells) == 2


def test_cells_and_baseline_of_the_address_are_followed(ratios, opened):
    ratios()
    page = opened(view="compare", baseline=key_of(OTHER), cells=[key_of(BASE), key_of(RATIOS[2])])
    assert page.selectbox(key="address: baseline").value == key_of(OTHER)
    assert page.multiselect(key="address: cells").value == [key_of(BASE), key_of(RATIOS[2])]
    assert page.selectbox(key="address: other").value == key_of(BASE)


def test_the_other_cell_and_the_side_can_be_chosen(ratios, opened):
    ratios()
    page = opened(view="compare", cells=[key_of(BASE), key_of(OTHER), key_of(RATIOS[2])], right="baseline")
    side = page.radio(key="address: right")
    assert side.value == "baseline"
    assert side.options[1].startswith("video\\_ratio\\=0\\.0")
    side.set_value("neither").run()
    assert page.query_params["right"] == "neither"


def test_turning_the_page_shows_other_queries(ratios, opened):
    ratios()
    page = opened(view="compare", cells=key_of(OTHER))
    first = said(page)
    page.selectbox(key="address: page").set_value("2").run()
    assert page.query_params["page"] == "2"
    assert said(page) != first
    page.radio(key="address: right").set_value("neither").run()
    assert "page" not in page.query_params


def test_hostile_parameters_are_left_out_with_a_sentence(ratios, opened):
    ratios()
    page = opened(view="compare", cells="../../etc", baseline="<script>", page="-1", right="$x$", play="1;2")
    assert not page.exception
    assert "which is not here" in page.warning[0].value
    assert "<script>" not in page.warning[0].value


def test_a_cell_without_runs_is_named(ratios, opened):
    ratios(skip={(4, seed) for seed in range(3)})
    page = opened(view="compare", cells=key_of(OTHER))
    assert "cannot be compared yet" in said(page)
    assert "have no complete run of the same seed" in said(page)


def test_without_the_data_it_says_so_and_shows_the_ranks(ratios, opened):
    ratios()
    words = said(opened(view="compare", cells=key_of(OTHER)))
    assert "Nothing can be played" in words
    assert "rank **" in words


def test_a_damaged_record_of_ranks_is_a_sentence(ratios, opened, results):
    ratios()
    path = results / "runs/ratios" / f"{key_of(OTHER)}-s0/ranks.npz"
    path.write_bytes(path.read_bytes()[:100])
    page = opened(view="compare", cells=key_of(OTHER))
    assert not page.exception
    assert "is damaged" in said(page)


@pytest.fixture
def disagreeing(trained):
    """The trained study with ranks such that each cell alone answers two queries."""
    for number, key in enumerate(keys(trained)):
        for seed in (0, 1):
            path = trained / "runs" / STUDY / f"{key}-s{seed}" / "ranks.npz"
            with np.load(path) as found:
                arrays = dict(found)
            ranks = np.full(len(arrays["t2v_rank"]), 3, np.int32)
            ranks[2 * number : 2 * number + 2] = 1
            path.unlink()  # the original is shared
            np.savez(path, **(arrays | {"t2v_rank": ranks}))
    return trained


def test_the_clips_that_one_gets_right_play_with_their_captions_and_ranks(disagreeing, opened):
    page = opened(view="compare", cells=keys(disagreeing)[1])
    assert not page.exception
    assert len(videos(page)) == 2
    words = said(page)
    base, other = keys(disagreeing)
    assert re.findall(r"\[rank \*\*(\d+)\*\*\]\(\?[^)]*cell=(\w+)[^)]*\)", words) == [
        ("1", other), ("3", base), ("1", other), ("3", base)
    ]  # fmt: skip
    store = json.loads(next(disagreeing.glob("data/*/frames-*/store.json")).read_text())
    captions = [clip["captions"][0] for clip in store["clips"] if clip["split"] == "test"]
    assert captions[2] in words
    assert captions[3] in words
    page.radio(key="address: right").set_value("baseline").run()
    assert captions[0] in said(page)
    assert captions[2] not in said(page)


def test_a_video_that_is_gone_is_said_where_it_would_play(disagreeing, opened):
    shutil.rmtree(next(disagreeing.glob("data/*/videos")))
    page = opened(view="compare", cells=keys(disagreeing)[1])
    assert len(videos(page)) == 0
    assert "there is no file" in said(page)


def test_data_of_an_earlier_version_that_name_no_videos_are_explained_once(disagreeing, opened):
    path = next(disagreeing.glob("data/*/frames-*/store.json"))
    store = json.loads(path.read_text())
    del store["videos"]
    for clip in store["clips"]:
        del clip["path"]
    path.unlink()
    path.write_text(json.dumps(store))
    page = opened(view="compare", cells=keys(disagreeing)[1])
    assert not page.exception
    assert said(page).count("Nothing can be played") == 1
    assert "Not shown" not in said(page)
    assert len(videos(page)) == 0


def test_clips_can_wait_for_a_click(disagreeing, opened):
    page = opened(view="compare", cells=keys(disagreeing)[1], play="off")
    assert {video.proto.autoplay for video in videos(page)} == {False}


def test_what_differs_is_shown_and_the_rest_is_not(trained, opened):
    page = opened(view="compare", cells=keys(trained)[1])
    frames = [frame.value for frame in page.dataframe]
    (settings,) = [frame for frame in frames if "setting" in frame.columns]
    assert settings["setting"].to_list() == ["recipe.video_masking.ratio"]


def test_hostile_captions_are_text(disagreeing, opened):
    hostile = "<script>alert(1)</script> ![x](http://evil) $\\frac$"
    for path in disagreeing.glob(f"runs/{STUDY}/*/embeddings.npz"):
        with np.load(path) as found:
            arrays = dict(found)
        path.unlink()
        np.savez(path, **(arrays | {"caption": np.array([hostile] * len(arrays["caption"]))}))
    page = opened(view="compare", cells=keys(disagreeing)[1])
    shown = [m.value for m in page.markdown if "alert" in m.value]
    assert shown
    assert all("<script>" not in text and "\\<script" in text and "![" not in text for text in shown)


def test_a_pinned_comparison_is_listed_with_its_note_and_link(ratios, opened, results):
    ratios()
    page = opened(view="compare", cells=key_of(OTHER))
    page.text_area[0].set_value("only colours differ")
    page.checkbox[0].set_value(True)
    next(button for button in page.button if button.label == "Save").click().run()
    assert not page.exception
    path = results / "runs/ratios" / f"{key_of(OTHER)}-s0/notes.json"
    assert json.loads(path.read_text())["against"][key_of(BASE)]["pinned"]
    (line,) = [m.value for m in opened(view="compare").markdown if m.value.startswith("Pinned")]
    assert f"cells={key_of(OTHER)}" in line
    assert "only colours differ" in line
