"""MAC with FLIP's reconstruction beside its contrast: off by default, and learned from what is hidden."""

from dataclasses import replace

import pytest
import torch
from small import run_config, shrink

from workbench import targets
from workbench.config import OptimConfig
from workbench.errors import UserError
from workbench.models.text import TextConfig, vocabulary
from workbench.recipe.batch import Batch, BatchRng
from workbench.recipes import mac
from workbench.train.session import check

CAPTIONS = ["a red moon", "a blue star grows"]
WORDS = vocabulary(CAPTIONS, TextConfig())
TINY = shrink(mac.Config())
BOTH = replace(TINY, weights=mac.Weights(mvm=1.0))


def recipe_of(config):
    torch.manual_seed(0)
    return mac.Recipe(config, frames=4, size=32, vocabulary=WORDS)


def batch_of():
    generator = torch.Generator().manual_seed(0)
    video = torch.randint(0, 256, (2, 4, 32, 32, 3), generator=generator, dtype=torch.uint8)
    return Batch.of(video, WORDS.encode(CAPTIONS))


def test_the_contrast_and_its_weights_are_as_they_were_with_a_decoder_beside_them():
    plain, both, batch = recipe_of(TINY), recipe_of(BOTH), batch_of()
    assert set(both.state_dict()) - set(plain.state_dict()) == {
        name for name in both.state_dict() if name.startswith("decoder.")
    }
    for name, weights in plain.state_dict().items():
        assert torch.equal(both.state_dict()[name], weights), name
    draw = plain.draw(batch, BatchRng.seeded(0))
    alone, beside = plain.losses(batch, draw), both.losses(batch, draw)
    assert set(alone) == {"vtc"}
    assert set(beside) == {"vtc", "mvm"}
    assert torch.allclose(alone["vtc"], beside["vtc"], atol=1e-5)
    assert "decoder" in both.encoders()
    unmasked = both.draw(batch, BatchRng.seeded(0), masked=False)
    assert set(both.losses(batch, unmasked)) == {"vtc"}, "nothing hidden, nothing predicted"


def test_pixels_of_hidden_patches_can_be_learned_by_heart():
    recipe, batch = recipe_of(BOTH), batch_of()
    draw = recipe.draw(batch, BatchRng.seeded(0))
    optimiser = torch.optim.Adam(recipe.parameters(), lr=3e-3)
    mask = draw.video_mask
    variance = targets.normalised_patches(recipe.video.patches(batch.video, mask)).square().mean()
    for _ in range(200):
        optimiser.zero_grad()
        terms = recipe.losses(batch, draw)
        (terms["vtc"] + terms["mvm"]).backward()
        optimiser.step()
    assert terms["mvm"] < 0.8 * variance


def test_what_cannot_be_is_refused():
    with pytest.raises(UserError, match=r"video\.hidden='drop'"):
        replace(BOTH, video=replace(TINY.video, hidden="replace"))
    with pytest.raises(UserError, match=r"weights\.vtc must be above 0"):
        replace(TINY, weights=mac.Weights(vtc=0.0, mvm=1.0))
    with pytest.raises(UserError, match=r"weights\.mvm"):
        check(run_config(BOTH, optim=OptimConfig(batch_size=8, accumulate=2)), 1)
    check(run_config(TINY, optim=OptimConfig(batch_size=8, accumulate=2)), 1)
