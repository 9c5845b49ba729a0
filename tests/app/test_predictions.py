"""The view Predictions over trained runs: what each recipe is able to predict, beside the truth."""

import shutil

import numpy as np
import pytest
from reading import said
from trained import RECIPES, keys

from app.helper import ask
from workbench.data.moving_shapes.grammar import WORDS, parse, say
from workbench.data.store import FrameStore
from workbench.masking.preview import HATCH, HIDDEN
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
    grey = np.any([(seen == grey).all(-1) for grey in (HIDDEN, HATCH)], axis=0)
    assert grey.mean() == pytest.approx(answer["hidden"] / answer["tokens"], abs=0.01)
    assert np.array_equal(seen[~grey], clip[~grey])
    assert np.array_equal(drawn[~grey], clip[~grey])
    off = np.abs(drawn[grey].astype(float) - clip[grey]).mean()
    assert answer["error"] == pytest.approx(off, abs=0.5)
    assert answer["error"] > 0


def test_it_opens_with_a_recipe_that_predicts_more_than_answers(recipes, opened):
    page = opened(view="predictions")
    assert not page.exception
    assert page.selectbox(key="address: cell").value != cell(recipes, "mac")
    page = opened(view="predictions", cell=cell(recipes, "simvtp"))
    assert page.button_group(key="address: what").value == "pixels"
    assert metrics(page)["Patches hidden"] == "28 of 32"
    assert len(page.get("image")) == 4
    assert len(page.get("video")) == 1


def test_the_picture_says_how_it_was_made(recipes, opened):
    words = said(opened(view="predictions", cell=cell(recipes, "simvtp"), draw="7"))
    assert "28 of 32 patches hidden" in words
    assert "mask seed 7" in words
    assert "input to simvtp (recipe=simvtp, seed 0)" in words.replace("\\", "")
    assert "2 frames make one patch" in words
    assert "the mean and the contrast of each colour of each patch are taken from the true clip" in words
    assert "then trained further with the alignment of clips and captions" in words
    assert "tokens are hidden" in words
    assert "█" in words
    words = said(opened(view="predictions", cell=cell(recipes, "videomae")))
    assert "not from the caption" in words
    assert "trained further" not in words
    assert "█" not in words


def test_a_button_and_the_address_draw_another_mask(recipes, opened):
    first, other = (ask(**task(recipes, "videomae", seed=seed))[1] for seed in (0, 1))
    assert first != other
    page = opened(view="predictions", cell=cell(recipes, "videomae"))
    page.button[0].click().run()
    assert page.query_params["draw"] == "1.0"
    assert page.slider(key="address: draw").value == 1
    assert "mask seed 1\\)" in said(page)
    page.slider(key="address: draw").set_value(100.0).run()
    page.button[0].click().run()
    assert "draw" not in page.query_params
    assert not page.exception


def test_clips_are_found_by_words_of_their_captions(recipes, opened):
    part = FrameStore.open(next(recipes.glob("data/*/frames-*"))).splits["val"]
    one = part.captions[-1]
    words = " ".join(reversed(one.upper().split()))
    page = opened(view="predictions", split="val", find=words[:100], cell=cell(recipes, "videomae"))
    fitting = [c for c in part.captions if all(w in c for w in words[:100].lower().split())]
    assert page.selectbox(key="address: clip").options == list(dict.fromkeys(fitting))
    assert one in said(page)
    page = opened(view="predictions", find="unheard")
    assert not page.exception
    assert "No caption of this split has all of these words." in said(page)


@pytest.mark.parametrize(
    ("recipe", "what", "does", "can"),
    [
        ("mac", "pixels", "mac, predicts no pixels", "simvtp, "),
        ("mac", "caption", "mac, writes no captions", "coca, "),
        ("coca", "pixels", "coca, predicts no pixels", "maskvlm"),
        ("mac", "places", "mac, points at no places", "slan"),
    ],
)
def test_what_a_recipe_cannot_predict_is_a_sentence_with_those_that_can(
    recipes, opened, recipe, what, does, can
):
    page = opened(view="predictions", cell=cell(recipes, recipe), what=what)
    assert not page.exception
    (line,) = [info.value.replace("\\", "") for info in page.info]
    assert does in line
    assert can in line
    assert line.endswith(" can.")
    assert len(page.get("image")) == len(page.get("video")) == 0


def test_a_recipe_that_can_do_nothing_is_told_what_others_can(ratios, opened):
    ratios()
    page = opened(view="predictions")
    assert not page.exception
    assert page.info[0].value


def scene_of(results, split="test"):
    store = FrameStore.open(next(results.glob("data/*/frames-*")))
    row = int(store.splits[split].clips[0])
    return store.clip_ids[row], {name: values[row] for name, values in store.attributes.items()}


def said_of(results, clip):
    part = FrameStore.open(next(results.glob("data/*/frames-*"))).splits["test"]
    return part.captions[part.groups.index(clip)]


def stored(results, recipe, file, **arrays):
    """Puts arrays into a file of the run, as the task would have."""
    path = results / "runs/recipes" / f"{cell(results, recipe)}-s0" / file
    path.unlink(missing_ok=True)
    np.savez(path, **{name: np.array(values) for name, values in arrays.items()})


def caption_of(**parts):
    order = ("colour", "shape", "first", "second", "background")
    return say(0, {slot: parts[slot] for slot in order}, dict.fromkeys(order, 0))


