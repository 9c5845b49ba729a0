"""What training asks of every recipe: encoders named in full, draws in slices, hooks, objectives."""

import pytest
import torch
import toys
from small import FRAMES, SIZE, build, recipe_module, recipe_names, recipes_with, run_config, shrink, step
from toys import Recipe as PairRecipe

from workbench.config import Budget, DataConfig, Stage
from workbench.errors import UserError
from workbench.recipe.base import BaseRecipe
from workbench.recipe.batch import Batch, BatchRng, Text
from workbench.train.loop import train
from workbench.train.session import open_session, try_to_build

RECIPES = recipe_names()
NOWHERE = DataConfig(name="random", digest="0" * 64, frames=FRAMES, size=SIZE)
"""Data that nobody has made."""


@pytest.fixture
def recipe(name, vocabulary):
    return build(name, vocabulary)


def is_attention(module):
    return "attention" in type(module).__name__.lower()


def wrongly_named(recipe, batch):
    """Blocks that ran in a step and belong to no encoder, to two, or were not called as modules themselves.

    A block is whatever holds an attention of its own.
    """
    blocks = {
        name: module
        for name, module in recipe.named_modules()
        if not is_attention(module) and any(is_attention(part) for part in module.children())
    }
    ran, hooks = set(), []
    for module in recipe.modules():
        hooks.append(module.register_forward_hook(lambda own, *_: ran.add(own)))
    try:
        for objective in recipe.objectives():
            recipe.zero_grad()
            sum(step(recipe, batch, objective=objective).values()).backward()
    finally:
        for hook in hooks:
            hook.remove()
    used = {
        name for name, block in blocks.items() if any(p in ran for p in block.children() if is_attention(p))
    }
    assert used, "a step of a transformer runs some block"
    owners = {
        name: [e for e in recipe.encoders().values() if any(blocks[name] is one for one in e.layers)]
        for name in used
    }
    return sorted(name for name in used if len(owners[name]) != 1 or blocks[name] not in ran)


def toy(vocabulary, cls=PairRecipe):
    torch.manual_seed(0)
    return cls(toys.Config(), frames=FRAMES, size=SIZE, vocabulary=vocabulary)


class TestEncoders:
    @pytest.mark.parametrize("name", RECIPES)
    def test_every_block_that_runs_belongs_to_an_encoder(self, name, recipe, batch):
        assert wrongly_named(recipe, batch) == []

    @pytest.mark.parametrize("name", RECIPES)
    def test_each_tells_of_itself_what_cost_and_record_ask(self, name, recipe):
        assert "video" in recipe.encoders()
        for encoder in recipe.encoders().values():
            assert encoder.extra_tokens >= 0
            assert encoder.start is None or isinstance(encoder.start, str)
            inside = [part for module in encoder.counted for part in module.modules()]
            assert len(inside) == len(set(inside)), "no counted module lies inside another one"
            assert set(encoder.layers) <= set(inside), "the FLOPs of every block are counted"

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


def masks(recipe, batch, rank=0, size=1):
    rng = BatchRng(torch.Generator().manual_seed(3), rank=rank, size=size)
    draw = recipe.draw(batch, rng)
    assert all(len(chosen) == len(batch.video) for chosen in draw.chosen.values())
    return draw.video_mask, draw.text_mask


