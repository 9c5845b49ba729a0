"""How training uses a recipe: encoders named in full, draws in slices, hooks, objectives.

What is asked of every recipe is in `workbench.testing.recipes`.
"""

import pytest
import torch
import toys
from small import FRAMES, SIZE, build, recipe_module, recipe_names, run_config, shrink
from toys import Recipe as PairRecipe

from workbench.config import Budget, DataConfig, Stage
from workbench.errors import UserError
from workbench.recipe.base import BaseRecipe
from workbench.recipe.batch import BatchRng, Text
from workbench.testing.recipe_base import copied
from workbench.testing.recipes import wrongly_named
from workbench.train.loop import train
from workbench.train.session import open_session, try_to_build

RECIPES = recipe_names()
NOWHERE = DataConfig(name="random", digest="0" * 64, frames=FRAMES, size=SIZE)
"""Data that nobody has made."""


@pytest.fixture
def recipe(name, vocabulary):
    return build(name, vocabulary)


def toy(vocabulary, cls=PairRecipe):
    torch.manual_seed(0)
    return cls(toys.Config(), frames=FRAMES, size=SIZE, vocabulary=vocabulary)


class TestEncoders:
    def test_an_encoder_that_is_left_out_is_noticed(self, vocabulary, batch):
        class Forgetful(PairRecipe):
            def encoders(self):
                return {"video": self.video}

        class Twice(PairRecipe):
            def encoders(self):
                return {"video": self.video, "text": self.text, "fusion": self.text}

        assert wrongly_named(toy(vocabulary), batch) == []
        assert wrongly_named(toy(vocabulary, Forgetful), batch) == ["text.bert.encoder.layer.0"]
        assert wrongly_named(toy(vocabulary, Twice), batch) == ["text.bert.encoder.layer.0"]


class TestSlices:
    """What two processes draw for their halves of a batch is what one draws for the whole."""

    def test_numbers_are_those_of_the_whole_batch(self):
        def rng(rank=0, size=1):
            return BatchRng(torch.Generator().manual_seed(0), rank=rank, size=size)

        for whole, parts in (
            (rng().uniform(6, 2), [rng(r, 3).uniform(2, 2) for r in range(3)]),
            (rng().integers(1, 100, 6), [rng(r, 3).integers(1, 100, 2) for r in range(3)]),
        ):
            assert torch.equal(torch.cat(parts), whole)
            assert len(whole.unique()) > 3
        assert rng().integers(1, 3, 200).unique().tolist() == [1, 2]
        assert torch.equal(BatchRng.seeded(0).uniform(6, 2), rng().uniform(6, 2))


class TestHooks:
    def test_the_recipes_we_know_have_none(self):
        for name in ("mac", "simvtp"):
            cls = recipe_module(name).Recipe
            assert (cls.prepare, cls.after_step, cls.rates, cls.PHASES) == (
                BaseRecipe.prepare, BaseRecipe.after_step, BaseRecipe.rates, {},
            )  # fmt: skip

    def test_training_calls_them_once_before_and_once_after_each_step(self, store, monkeypatch):
        session = open_session(run_config(steps=4), store, device=torch.device("cpu"))
        calls, weight = [], torch.zeros(2, 3)
        monkeypatch.setattr(session.recipe, "prepare", lambda own, rng: calls.append("before") or 1000.0)

        def after(done):
            assert not torch.is_grad_enabled()
            weight @ weight.T
            calls.append(done)

        monkeypatch.setattr(session.recipe, "after_step", after)
        list(train(session))
        assert calls == ["before", 0.25, 0.5, 0.75, 1.0]
        at = session.progress
        assert at.prepare_flops == 1000
        plain = open_session(run_config(steps=4), store, device=torch.device("cpu"))
        list(train(plain))
        assert plain.progress.prepare_flops == 0
        assert at.flops == plain.progress.flops + 1000 + 4 * 2 * 2 * 3 * 2, "both are paid for"


def stage(objective, **options):
    return Stage(objective=objective, budget=Budget(unit="steps", amount=2), **options)


class TestObjectives:
    def test_a_recipe_that_embeds_nothing_has_no_alignment(self):
        try_to_build(self.pairs("recipe"))
        try_to_build(self.pairs("warm"))
        with pytest.raises(UserError, match="toys has no objective 'align'; it has recipe, warm"):
            try_to_build(self.pairs("align"))

    def pairs(self, objective):
        return run_config(toys.Config(), stages=(stage(objective),), data=NOWHERE, tasks=("pair_retrieval",))

    def test_a_name_that_is_a_method_but_no_phase_is_refused(self):
        with pytest.raises(UserError, match="no objective 'zero_grad'"):
            try_to_build(self.pairs("zero_grad"))

    def test_a_phase_trains_only_its_parts(self, store):
        config = run_config(toys.Config(), stages=(stage("warm"),), tasks=("pair_retrieval",), evaluations=1)
        session = open_session(config, store, device=torch.device("cpu"))
        before = copied(session.recipe)
        list(train(session))
        moved = {
            name for name, value in copied(session.recipe).items() if not torch.equal(value, before[name])
        }
        assert moved == {"head.weight", "head.bias"}

    def test_and_the_stage_after_it_trains_all_again(self, store):
        stages = (stage("warm"), stage("recipe"))
        config = run_config(toys.Config(), stages=stages, tasks=("pair_retrieval",), evaluations=1)
        session = open_session(config, store, device=torch.device("cpu"))
        before = copied(session.recipe)
        list(train(session))
        still = {name for name, value in copied(session.recipe).items() if torch.equal(value, before[name])}
        assert not {name for name, p in session.recipe.named_parameters() if p.requires_grad} & still


def test_a_batch_is_selected_and_moved_in_all_its_parts(batch):
    text: Text = batch.text
    whole = batch._replace(index=torch.arange(8), label=torch.arange(8) + 1, source=torch.arange(8) % 2)
    rows = torch.tensor([3, 1])
    found = whole.select(rows).to(torch.device("cpu"))
    assert torch.equal(found.video, batch.video[rows])
    assert torch.equal(found.text.tokens, text.tokens[rows])
    assert all(torch.equal(a, b[rows]) for a, b in zip(found.text.layout, text.layout, strict=True))
    assert (found.index.tolist(), found.label.tolist(), found.source.tolist()) == ([3, 1], [4, 2], [1, 1])
    assert batch.index.tolist() == [-1] * 8
    assert batch.label.tolist() == batch.source.tolist() == [0] * 8


@pytest.mark.parametrize("name", RECIPES)
def test_the_tiny_recipes_are_tiny(name, vocabulary):
    config = shrink(recipe_module(name).Config())
    assert sum(p.numel() for p in build(name, vocabulary, config=config).parameters()) < 400_000
