"""The view Predictions over trained runs: what each recipe is able to predict, beside the truth."""

import shutil

import numpy as np
import pytest
from reading import said
from trained import RECIPES, keys

from app.helper import ask
from workbench.data.store import FrameStore
from workbench.tracking.run_dir import RunDir

ABLE = ("simvtp", "videomae")
"""Those of the study that predict pixels."""


def cell(results, recipe):
    return keys(results, "recipes")[RECIPES.index(recipe)]


def task(results, recipe, **changes):
    store = next(results.glob("data/*/frames-*"))
    run = RunDir.of(results, "recipes", cell(results, recipe), 0)
    given = {
        "want": "reconstruction", "run": str(run.path), "store": str(store), "row": 3, "seed": 0,
        "caption": "a red star moves left then spins on a plain background",
    }  # fmt: skip
    return given | changes


def metrics(page):
    return {metric.label: metric.value for metric in page.metric}


@pytest.mark.parametrize("recipe", ABLE)
def test_what_is_visible_is_the_clip_and_the_rest_is_predicted(recipes, recipe):
    answer, payload = ask(**task(recipes, recipe))
    clip = FrameStore.open(next(recipes.glob("data/*/frames-*"))).frames[3]
    seen, drawn = np.frombuffer(payload, np.uint8).reshape(2, *clip.shape)
    grey = (seen == (150, 150, 158)).all(-1)
    assert grey.mean() == pytest.approx(answer["hidden"] / answer["tokens"], abs=0.01)
    assert np.array_equal(seen[~grey], clip[~grey])
    assert np.array_equal(drawn[~grey], clip[~grey])
    off = np.abs(drawn[grey].astype(float) - clip[grey]).mean()
    assert answer["error"] == pytest.approx(off, abs=0.5)
    assert answer["error"] > 0


def test_it_opens_with_the_first_recipe_that_predicts_something(recipes, opened):
    page = opened(view="predictions")
    assert not page.exception
    assert page.selectbox(key="address: cell").value == cell(recipes, "simvtp")
    assert metrics(page)["Patches hidden"] == "28 of 32"
    assert len(page.get("image")) == 4
    assert len(page.get("video")) == 1


def test_the_picture_says_how_it_was_made(recipes, opened):
    words = said(opened(view="predictions", cell=cell(recipes, "simvtp"), draw="7"))
    assert "28 of 32 patches hidden" in words
    assert "mask 7" in words
    assert "2 frames make one patch" in words
    assert "the mean and the contrast of each colour of each patch are taken from the true clip" in words
    assert "the run went on with align" in words
    assert "tokens are hidden" in words
    assert "█" in words
    words = said(opened(view="predictions", cell=cell(recipes, "videomae")))
    assert "not from the caption" in words
    assert "went on" not in words
    assert "█" not in words


def test_a_button_and_the_address_draw_another_mask(recipes, opened):
    first, other = (ask(**task(recipes, "videomae", seed=seed))[1] for seed in (0, 1))
    assert first != other
    page = opened(view="predictions", cell=cell(recipes, "videomae"))
    page.button[0].click().run()
    assert page.query_params["draw"] == "1.0"
    assert page.slider(key="address: draw").value == 1
    assert "mask 1\\)" in said(page)
    page.slider(key="address: draw").set_value(100.0).run()
    page.button[0].click().run()
    assert "draw" not in page.query_params
    assert not page.exception


def test_clips_are_found_by_words_of_their_captions(recipes, opened):
    part = FrameStore.open(next(recipes.glob("data/*/frames-*"))).splits["val"]
    one = part.captions[-1]
    words = " ".join(reversed(one.upper().split()))
    page = opened(view="predictions", split="val", find=words[:100])
    fitting = [c for c in part.captions if all(w in c for w in words[:100].lower().split())]
    assert page.selectbox(key="address: clip").options == list(dict.fromkeys(fitting))
    assert one in said(page)
    page = opened(view="predictions", find="unheard")
    assert not page.exception
    assert "No caption of this split has all of these words." in said(page)


def test_a_recipe_that_predicts_no_pixels_says_which_do(recipes, opened):
    page = opened(view="predictions", cell=cell(recipes, "mac"))
    assert not page.exception
    (line,) = [info.value for info in page.info]
    assert "mac" in line
    assert "simvtp, videomae" in line


def test_hostile_parameters_are_left_out_with_a_sentence(recipes, opened):
    hostile = {"cell": "../..", "seed": "-1", "split": "$x$", "clip": "<b>", "draw": "nan"}
    page = opened(view="predictions", **hostile)
    assert not page.exception
    assert page.warning[0].value.count("it is left out") == len(hostile)
    assert len(page.get("image")) == 4


def test_what_is_missing_is_said(recipes, opened):
    for path in recipes.glob("runs/recipes/*/checkpoints/model.safetensors"):
        path.unlink()
    page = opened(view="predictions")
    assert not page.exception
    assert "kept no weights" in said(page)
    shutil.rmtree(recipes / "data")
    assert "the clips of this study are not on this machine" in said(opened(view="predictions"))


def test_a_study_without_able_runs_is_explained(trained, opened):
    page = opened(view="predictions")
    assert not page.exception
    assert "mac" in page.info[0].value


def test_hand_written_runs_of_another_version_are_refused_in_words(ratios, opened):
    ratios()
    page = opened(view="predictions")
    assert not page.exception
    assert page.info
