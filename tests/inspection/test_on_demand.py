"""A sentence and a mask for every recipe, from what a finished run leaves behind."""

import numpy as np
import pytest
import torch
from left_behind import leave
from small import recipe_module, recipe_names, run_config

from workbench.errors import UserError
from workbench.inspection.on_demand import answer
from workbench.masking.video import TubeMasking
from workbench.recipe.batch import BatchRng
from workbench.train import checkpoint
from workbench.train.cost import StepCounter


@pytest.fixture(params=recipe_names())
def finished(request, tmp_path, vocabulary):
    """A run directory with weights and tokenizer, and its model."""
    return leave(tmp_path / "run", run_config(request.param), vocabulary)


def test_a_sentence_has_the_vector_that_the_model_gives_it(finished, vocabulary):
    run, model = finished
    sentence = "red star moves left"
    reply, payload = answer({"want": "text", "run": str(run.path), "sentence": sentence})
    with torch.no_grad():
        expected = model.embed_text(vocabulary.encode([sentence]))[0].numpy()
    np.testing.assert_allclose(np.frombuffer(payload, np.float32), expected, rtol=1e-4, atol=1e-5)
    assert "".join(reply["tokens"]).replace("##", "") == sentence.replace(" ", "")


def test_what_a_sentence_has_too_much_is_named(finished, vocabulary):
    run, _ = finished
    sentence = " ".join(["red"] * (vocabulary.length + 3))
    reply, _ = answer({"want": "text", "run": str(run.path), "sentence": sentence})
    assert reply["cut"] == ["red"] * 3


def test_a_mask_hides_its_share_and_costs_less(finished, store):
    run, _ = finished
    task = {"want": "mask", "run": str(run.path), "store": str(store.path), "row": 0,
            "seed": 0, "caption": "red star", "video": ["RandomMasking", 0.5],
            "text": ["TokenMasking", 0.5]}  # fmt: skip
    reply, payload = answer(task)
    seen = np.frombuffer(payload, np.uint8).reshape(store.frames[0].shape)
    assert (seen == store.frames[0]).all(-1).mean() == pytest.approx(0.5, abs=0.01)
    assert (reply["hidden"], sum(reply["words_hidden"])) == (reply["tokens"] // 2, 1)
    assert reply["video_hidden"] == run.config().recipe.video.hidden
    if reply["video_hidden"] == "drop":
        assert 0 < reply["flops"] < reply["flops_of_all"]
    else:
        assert 0 < reply["flops"] == reply["flops_of_all"], "a token in the place of a token"


@pytest.mark.parametrize("name", ["clipbert", "smaug"])
def test_a_recipe_that_reads_slot_by_slot_costs_what_its_encoder_runs(name, tmp_path, vocabulary, store):
    config = run_config(name)
    run, model = leave(tmp_path / "run", config, vocabulary)
    assert model.grid.time > 1
    task = {"want": "mask", "run": str(run.path), "store": str(store.path), "row": 0, "seed": 0,
            "caption": "red star", "video": ["TubeMasking", 0.5], "text": ["TokenMasking", 0.5]}  # fmt: skip
    reply, _ = answer(task)
    clip = torch.zeros(1, config.data.frames, config.data.size, config.data.size, 3, dtype=torch.uint8)
    hidden = TubeMasking(ratio=0.5)(model.grid, 1, BatchRng.seeded(0))
    for mask, flops in ((None, reply["flops_of_all"]), (hidden, reply["flops"])):
        counter = StepCounter(model, 1)
        with torch.no_grad(), counter:
            model.embed_video(clip, mask)
        assert flops == counter.cost.encoders["video"].flops
    frames, _ = answer(task | {"video": ["FrameMasking", 0.5]})
    assert frames["flops"] == reply["flops_of_all"] / 2, "a slot of which nothing is left is not read"


def test_flops_are_left_out_where_it_is_not_known_how_a_clip_is_read(
    tmp_path, vocabulary, store, monkeypatch
):
    def halves(self, video, mask=None):
        return self.video(torch.cat([video] * 3)).pooled

    monkeypatch.setattr(recipe_module("mac").Recipe, "embed_video", halves)
    run, _ = leave(tmp_path / "run", run_config("mac"), vocabulary)
    reply, _ = answer({"want": "mask", "run": str(run.path), "store": str(store.path), "row": 0, "seed": 0,
                       "caption": "red", "video": ["TubeMasking", 0.5],
                       "text": ["TokenMasking", 0.5]})  # fmt: skip
    assert reply["flops"] is reply["flops_of_all"] is None


def test_weights_of_another_model_are_refused(finished):
    run, _ = finished
    checkpoint.finish(run.file("checkpoints"), torch.nn.Linear(2, 2))
    with pytest.raises(UserError, match="another version"):
        answer({"want": "text", "run": str(run.path), "sentence": "red"})
