"""What decays and how fast it learns, for every recipe."""

import pytest
import torch
from small import build, recipe_module, recipe_names, run_config
from transformers.models.bert.modeling_bert import BertEmbeddings

from workbench.train.groups import parameter_groups
from workbench.train.loop import train
from workbench.train.session import open_session

DECAY = 0.05


def spared(recipe):
    """Parameters that must not decay: vectors, word embeddings, and what parts name themselves."""
    found = {p for p in recipe.parameters() if p.ndim < 2}
    for part in recipe.modules():
        if isinstance(part, BertEmbeddings):
            found |= set(part.parameters())
        starts = tuple(getattr(part, "no_decay", ()))
        found |= {p for name, p in part.named_parameters() if name.startswith(starts)}
    return found


def check(recipe, groups):
    """Every trained parameter once; vectors and word embeddings never decay, everything else does."""
    trained = [p for p in recipe.parameters() if p.requires_grad]
    listed = [p for group in groups for p in group["params"]]
    assert len(listed) == len(set(listed)) == len(trained), "each once"
    assert set(listed) == set(trained)
    names, free = {p: name for name, p in recipe.named_parameters()}, spared(recipe)
    for group in groups:
        for parameter in group["params"]:
            expected = 0.0 if parameter in free else DECAY
            assert group["weight_decay"] == expected, names[parameter]


@pytest.mark.parametrize("name", recipe_names())
class TestEveryRecipe:
    def test_each_parameter_is_in_one_group_and_decays_as_it_should(self, name, vocabulary):
        recipe = build(name, vocabulary)
        check(recipe, parameter_groups(recipe, DECAY))

    def test_decay_on_biases_is_caught(self, name, vocabulary):
        recipe = build(name, vocabulary)
        groups = parameter_groups(recipe, DECAY)
        for group in groups:
            group["weight_decay"] = DECAY
        with pytest.raises(AssertionError):
            check(recipe, groups)

    def test_what_is_frozen_is_in_no_group(self, name, vocabulary):
        recipe = build(name, vocabulary)
        frozen = next(p for p in recipe.parameters() if p.requires_grad and p.ndim >= 2).requires_grad_(False)
        groups = parameter_groups(recipe, DECAY)
        check(recipe, groups)
        assert not any(frozen is p for group in groups for p in group["params"])


@pytest.mark.parametrize("fault", ["left out", "twice", "embeddings decay", "matrix without decay"])
def test_a_fault_in_the_groups_is_caught(vocabulary, fault):
    recipe = build("mac", vocabulary)
    groups = parameter_groups(recipe, DECAY)
    decaying = next(group for group in groups if group["weight_decay"])
    if fault == "left out":
        decaying["params"].pop()
    elif fault == "twice":
        decaying["params"].append(decaying["params"][0])
    elif fault == "embeddings decay":
        words = recipe.text.bert.embeddings.word_embeddings.weight
        for group in groups:
            group["params"] = [p for p in group["params"] if p is not words]
        decaying["params"].append(words)
    else:
        decaying["weight_decay"] = 0.0
    with pytest.raises(AssertionError):
        check(recipe, groups)


def test_a_temperature_and_the_word_embeddings_are_spared(vocabulary):
    recipe = build("mac", vocabulary)
    free = next(g["params"] for g in parameter_groups(recipe, DECAY) if not g["weight_decay"])
    for parameter in (recipe.temperature.log_scale, *recipe.text.bert.embeddings.parameters()):
        assert any(parameter is one for one in free)


class TestRates:
    def session(self, store, monkeypatch, rates):
        monkeypatch.setattr(recipe_module("mac").Recipe, "rates", lambda self: rates)
        return open_session(run_config(steps=3, evaluations=1), store, device=torch.device("cpu"))

    def test_factors_reach_the_learning_rate_of_a_step(self, store, monkeypatch):
        session = self.session(store, monkeypatch, {"video.blocks": 0.25, "video.": 0.5})
        check(session.recipe, session.optimizer.param_groups)
        names = {p: name for name, p in session.recipe.named_parameters()}
        for _, row in train(session):
            seen = {
                names[p]: group["lr"] / row["train/lr"]
                for group in session.optimizer.param_groups
                for p in group["params"]
            }
            for name, factor in seen.items():
                slow = 0.25 if name.startswith("video.blocks") else 0.5
                assert factor == pytest.approx(slow if name.startswith("video.") else 1.0), name
        assert {round(factor, 6) for factor in seen.values()} == {0.25, 0.5, 1.0}

    def test_a_factor_of_zero_leaves_a_part_as_it_is(self, store, monkeypatch):
        session = self.session(store, monkeypatch, {"video.": 0.0})
        before = {name: p.detach().clone() for name, p in session.recipe.named_parameters()}
        list(train(session))
        for name, parameter in session.recipe.named_parameters():
            if parameter.requires_grad:
                assert torch.equal(parameter, before[name]) == name.startswith("video."), name

    def test_without_factors_all_learn_alike(self, store):
        session = open_session(run_config(steps=1), store, device=torch.device("cpu"))
        [(_, row)] = train(session)
        assert {group["lr"] for group in session.optimizer.param_groups} == {row["train/lr"]}
