"""InternVideo: its coordinator adds nothing at first and moves no encoder; its stages; parts of others."""

from dataclasses import replace

import overfit
import pytest
import torch
from small import build, recipe_module, run_config, shrink

from workbench import losses, targets
from workbench.config import Budget, DataConfig, Stage
from workbench.errors import UserError
from workbench.models.pooler import Coordinator
from workbench.models.video import Encoded
from workbench.recipe.batch import BatchRng, Draw
from workbench.train.cost import StepCounter
from workbench.train.loop import train
from workbench.train.session import try_to_build, untrained

internvideo = recipe_module("internvideo")
TINY = shrink(internvideo.Config())
HOWS = ("attention", "concat", "off")


def recipe_of(vocabulary, **changes):
    return build("internvideo", vocabulary, config=replace(TINY, **changes)).eval()


def drawn(recipe, batch, seed=0, **options):
    return recipe.draw(batch, BatchRng.seeded(seed), **options)


@pytest.fixture(scope="module")
def pairs(tmp_path_factory):
    return overfit.write_pairs(tmp_path_factory.mktemp("pairs") / "frames")


def session_of(pairs, *stages, recipe=TINY):
    config = overfit.two_stages(recipe, 1, 1)
    stages = tuple(Stage(objective=name, budget=Budget(unit="steps", amount=n)) for name, n in stages)
    return overfit.session_of(replace(config, stages=stages), pairs)


class TestCoordinator:
    @pytest.mark.parametrize("attention", [True, False])
    def test_at_first_it_adds_nothing_and_then_what_the_other_encoder_says(self, attention):
        torch.manual_seed(0)
        coordinator = Coordinator(32, 2, 2, keys=24, attention=attention)
        pooled = torch.randn(3, 32)
        other = Encoded(torch.randn(3, 24), torch.randn(3, 5, 24))
        assert torch.equal(coordinator(pooled, other), pooled)
        with torch.no_grad():
            for parameter in coordinator.parameters():
                parameter += 0.1 * torch.randn_like(parameter)
            found = coordinator(pooled, other)
            nothing = Encoded(torch.zeros(3, 24), torch.zeros(3, 5, 24))
            assert not torch.allclose(coordinator(pooled, nothing), found, atol=1e-3)
            order = torch.tensor([2, 0, 1])
            again = coordinator(pooled[order], Encoded(other.pooled[order], other.tokens[order]))
        assert torch.allclose(again, found[order], atol=1e-6), "each clip asks its own tokens"
        assert not torch.allclose(found, pooled, atol=1e-2)

    def test_both_kinds_have_about_as_many_parameters(self):
        count = [
            sum(p.numel() for p in Coordinator(128, 2, 2, keys=128, attention=kind).parameters())
            for kind in (True, False)
        ]
        assert abs(count[0] - count[1]) < 0.02 * count[0]

    @pytest.mark.parametrize("how", HOWS)
    @torch.no_grad()
    def test_a_fresh_recipe_says_what_its_contrastive_encoder_says(self, vocabulary, batch, how):
        recipe = recipe_of(vocabulary, coordinate=how)
        alone = torch.nn.functional.normalize(recipe.video_head(recipe.video(batch.video).pooled), dim=1)
        assert torch.allclose(recipe.embed_video(batch.video), alone, atol=1e-6)
        terms = recipe(batch, drawn(recipe, batch))
        if how == "off":
            assert set(terms) == {"mvm", "vtc", "lm"}
        else:
            assert terms["joint"].item() == pytest.approx(terms["vtc"].item(), abs=1e-5)