def test_a_stored_caption_is_judged_part_by_part_in_words(recipes, opened):
    clip, scene = scene_of(recipes)
    colour = next(value for value in WORDS["colour"] if value != scene["colour"])
    swapped = scene | {"first": scene["second"], "second": scene["first"], "colour": colour}
    stored(recipes, "coca", "captioning.npz", id=[clip], written=[caption_of(**swapped)])
    page = opened(view="predictions", cell=cell(recipes, "coca"))
    assert not page.exception
    words = said(page).replace("\\", "")
    spoken = parse(said_of(recipes, clip)).words
    first = WORDS["first"][scene["first"]][spoken["first"]]
    assert f"· wrong, should be {first}]" in words, "in the words of the clip's own caption"
    assert f":red-badge[{colour} · wrong, should be {scene['colour']}]" in words
    assert f":green-badge[{WORDS['shape'][scene['shape']][0]} · correct]" in words
    assert words.count(":red-badge") == 3
    assert "2 of 5 parts are correct; wrong: colour, first action, second action." in words
    assert "when it was tested" in words
    assert "trained by its own losses" in words


def test_a_caption_that_the_grammar_does_not_make_is_compared_word_by_word(recipes, opened):
    clip, scene = scene_of(recipes)
    stored(recipes, "coca", "captioning.npz", id=[clip], written=[f"{scene['colour']} <b>jumps</b>"])
    words = said(opened(view="predictions", cell=cell(recipes, "coca"))).replace("\\", "")
    assert "cannot produce this caption" in words
    assert f"Words also in the references: {scene['colour']}." in words
    assert "Words not in the references: b, jumps." in words
    assert "badge" not in words


def test_what_was_not_stored_is_written_now(recipes, opened):
    page = opened(view="predictions", cell=cell(recipes, "coca"), split="train")
    assert not page.exception
    assert not page.error
    words = said(page)
    assert "Written by coca" in words
    assert "by greedy decoding" in words
    assert "trained by its own losses\\." in words


def test_questions_are_answered_with_the_scores_of_their_options(recipes, opened):
    answer, _ = ask(**task(recipes, "simvtp", want="answers"))
    (way,) = answer["ways"].values()
    assert way["how"] == "embed", "its last stage is an alignment"
    assert len(answer["questions"]) == len(way["given"]) == 8
    for question, given, options in zip(answer["questions"], way["given"], way["options"], strict=True):
        scores = [score for _, _, score in options]
        assert scores == sorted(scores, reverse=True)
        assert given == options[0][0] or scores[0] == scores[1]
        assert question["right"] in [option for option, _, _ in options]
    page = opened(view="predictions", cell=cell(recipes, "simvtp"), what="answers")
    assert not page.exception
    words = said(page).replace("\\", "")
    assert words.count("” · correct]") + words.count("” · wrong, should be “") == 8
    assert f"answers {words.count('” · correct]')} of 8 questions" in words
    assert words.count(" · **chosen") == 8
    assert words.count("`") == 2 * sum(len(options) for options in way["options"])
    assert "cosine with the clip" in words


def test_a_recipe_that_writes_answers_has_no_scores_of_them(recipes, opened):
    page = opened(view="predictions", cell=cell(recipes, "coca"), what="answers", asked="open")
    assert not page.exception
    words = said(page)
    assert "`" not in words
    assert "any of all answers" in words
    assert "no option has a score" in words
    page.button_group(key="address: asked").set_value("choice").run()
    assert "cosine" in said(page)


def test_an_answer_that_was_another_when_it_was_tested_is_told(recipes, opened):
    chosen = {"cell": cell(recipes, "simvtp"), "what": "answers"}
    clip, _ = scene_of(recipes)
    stored(recipes, "simvtp", "video_qa.npz", id=[f"{clip}#order"], choice_answer=["perhaps"])
    words = said(opened(view="predictions", **chosen))
    assert words.count("When it was tested it said “perhaps”") == 1
    stored(recipes, "simvtp", "video_qa.npz", id=[f"{clip}#order"], choice_answer=["yes", "no"])
    page = opened(view="predictions", **chosen)
    assert not page.exception
    assert "is damaged" in said(page)


def test_hostile_parameters_are_left_out_with_a_sentence(recipes, opened):
    hostile = {"seed": "-1", "split": "$x$", "clip": "<b>", "draw": "nan", "what": "../.."}
    page = opened(view="predictions", cell=cell(recipes, "videomae"), **hostile)
    assert not page.exception
    assert page.warning[0].value.count("it is left out") == len(hostile)
    assert len(page.get("image")) == 4
    page = opened(view="predictions", cell="<i>", what="answers", asked="nan")
    assert page.warning[0].value.count("it is left out") == 2


def test_what_is_missing_is_said(recipes, opened):
    for path in recipes.glob("runs/recipes/*/checkpoints/model.safetensors"):
        path.unlink()
    for what, recipe in (("pixels", "videomae"), ("caption", "coca"), ("answers", "mac")):
        page = opened(view="predictions", what=what, cell=cell(recipes, recipe))
        assert not page.exception
        assert "kept no weights" in said(page)
    shutil.rmtree(recipes / "data")
    assert "the clips of this study are not on this machine" in said(opened(view="predictions"))
