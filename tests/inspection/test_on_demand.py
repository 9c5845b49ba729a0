"""A sentence and a mask for every recipe, from what a finished run leaves behind."""

import numpy as np
import pytest
import torch
from left_behind import leave
from small import recipe_names, run_config

from workbench.errors import UserError
from workbench.inspection.on_demand import answer
from workbench.train import checkpoint


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
    assert reply["dropped"] == (run.config().recipe.video.hidden == "drop")
    if reply["dropped"]:
        assert 0 < reply["flops"] < reply["flops_of_all"]
    else:
        assert 0 < reply["flops"] == reply["flops_of_all"], "a token in the place of a token"


def test_weights_of_another_model_are_refused(finished):
    run, _ = finished
    checkpoint.finish(run.file("checkpoints"), torch.nn.Linear(2, 2))
    with pytest.raises(UserError, match="another version"):
        answer({"want": "text", "run": str(run.path), "sentence": "red"})