class TestStages:
    def test_each_trains_its_parts_and_leaves_the_others_to_the_bit(self, pairs):
        for phase, parts in (
            ("predict", ("generative.", "decoder.")),
            ("contrast", ("video.", "text.", "video_head", "text_head", "temperature")),
            ("coordinate", ("coordinator.", "video_head", "text_head", "temperature")),
        ):
            session = session_of(pairs, (phase, 3))
            before = overfit.weights(session)
            list(train(session))
            after = overfit.weights(session)
            moved = {name for name in before if not torch.equal(before[name], after[name])}
            assert moved == {name for name in session.trained if name.startswith(parts)}, phase

    def test_after_the_last_the_embedding_needs_the_generative_encoder(self, pairs):
        session = session_of(pairs, ("coordinate", 20))
        list(train(session))
        recipe, clips = session.recipe.eval(), torch.from_numpy(pairs.frames[:8].copy())
        with torch.no_grad():
            before = recipe.embed_video(clips)
            for parameter in recipe.generative.parameters():
                parameter.zero_()
            assert not torch.allclose(recipe.embed_video(clips), before, atol=1e-3)

    def test_no_gradient_of_the_joint_contrast_reaches_an_encoder(self, vocabulary, batch):
        recipe = recipe_of(vocabulary)
        recipe(batch, drawn(recipe, batch))["joint"].backward()
        reached = {
            n.split(".")[0] for n, p in recipe.named_parameters() if p.grad is not None and p.grad.any()
        }
        assert reached == {"coordinator", "video_head", "text_head", "temperature"}

    def test_the_three_together_are_what_is_trained_at_once(self, vocabulary, batch):
        recipe = recipe_of(vocabulary)
        draw, found = drawn(recipe, batch), {}
        for phase in recipe.PHASES:
            found |= recipe(batch, draw, objective=phase)
        whole = recipe(batch, draw)
        assert found.keys() == whole.keys() == recipe.weights().keys()
        assert all(found[name].item() == whole[name].item() for name in whole)

    def test_what_is_predicted_are_the_pixels_of_what_was_dropped(self, vocabulary, batch):
        recipe = recipe_of(vocabulary)
        mask = drawn(recipe, batch).video_mask
        assert mask.sum(1).tolist() == [TINY.video_masking.hidden(recipe.grid)] * 8
        assert mask.view(8, 2, 4).unique(dim=1).shape[1] == 1, "tubes"
        made = recipe.decoder(recipe.generative(batch.video, mask).tokens, mask)
        wanted = targets.normalised_pixels(recipe.video.patches(batch.video)[mask].unflatten(0, (8, -1)))
        found = recipe.predict(batch, Draw(mask))["mvm"]
        assert found.item() == pytest.approx((made - wanted).square().mean().item(), rel=1e-5)

    @pytest.mark.parametrize(
        ("stages", "lacking"),
        [
            (("predict",), {"embed_video", "embed_text", "generate"}),
            (("predict", "contrast"), set()),
            (("predict", "contrast", "coordinate"), {"generate"}),
            (("recipe", "align"), {"generate"}),
        ],
    )
    def test_what_counts_after_which_stages(self, vocabulary, stages, lacking):
        stages = [Stage(objective=name, budget=Budget(unit="steps", amount=1)) for name in stages]
        found = untrained(recipe_of(vocabulary), stages)
        assert found & {"embed_video", "embed_text", "generate"} == lacking


@pytest.mark.parametrize("stage", ["predict", "contrast"])
def test_a_probe_reads_what_each_phase_trains(vocabulary, batch, stage):
    recipe = recipe_of(vocabulary)
    before = recipe.features(batch.video)
    draw = recipe.draw(batch, BatchRng.seeded(0), objective=stage)
    sum(recipe(batch, draw, objective=stage).values()).backward()
    with torch.no_grad():
        for name, parameter in recipe.named_parameters():
            if parameter.grad is not None and recipe.learns(name, stage):
                parameter.sub_(parameter.grad.sign(), alpha=0.01)
    assert before.shape == (8, recipe.grid.tokens, 2 * recipe.video.width)
    assert not torch.allclose(recipe.features(batch.video), before, atol=1e-3)


def test_the_joint_contrast_alone_trains_embeddings(vocabulary):
    def named(**changes):
        alone = internvideo.Weights(mvm=0, vtc=0, lm=0, joint=1)
        return recipe_of(vocabulary, weights=alone, **changes).trained_by("embed_video")

    assert set(named()) == {"recipe", "align", "coordinate"}
    assert "recipe" not in named(coordinate="off")


