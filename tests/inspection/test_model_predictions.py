"""What a finished run predicts about a clip, for every recipe that can; what it never learned is refused."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from drawn import write_drawn
from left_behind import leave
from small import FRAMES, recipe_module, recipe_names, recipes_with, run_config

from workbench import tasks
from workbench.config import Budget, Stage
from workbench.data import truth_of
from workbench.data.moving_shapes import questions, world
from workbench.data.moving_shapes.grammar import WORDS, actor, parse, say
from workbench.data.store import FrameStore
from workbench.errors import UserError
from workbench.inspection.on_demand import answer
from workbench.inspection.outputs import objective
from workbench.masking.preview import HATCH, HIDDEN
from workbench.recipe.batch import Batch, BatchRng, Draw
from workbench.tasks import grounding, pointing, video_qa
from workbench.tasks.gallery import Judged, gallery
from workbench.train.session import untrained

ASKED = [n for n in recipe_names() if tasks.possible(["video_qa"], recipe_module(n).Recipe)]
CAPTION = "red star moves left"


@pytest.fixture
def scenes(store, tmp_path):
    """The store of random clips as one that knows what they show, all of them the same two actions."""
    record = json.loads((store.path / "store.json").read_text())
    every = world.combinations()
    for clip, number in zip(record["clips"], np.random.default_rng(0).permutation(len(every)), strict=False):
        parts = every[number] | {name: every[0][name] for name in ("first", "second")}
        clip |= {"attributes": parts, "captions": [say(0, parts, dict.fromkeys(WORDS, 0))]}
    path = tmp_path / "scenes"
    path.mkdir()
    (path / "frames.npy").symlink_to(store.path / "frames.npy")
    (path / "store.json").write_text(json.dumps(record))
    return FrameStore.open(path)


def stage(objective, **options):
    return Stage(objective=objective, budget=Budget(unit="steps", amount=1), **options)


def task(run, store, want, **more):
    return {"want": want, "run": str(run.path), "store": str(store.path), "row": 0} | more


@pytest.mark.parametrize("name", recipes_with("reconstruct"))
def test_a_reconstruction_is_that_of_the_model_with_its_errors(name, tmp_path, vocabulary, store):
    run, model = leave(tmp_path / "run", run_config(name), vocabulary)
    clip = torch.from_numpy(store.frames[:1].copy())
    batch = Batch.of(clip, vocabulary.encode([CAPTION]))
    draws = {seed: Draw(*model.masks(batch, BatchRng.seeded(seed))) for seed in range(3, 12)}
    seed, draw = next((seed, draw) for seed, draw in draws.items() if draw.video_mask.any())
    reply, payload = answer(task(run, store, "reconstruction", caption=CAPTION, seed=seed))
    with torch.no_grad():
        expected = model.reconstruct(batch, draw).clamp(0, 255)
    seen, drawn = np.frombuffer(payload, np.uint8).reshape(2, *store.frames.shape[1:])
    np.testing.assert_allclose(drawn, expected[0].numpy(), atol=0.51)
    hidden = np.any([(seen == grey).all(-1) for grey in (HIDDEN, HATCH)], axis=0)
    assert hidden.mean() == pytest.approx(reply["hidden"] / reply["tokens"], abs=0.01)
    off = np.abs(expected[0].numpy() - store.frames[0])[hidden].mean()
    assert reply["error"] == pytest.approx(float(off), rel=0.01)
    assert 0 < reply["error_of_mean"] < 128
    hides = draw.text_mask is not None
    assert reply["words_hidden"] == (draw.text_mask[0, :4].tolist() if hides else [False] * 4)
    assert (reply["words_read"], reply["drawn"]) == model.reconstruction
    assert reply["since"] == []


def test_the_error_of_even_patches_is_zero_where_patches_are_even(tmp_path, vocabulary, store):
    run, _ = leave(tmp_path / "run", run_config("videomae"), vocabulary)
    even = tmp_path / "even"
    even.mkdir()
    colours = np.random.default_rng(0).integers(0, 256, (1, 2, 2, 2, 3), np.uint8)
    np.save(even / "frames.npy", colours.repeat(2, 1).repeat(8, 2).repeat(8, 3))
    given = task(run, store, "reconstruction", caption="red", seed=0)
    reply, _ = answer(given | {"store": str(even)})
    assert reply["error_of_mean"] < 1e-3
    assert reply["error"] < 1, "the contrast is taken from the truth, and there is none"


@pytest.mark.parametrize(
    ("stages", "since"),
    [
        ([stage("recipe"), stage("align", masked=False)], ["align"]),
        ([stage("recipe"), stage("align"), stage("recipe", masked=False)], ["align", "recipe"]),
        ([stage("align"), stage("recipe")], []),
    ],
)  # fmt: skip
def test_what_came_after_is_named(stages, since, tmp_path, vocabulary, store):
    run, _ = leave(tmp_path / "run", run_config("simvtp", stages=tuple(stages)), vocabulary)
    reply, _ = answer(task(run, store, "reconstruction", caption=CAPTION, seed=0))
    assert reply["since"] == since


@pytest.mark.parametrize("stages", [[stage("align")], [stage("recipe", masked=False), stage("align")]])
def test_what_a_run_never_learned_is_refused(stages, tmp_path, vocabulary, store):
    run, _ = leave(tmp_path / "run", run_config("simvtp", stages=tuple(stages)), vocabulary)
    with pytest.raises(
        UserError, match=r"was never trained to predict what is hidden: its stages are .*the alignment"
    ):
        answer(task(run, store, "reconstruction", caption=CAPTION, seed=0))


@pytest.mark.parametrize("name", recipes_with("generate"))
def test_a_caption_is_what_the_model_writes(name, tmp_path, vocabulary, store):
    run, model = leave(tmp_path / "run", run_config(name), vocabulary)
    taught = model.trained_by("generate")[-1]
    run.write_config(run_config(name, stages=(stage("align"), stage(taught))))
    reply, _ = answer(task(run, store, "caption", row=5))
    with torch.no_grad():
        assert reply["written"] == model.generate(torch.from_numpy(store.frames[5:6].copy()))[0]
    run.write_config(run_config(name, stages=(stage(taught), stage("align"))))
    with pytest.raises(
        UserError, match=f"its last stage was the alignment.*learned by .*{objective(taught)}"
    ):
        answer(task(run, store, "caption", row=5))


@pytest.mark.parametrize("name", ASKED)
def test_a_clip_is_asked_as_the_task_asks_the_whole_split(name, tmp_path, vocabulary, scenes):
    run, model = leave(tmp_path / "run", run_config(name), vocabulary)
    part = gallery(scenes, "test", vocabulary.encode(scenes.splits["test"].captions))
    asked = questions.about(scenes, part.clips)
    means_nothing = untrained(model, run_config(name).stages)
    with torch.no_grad():
        judged = Judged(model, part, untrained=means_nothing, encode=vocabulary.encode)
        expected = video_qa.answers(judged, asked)
    number = 3
    own = slice(8 * number, 8 * number + 8)
    if not expected:  # its own losses train neither embeddings nor a judgement of pairs
        with pytest.raises(
            UserError, match=r"cannot be asked: its stages \(its own losses\) have trained neither"
        ):
            answer(task(run, scenes, "answers", row=int(part.clips[number])))
        return
    reply, _ = answer(task(run, scenes, "answers", row=int(part.clips[number])))
    assert [q["id"] for q in reply["questions"]] == [one.id for one in asked[own]]
    assert [q["text"] for q in reply["questions"]] == [one.text for one in asked[own]]
    assert reply["ways"].keys() == expected.keys()
    for way, found in reply["ways"].items():
        assert found["how"] == expected[way].how
        if found["how"] == "generate":
            assert found["given"] == expected[way].given[own]
            assert found["options"] == [[]] * 8
            continue
        for mine, options, scores in zip(
            found["options"], expected[way].options[own], expected[way].scores[own], strict=True
        ):
            found_scores = {option: score for option, _, score in mine}
            wanted = dict(zip(options, scores.tolist(), strict=True))
            assert found_scores == pytest.approx(wanted, rel=1e-3, abs=1e-4)
            assert list(found_scores.values()) == sorted(found_scores.values(), reverse=True)


def test_clips_of_which_nothing_is_known_cannot_be_asked_about(tmp_path, vocabulary, store):
    run, _ = leave(tmp_path / "run", run_config("mac"), vocabulary)
    with pytest.raises(UserError, match="nothing to ask about the clips of random"):
        answer(task(run, store, "answers"))


@pytest.mark.parametrize("name", sorted({*recipes_with("regions"), *recipes_with("attended")}))
def test_a_place_is_where_the_model_points_beside_the_true_box(name, tmp_path, vocabulary):
    drawn = write_drawn(tmp_path / "drawn", frames=FRAMES, shrink=4, name="moving_shapes_pairs")
    run, model = leave(tmp_path / "run", run_config(name), vocabulary)
    row = int(drawn.splits["test"].clips[1])
    said = drawn.splits["test"].captions[1]
    reply, _ = answer(task(run, drawn, "places", caption=said, row=row))
    assert reply["asked"] == actor(parse(said))
    assert reply["frames"] == list(range(FRAMES))
    judged = Judged(model, None)
    with torch.no_grad():
        clip = torch.from_numpy(drawn.frames[row : row + 1].copy())
        found = pointing.point(judged, clip, vocabulary.encode([reply["asked"]]))
    steps = model.grid.time
    assert np.allclose(reply["places"], found.places[0].repeat(FRAMES // steps, 0), atol=1e-6)
    assert bool(reply["regions"]) == hasattr(model, "regions")
    truth = truth_of(drawn).boxes(np.array([row]))[0]
    for frame, (boxes, hits) in enumerate(zip(reply["actors"], reply["hits"], strict=True)):
        for who, box in enumerate(boxes):
            assert (box is None) == np.isnan(truth[frame, who]).any()
            assert box is None or box == truth[frame, who].tolist()
            assert hits[who] == pointing.inside(np.array(reply["places"][frame]), truth[frame, who])


def test_places_of_filmed_clips_are_shown_without_a_truth_and_untrained_ones_are_refused(
    tmp_path, vocabulary, store
):
    run, _ = leave(tmp_path / "run", run_config("slan"), vocabulary)
    reply, _ = answer(task(run, store, "places", caption=CAPTION))
    assert reply["asked"] == CAPTION, "no caption of the grammar: asked as it is"
    assert reply["actors"] == reply["hits"] == [[]] * FRAMES
    run.write_config(run_config("slan", stages=(stage("recipe"), stage("align"))))
    last = "its last stage, the alignment of clips and captions, has not trained where it looks"
    with pytest.raises(UserError, match=last):
        answer(task(run, store, "places", caption=CAPTION))


def test_what_is_read_is_what_the_recipe_keeps(tmp_path, vocabulary, store):
    run, model = leave(tmp_path / "run", run_config("smaug"), vocabulary)
    clip = torch.from_numpy(store.frames[:1].copy())
    batch = Batch.of(clip, vocabulary.encode([CAPTION]))
    draw = Draw(*model.masks(batch, BatchRng.seeded(2)))
    with torch.no_grad():
        expected = model.kept(batch, draw)
    reply, payload = answer(task(run, store, "kept", caption=CAPTION, seed=2))
    assert reply["selected"] == expected.frames[0].tolist()
    assert 0 < sum(reply["selected"]) < len(reply["selected"])
    assert reply["share"] == pytest.approx(expected.share[0].tolist())
    assert reply["read"] == int(expected.patches.sum())
    assert reply["hidden"] == int(draw.video_mask.sum())
    seen = np.frombuffer(payload, np.uint8).reshape(store.frames[0].shape)
    hatched = np.any([(seen == grey).all(-1) for grey in (HIDDEN, HATCH)], axis=0)
    assert hatched.mean() == pytest.approx(reply["hidden"] / reply["tokens"], abs=0.01)
    same = (seen == store.frames[0]).all(-1)
    assert same.mean() == pytest.approx(reply["read"] / reply["tokens"], abs=0.01)


def test_times_are_those_of_the_task_with_their_overlap(tmp_path, vocabulary, scenes):
    record = json.loads((scenes.path / "store.json").read_text())
    for clip in record["clips"]:
        clip["attributes"] |= {"timeline": [["it rises", 0.0, 0.5], ["it spins", 0.5, 1.0]]}
    run, model = leave(tmp_path / "run", run_config("mac"), vocabulary)
    with pytest.raises(UserError, match="when things happen is not known"):
        answer(task(run, scenes, "moments"))
    (scenes.path / "store.json").write_text(json.dumps(record))
    timed = FrameStore.open(scenes.path)
    found, _ = answer(task(run, timed, "moments"))
    part = gallery(timed, "test", vocabulary.encode(timed.splits["test"].captions))
    part = replace(part, clips=np.array([0]))
    segments, best = grounding.answers(
        Judged(model, part, encode=vocabulary.encode), grounding.moments(timed, np.array([0]))
    )
    for one, chosen in zip(found["queries"], segments[best.argmax(1)], strict=True):
        assert (one["found_start"], one["found_end"]) == pytest.approx(tuple(chosen))
        common = min(one["end"], one["found_end"]) - max(one["start"], one["found_start"])
        whole = max(one["end"], one["found_end"]) - min(one["start"], one["found_start"])
        assert one["overlap"] == pytest.approx(max(0.0, common) / whole, abs=1e-6) or common < 0
    assert [one["words"] for one in found["queries"]] == ["it rises", "it spins"]
