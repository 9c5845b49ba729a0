"""Contract tests of recipes: losses, random choices, hooks, encoders.

from workbench.testing import recipe_contract

TestMine = recipe_contract("mine")
"""

from __future__ import annotations

import inspect
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from workbench import recipes
from workbench.config import Budget, DataConfig, RunConfig, Stage
from workbench.errors import UserError
from workbench.recipe.base import BaseRecipe
from workbench.recipe.batch import Batch, BatchRng
from workbench.serial import from_dict, to_dict
from workbench.testing.recipe_abilities import Abilities
from workbench.testing.recipe_base import copied, drawn, offered, same, total
from workbench.testing.world import FRAMES, SIZE, build, shrink, step
from workbench.train.session import try_to_build

HALVES = (slice(0, 4), slice(4, 8))
"""Two processes share a batch of eight."""


def recipe_contract(*names: str) -> type[RecipeContract]:
    """A class of tests, to be given a name that begins with `Test`, of these recipes. What only some
    recipes can do is asked of those that define it. Raises `UserError` for a recipe that there is not."""
    for name in names:
        recipes.load(name)
    return offered(RecipeContract, names=names)


def is_attention(module: nn.Module) -> bool:
    return "attention" in type(module).__name__.lower()


def wrongly_named(recipe: BaseRecipe, batch: Batch) -> list[str]:
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


def masks(recipe: BaseRecipe, batch: Batch, rank: int = 0, size: int = 1) -> dict[str, Tensor]:
    """What a step hides, by side; a side of which nothing is hidden is left out."""
    draw = recipe.draw(batch, BatchRng(torch.Generator().manual_seed(3), rank=rank, size=size))
    assert all(len(chosen) == len(batch.video) for chosen in draw.chosen.values())
    both = {"video": draw.video_mask, "text": draw.text_mask}
    return {side: mask for side, mask in both.items() if mask is not None}


def _a_run(name: str, *objectives: str) -> RunConfig:
    """A run over data that nobody has made."""
    budget = Budget(unit="steps", amount=2)
    return RunConfig(
        recipe=shrink(recipes.load(name).Config()),
        data=DataConfig(name="random", digest="0" * 64, frames=FRAMES, size=SIZE),
        stages=tuple(Stage(objective=objective, budget=budget) for objective in objectives),
    )