def test_every_pass_is_counted_and_how_many_tokens_it_read(vocabulary, batch):
    for how, generative in (("attention", 2.0), ("concat", 2.0), ("off", 1.0)):
        recipe = recipe_of(vocabulary, coordinate=how)
        with StepCounter(recipe, 8) as counter:
            recipe(batch, drawn(recipe, batch))
        cost = counter.cost
        once = dict.fromkeys(("video", "decoder", "text", "writer"), 1.0)
        asked = {} if how == "off" else {"coordinator": 1.0}
        assert {n: cost.passes(n) for n in recipe.encoders()} == once | {"generative": generative} | asked
        visible = recipe.grid.tokens - TINY.video_masking.hidden(recipe.grid)
        assert cost.encoders["generative"].tokens == 8 * (visible + (generative - 1) * recipe.grid.tokens)
        assert cost.tokens_out == recipe.grid.tokens


def test_its_parts_fit_those_of_the_runs_that_they_may_come_from(vocabulary):
    recipe = recipe_of(vocabulary).state_dict()
    for other, pairs in (
        ("videomae", {"video.": "generative.", "decoder.": "decoder."}),
        ("mac", {"video.": "video."}),
        ("coca", {"text.": "text."}),
    ):
        there = build(other, vocabulary).state_dict()
        for source, part in pairs.items():
            shapes = {n.removeprefix(source): v.shape for n, v in there.items() if n.startswith(source)}
            own = {n.removeprefix(part): v.shape for n, v in recipe.items() if n.startswith(part)}
            assert own == shapes, (other, part)


@pytest.mark.parametrize(
    "change",
    [
        {"video_masking": None}, {"video": replace(TINY.video, hidden="replace")}, {"coordinate": "add"},
        {"coordinator_depth": 0}, {"text": replace(TINY.text, words=())},
    ],
)  # fmt: skip
def test_what_it_cannot_do_is_refused_in_a_sentence(change):
    with pytest.raises(UserError) as caught:
        replace(TINY, **change)
    assert "\n" not in str(caught.value)


def test_a_stage_without_anything_to_train_is_refused_before_there_are_data():
    stages = (Stage(objective="coordinate", budget=Budget(unit="steps", amount=1)),)
    nowhere = DataConfig(name="random", digest="0" * 64, frames=4, size=16)
    try_to_build(run_config(TINY, stages=stages, data=nowhere))
    with pytest.raises(UserError, match="nothing to train in a stage 'coordinate'"):
        try_to_build(run_config(replace(TINY, coordinate="off"), stages=stages, data=nowhere))


@pytest.mark.parametrize(
    ("phase", "without", "named"),
    [
        ("predict", ("mvm",), "weights.mvm"), ("contrast", ("vtc", "lm"), "weights.vtc or weights.lm"),
        ("coordinate", ("joint",), "weights.joint"),
    ],
)  # fmt: skip
def test_a_phase_whose_terms_have_no_weight_is_refused_before_there_are_data(phase, without, named):
    stages = (Stage(objective=phase, budget=Budget(unit="steps", amount=1)),)
    nowhere = DataConfig(name="random", digest="0" * 64, frames=4, size=16)
    weights = replace(TINY.weights, **dict.fromkeys(without, 0.0))
    with pytest.raises(UserError, match=f"nothing to learn in a stage '{phase}' without {named}$"):
        try_to_build(run_config(replace(TINY, weights=weights), stages=stages, data=nowhere))
    if len(without) > 1:  # one of them is enough
        some = replace(TINY.weights, **{without[0]: 0.0})
        try_to_build(run_config(replace(TINY, weights=some), stages=stages, data=nowhere))


def test_where_nothing_is_left_to_learn_it_says_so(vocabulary, batch):
    weights = replace(TINY.weights, vtc=0.0, lm=0.0, joint=0.0)
    with pytest.raises(UserError, match="nothing to learn"):
        recipe_of(vocabulary, weights=weights)(batch, Draw())


def test_the_contrast_is_the_plain_one_and_captions_are_written(vocabulary, batch):
    recipe = recipe_of(vocabulary)
    terms = recipe.contrast(batch, Draw())
    plain = losses.vtc(recipe.embed_video(batch.video), recipe.embed_text(batch.text), recipe.temperature())
    assert terms["vtc"].item() == pytest.approx(plain.item(), abs=1e-5)
    assert len(recipe.generate(batch.video[:2], ["red", "a red"])) == 2
