"""A step never waits for the host, and how gradients are made: in parts, with blocks computed again."""

import json
from dataclasses import replace

import pytest
import torch
from small import FRAMES, SIZE, build, recipe_module, recipe_names, run_config, shrink
from small import step as one_step
from toys import Config as ToyConfig
from torch._subclasses.fake_tensor import DynamicOutputShapeException, FakeTensorMode

from workbench.config import Budget, OptimConfig, RunConfig, Stage
from workbench.errors import UserError
from workbench.masking import places
from workbench.recipe.batch import Batch, BatchRng, Draw, Layout, Text
from workbench.recipe.dual import DualEncoder
from workbench.train import loop
from workbench.train.loop import NotFinite, train
from workbench.train.session import check, open_session
from workbench.train.step.late import Findings

CPU = torch.device("cpu")


class TestPlaces:
    """What is known of a mask gives what its values would."""

    def test_a_mask_that_says_its_number_is_read_as_one_that_does_not(self):
        mask = torch.rand(5, 7, generator=torch.Generator().manual_seed(0)) < 0.4
        x = torch.randn(5, 7, 3)
        known = places.counted(mask.clone(), int(mask.sum()))
        for one in (mask, known):
            assert torch.equal(torch.stack(places.places(one), 1), mask.nonzero())
            assert torch.equal(places.pick(x, one), x[mask])
        even = places.counted_each(torch.tensor([[True, False, True], [False, True, True]]), 2)
        assert places.columns(even).tolist() == [[0, 2], [1, 2]]
        assert places.columns(places.opposite(even)).tolist() == [[1], [0]]
        assert places.total_of(places.opposite(even)) == 2
        assert places.total_of(places.some_rows(even, slice(1, 2))) == 2
        assert places.total_of(places.some_rows(known, slice(1, 2))) is None, "rows differ"

    def test_a_wrong_number_is_noticed_where_the_host_sees_the_values(self):
        mask = torch.tensor([[True, True], [False, False]])
        with pytest.raises(AssertionError, match="holds where it says"):
            places.counted(mask, 3)
        with pytest.raises(AssertionError, match="holds where it says"):
            places.counted_each(mask, 1)

    def test_captions_on_an_accelerator_are_known_to_the_host(self, batch):
        text = batch.text
        away = Text(text.tokens.to("meta"), Layout(*(x.to("meta") for x in text.layout)), text.layout)
        assert torch.equal(away.select(slice(2, 4)).known.valid, text.layout.valid[2:4])
        assert text.to(torch.device("meta")).known is text.layout
        assert text.known is text.layout


def fake(value, mode, device):
    """Tensors that have a shape, lie on a device, and have no values at all."""
    if isinstance(value, torch.Tensor):
        there = mode.from_tensor(value).detach().to(device)
        for name in (places.TOTAL, places.EACH):
            if hasattr(value, name):
                setattr(there, name, getattr(value, name))
        return there
    if isinstance(value, dict):
        return {name: fake(one, mode, device) for name, one in value.items()}
    return value


def moved(recipe, mode, device):
    for module in recipe.modules():
        for name, own in module._parameters.items():
            if own is not None:
                there = torch.nn.Parameter(fake(own, mode, device), requires_grad=own.requires_grad)
                module._parameters[name] = there
        for name, own in module._buffers.items():
            module._buffers[name] = None if own is None else fake(own, mode, device)
    return recipe


def asks_nothing(recipe, batch, device, objective="recipe"):
    """One step of tensors without values: whatever would read one raises.

    Torch goes back on a device only where there is one, so that gradients are left out on `cuda`.
    """
    draw, mode = recipe.draw(batch, BatchRng.seeded(0), objective=objective), FakeTensorMode()
    with mode:
        recipe = moved(recipe, mode, device)
        video, tokens, *rest = (fake(x, mode, device) for x in batch.tensors)
        there = Batch(video, Text(tokens, Layout(*rest[:3])), *rest[3:])
        drawn = Draw(*(fake(x, mode, device) for x in (*draw[:2], dict(draw.chosen))))
        terms = recipe(there, drawn, objective=objective)
        assert {term.device.type for term in terms.values()} == {device}
        if device == "cpu":
            sum(terms.values()).backward()
        recipe.after_step(0.5)


@pytest.mark.parametrize("device", ["cuda", "cpu"])
@pytest.mark.parametrize("name", recipe_names())
def test_a_step_asks_the_device_for_nothing(name, device, vocabulary, batch, monkeypatch):
    monkeypatch.setattr(places, "_seen", lambda mask: False)
    config = shrink(recipe_module(name).Config())
    if name == "violet":  # what gets attention is hidden: how many words of it, nobody knows beforehand
        config = replace(config, attended=0.0)
    asks_nothing(build(name, vocabulary, config=config), batch, device)