class RecipeContract(Abilities):
    """Each test runs for each of `names`, on eight clips of 4 frames of 16 x 16 and a recipe made tiny."""

    def test_its_config_is_frozen_and_keyword_only_and_survives_a_file(self, name: str) -> None:
        config = recipes.load(name).Config()
        assert from_dict(to_dict(config)) == config
        with pytest.raises(AttributeError):
            config.weights = None
        with pytest.raises(TypeError):
            type(config)(config.video)

    def test_its_losses_are_finite_scalars_that_its_weights_name(
        self, name: str, recipe: Any, batch: Any
    ) -> None:
        terms = step(recipe, batch)
        assert isinstance(recipe, BaseRecipe)
        assert terms
        assert set(terms) <= set(recipe.weights())
        for term in terms.values():
            assert term.shape == ()
            assert torch.isfinite(term)

    def test_every_trained_parameter_gets_a_gradient(self, name: str, recipe: Any, batch: Any) -> None:
        """Its own losses, its phases and the alignment together train all parameters; those in a branch that
        starts at zero get gradients from the second step."""
        trained = {n: p for n, p in recipe.named_parameters() if p.requires_grad}
        for _ in range(2):
            for objective in recipe.objectives():
                total(recipe, step(recipe, batch, objective=objective), objective).backward()
            with torch.no_grad():
                for parameter in trained.values():
                    if parameter.grad is not None:
                        parameter -= 1e-3 * parameter.grad
        assert [n for n, p in trained.items() if p.grad is None or not p.grad.any()] == []
        assert all(torch.isfinite(p.grad).all() for p in trained.values())

    def test_the_generator_alone_decides(self, name: str, recipe: Any, batch: Any) -> None:
        torch.manual_seed(1)
        draw = recipe.draw(batch, BatchRng.seeded(5))
        first = recipe(batch, draw)
        torch.manual_seed(2)
        again = recipe.draw(batch, BatchRng.seeded(5))
        assert same(drawn(draw), drawn(again))
        assert {n: t.item() for n, t in recipe(batch, again).items()} == {
            n: t.item() for n, t in first.items()
        }
        if not drawn(draw):
            return  # nothing of it is left to chance
        other = step(recipe, batch, 6)
        assert any(other[n].item() != t.item() for n, t in first.items()), "another seed, another mask"

    def test_the_forward_pass_takes_no_generator_and_changes_no_state(
        self, name: str, recipe: Any, batch: Any
    ) -> None:
        for objective in recipe.objectives():
            draw = recipe.draw(batch, BatchRng.seeded(0), objective=objective)
            before, state = {k: v.clone() for k, v in recipe.state_dict().items()}, torch.get_rng_state()
            first = recipe(batch, draw, objective=objective)
            again = recipe(batch, draw, objective=objective)
            assert {n: t.item() for n, t in first.items()} == {n: t.item() for n, t in again.items()}
            assert same(recipe.state_dict(), before), objective
            assert torch.equal(torch.get_rng_state(), state), "nothing is drawn from the global generator"
        assert not {"rng", "generator"} & set(inspect.signature(recipe.forward).parameters)

    def test_unmasked_losses_draw_no_mask(
        self, name: str, recipe: Any, batch: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def masked(*arguments: Any) -> None:
            raise AssertionError("a mask was drawn")

        monkeypatch.setattr(recipe, "masks", masked)
        for objective in {"recipe", "align"} & set(recipe.objectives()):
            draw = recipe.draw(batch, BatchRng.seeded(0), objective=objective, masked=False)
            assert draw.video_mask is None
            assert draw.text_mask is None
            try:
                terms = recipe(batch, draw, objective=objective)
            except UserError as error:  # some have no term then, and say so
                if "where nothing is hidden" not in str(error):
                    raise
                continue
            assert all(torch.isfinite(t) for t in terms.values())

    def test_it_works_on_single_images(self, name: str, batch: Any, vocabulary: Any) -> None:
        recipe = build(name, vocabulary, frames=1, tubelet=1)
        image = batch._replace(video=batch.video[:, :1])
        assert all(torch.isfinite(t) for t in step(recipe, image).values())
        if hasattr(recipe, "embed_video"):
            assert recipe.embed_video(image.video).shape[0] == 8

    def test_the_seed_alone_fixes_the_initial_weights(self, name: str, recipe: Any, vocabulary: Any) -> None:
        again = build(name, vocabulary).state_dict()
        assert all(torch.equal(value, again[key]) for key, value in recipe.state_dict().items())

    @pytest.mark.parametrize("rows", [1, 2, 8])
    def test_small_batches_and_empty_captions_do_no_harm(
        self, name: str, recipe: Any, batch: Any, vocabulary: Any, rows: int
    ) -> None:
        text = vocabulary.encode(["", *["red moon"] * 7][:rows])
        terms = step(recipe, batch.select(slice(0, rows))._replace(text=text))
        total(recipe, terms).backward()
        assert all(torch.isfinite(term) for term in terms.values())
        assert all(torch.isfinite(p.grad).all() for p in recipe.parameters() if p.grad is not None)

    def test_every_block_that_runs_belongs_to_an_encoder(self, name: str, recipe: Any, batch: Any) -> None:
        assert wrongly_named(recipe, batch) == []

    def test_each_tells_of_itself_what_cost_and_record_ask(self, name: str, recipe: Any) -> None:
        assert "video" in recipe.encoders()
        for encoder in recipe.encoders().values():
            assert encoder.extra_tokens >= 0
            assert encoder.start is None or isinstance(encoder.start, str)
            inside = [part for module in encoder.counted for part in module.modules()]
            assert len(inside) == len(set(inside)), "no counted module lies inside another one"
            assert set(encoder.layers) <= set(inside), "the FLOPs of every block are counted"

    def test_two_processes_hide_what_one_hides(self, name: str, recipe: Any, batch: Any) -> None:
        whole = masks(recipe, batch)
        other = Batch.of(
            torch.cat([batch.video[:4], batch.video[4:].flip(0)]),
            batch.text.select(torch.tensor([0, 1, 2, 3, 7, 6, 5, 4])),
        )
        beside = masks(recipe, other)
        halves = [masks(recipe, batch.select(rows), rank, 2) for rank, rows in enumerate(HALVES)]
        assert all(half.keys() == whole.keys() for half in halves)
        for side, mask in whole.items():
            if not torch.equal(mask[:4], beside[side][:4]):
                continue  # it depends on the other rows, of which each process has its own
            assert torch.equal(torch.cat([half[side] for half in halves]), mask), side

    def test_a_process_that_ignored_its_rank_would_be_noticed(
        self, name: str, recipe: Any, batch: Any
    ) -> None:
        whole = masks(recipe, batch)
        ignoring = [masks(recipe, batch.select(rows)) for rows in HALVES]
        for side, mask in whole.items():
            assert not torch.equal(torch.cat([half[side] for half in ignoring]), mask)

    def test_what_is_prepared_and_done_after_a_step_has_its_place_in_a_checkpoint(
        self, name: str, recipe: Any, store: Any
    ) -> None:
        before = copied(recipe)
        found = []
        for _ in range(2):
            recipe.load_state_dict(before)
            with torch.no_grad():
                flops = recipe.prepare(store, torch.Generator().manual_seed(7))
                recipe.after_step(0.5)
            assert flops >= 0
            found.append(copied(recipe))
        assert same(*found), "the generator alone decides"
        assert {k: (v.shape, v.dtype) for k, v in found[0].items()} == {
            k: (v.shape, v.dtype) for k, v in before.items()
        }

    def test_recipes_without_them_change_nothing(self, name: str, recipe: Any, store: Any) -> None:
        before = copied(recipe)
        if type(recipe).prepare is BaseRecipe.prepare:
            rng = torch.Generator().manual_seed(7)
            state = rng.get_state()
            assert recipe.prepare(store, rng) == 0.0
            assert torch.equal(rng.get_state(), state)
            assert same(copied(recipe), before)
        if type(recipe).after_step is BaseRecipe.after_step:
            for done in (0.1, 1.0):
                recipe.after_step(done)
            assert same(copied(recipe), before)

    def test_one_that_a_recipe_lacks_is_refused_before_there_are_data(self, name: str) -> None:
        config = _a_run(name, "recipe", "dream")
        with pytest.raises(UserError, match=f"{name} has no objective 'dream'; it has recipe") as caught:
            try_to_build(config)
        for known in recipes.load(name).Recipe.objectives():
            assert known in str(caught.value)
        assert "\n" not in str(caught.value)
