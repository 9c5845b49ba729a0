"""The view Masks over a trained study: every masking, drawn by the helper, on clips of the data."""

import shutil

import numpy as np
import pytest
from reading import said
from trained import STUDY, keys

from app.helper import ask
from workbench.data.store import FrameStore
from workbench.masking import names
from workbench.tracking.run_dir import RunDir


def task(results, video, text=("TokenMasking", 0.0), **changes):
    store = next(results.glob("data/*/frames-*"))
    run = RunDir.of(results, STUDY, keys(results)[0], 0)
    given = {
        "want": "mask", "run": str(run.path), "store": str(store), "row": 3, "video": video, "text": text,
        "caption": "a red star moves left", "seed": 0,
    }  # fmt: skip
    return given | changes


def metrics(page):
    return {metric.label: metric.value for metric in page.metric}


@pytest.mark.parametrize("name", names.video())
def test_every_video_masking_hides_its_share_of_the_frames(trained, name):
    answer, payload = ask(**task(trained, (name, 0.5)))
    frames = FrameStore.open(next(trained.glob("data/*/frames-*"))).frames[3]
    seen = np.frombuffer(payload, np.uint8).reshape(frames.shape)
    grey = (seen == (150, 150, 158)).all(-1)
    assert answer["hidden"] == answer["tokens"] // 2
    assert grey.mean() == pytest.approx(0.5, abs=0.01)
    assert np.array_equal(seen[~grey], frames[~grey])
    assert answer["flops"] < 0.7 * answer["flops_of_all"]


@pytest.mark.parametrize("name", names.text())
def test_every_text_masking_hides_its_share_of_the_words(trained, name):
    answer, _ = ask(**task(trained, ("RandomMasking", 0.0), (name, 0.4)))
    assert answer["words"] == ["a", "red", "star", "moves", "left"]
    assert sum(answer["words_hidden"]) == 2
    assert answer["flops"] == answer["flops_of_all"]


def test_it_opens_with_the_masking_of_the_cell(trained, opened):
    page = opened(view="masks", cell=keys(trained)[1])
    assert not page.exception
    assert page.selectbox(key="address: video").value == "PerFrameMasking"
    assert page.slider(key="address: video_ratio").value == 0.5
    assert page.slider(key="address: words_ratio").value == 0.25
    assert metrics(page)["Video tokens hidden"] == "16 of 32"
    assert metrics(page)["Video tokens encoded"] == "16 of 32"
    assert len(page.get("video")) == 1
    assert len(page.get("image")) == 8


def test_a_link_gives_the_same_mask_and_another_draw_another(trained, opened):
    chosen = {
        "video": "TubeMasking",
        "video_ratio": "0.25",
        "words": "WholeWordMasking",
        "words_ratio": "0.5",
    }
    page = opened(view="masks", **chosen, split="val")
    assert page.selectbox(key="address: split").value == "val"
    assert metrics(page)["Video tokens hidden"] == "8 of 32"
    assert "█" in said(page)
    (again, first), (_, other) = (ask(**task(trained, ("TubeMasking", 0.25), seed=seed)) for seed in (0, 1))
    assert again["hidden"] == 8
    assert first != other
    page.slider(key="address: video_ratio").set_value(0.75).run()
    assert page.query_params["video_ratio"] == "0.75"
    assert metrics(page)["Video tokens hidden"] == "24 of 32"


def test_hiding_everything_is_refused_in_words(trained, opened):
    page = opened(view="masks", video_ratio="1")
    assert not page.exception
    assert "a video mask ratio is a share in \\[0\\, 1\\)" in said(page)


def test_hostile_parameters_are_left_out_with_a_sentence(trained, opened):
    hostile = {"video": "__import__", "video_ratio": "nan", "words": "../..", "words_ratio": "1e999",
               "draw": "-1", "clip": "<b>", "split": "$x$"}  # fmt: skip
    page = opened(view="masks", **hostile)
    assert not page.exception
    assert page.warning[0].value.count("it is left out") == len(hostile)
    assert len(page.get("image")) == 8


def test_a_masking_that_is_none_is_refused_by_the_helper(trained):
    with pytest.raises(Exception, match="there is no masking 'os'"):
        ask(**task(trained, ("os", 0.5)))


def test_without_data_or_tokenizer_it_says_what_is_missing(trained, opened):
    for path in trained.glob(f"runs/{STUDY}/*/tokenizer.json"):
        path.unlink()
    assert "left no tokenizer" in said(opened(view="masks"))
    shutil.rmtree(trained / "data")
    page = opened(view="masks")
    assert not page.exception
    assert "the clips of this study are not on this machine" in said(page)


def test_a_run_of_another_version_is_refused_in_words(ratios, opened):
    ratios()
    page = opened(view="masks")
    assert not page.exception
    assert "does not say which data" in said(page)