def same(a, b):
    return (a is None) == (b is None) and (a is None or torch.equal(a, b))


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

    @pytest.mark.parametrize("name", RECIPES)
    def test_two_processes_hide_what_one_hides(self, name, recipe, batch):
        whole = masks(recipe, batch)
        other = Batch.of(
            torch.cat([batch.video[:4], batch.video[4:].flip(0)]),
            batch.text.select(torch.tensor([0, 1, 2, 3, 7, 6, 5, 4])),
        )
        for side, mask in enumerate(whole):
            beside = masks(recipe, other)[side]
            if mask is not None and not torch.equal(mask[:4], beside[:4]):
                assert name not in ("mac", "simvtp")
                continue  # it depends on the other rows, of which each process has its own
            halves = [masks(recipe, batch.select(rows), r, 2)[side] for r, rows in enumerate(HALVES)]
            assert same(torch.cat(halves) if mask is not None else None, mask), side

    @pytest.mark.parametrize("name", RECIPES)
    def test_a_process_that_ignored_its_rank_would_be_noticed(self, name, recipe, batch):
        whole = masks(recipe, batch)
        ignoring = [masks(recipe, batch.select(rows)) for rows in HALVES]
        for side, mask in enumerate(whole):
            if mask is not None:
                assert not torch.equal(torch.cat([half[side] for half in ignoring]), mask)


HALVES = (slice(0, 4), slice(4, 8))


def copied(recipe):
    return {name: value.clone() for name, value in recipe.state_dict().items()}


def equal(a, b):
    return a.keys() == b.keys() and all(torch.equal(a[k], b[k]) for k in a)


class TestHooks:
    @pytest.mark.parametrize("name", RECIPES)
    def test_what_is_prepared_and_done_after_a_step_has_its_place_in_a_checkpoint(self, name, recipe, store):
        before = copied(recipe)
        found = []
        for _ in range(2):
            recipe.load_state_dict(before)
            with torch.no_grad():
                flops = recipe.prepare(store, torch.Generator().manual_seed(7))
                recipe.after_step(0.5)
            assert flops >= 0
            found.append(copied(recipe))
        assert equal(*found), "the generator alone decides"
        assert {k: (v.shape, v.dtype) for k, v in found[0].items()} == {
            k: (v.shape, v.dtype) for k, v in before.items()
        }

    @pytest.mark.parametrize("name", RECIPES)
    def test_recipes_without_them_change_nothing(self, name, recipe, store):
        before = copied(recipe)
        if type(recipe).prepare is BaseRecipe.prepare:
            rng = torch.Generator().manual_seed(7)
            state = rng.get_state()
            assert recipe.prepare(store, rng) == 0.0
            assert torch.equal(rng.get_state(), state)
            assert equal(copied(recipe), before)
        if type(recipe).after_step is BaseRecipe.after_step:
            for done in (0.1, 1.0):
                recipe.after_step(done)
            assert equal(copied(recipe), before)

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
    @pytest.mark.parametrize("name", RECIPES)
    def test_one_that_a_recipe_lacks_is_refused_before_there_are_data(self, name):
        config = run_config(name, stages=(stage("recipe"), stage("dream")), data=NOWHERE)
        with pytest.raises(UserError, match=f"{name} has no objective 'dream'; it has recipe") as caught:
            try_to_build(config)
        for known in recipe_module(name).Recipe.objectives():
            assert known in str(caught.value)
        assert "\n" not in str(caught.value)

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


@pytest.mark.parametrize("name", recipes_with("match"))
class TestJudgementsInBfloat16:
    """Encoders run in bfloat16 where the device does; what judges pairs does not."""

    def test_no_two_of_128_different_pairs_score_the_same(self, name, recipe, vocabulary):
        clips = torch.randint(
            0, 256, (128, FRAMES, SIZE, SIZE, 3), generator=torch.Generator().manual_seed(0)
        )
        text = vocabulary.encode(["red ball rolls left"] * 128)
        with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
            scores = recipe.eval().match(clips.to(torch.uint8), text)
        assert scores.dtype == torch.float32
        coarse = scores.to(torch.bfloat16).unique().numel()
        assert scores.unique().numel() > max(120, coarse), "bfloat16 would make ties"

    def test_it_is_trained_as_it_judges(self, name, recipe, batch):
        head = getattr(recipe, "match_head", None) or recipe.word_head
        said = []
        head.register_forward_hook(lambda module, given, out: said.append(out.dtype))
        with torch.autocast("cpu", torch.bfloat16):
            step(recipe, batch)
        assert torch.float32 in said
