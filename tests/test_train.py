"""The loop: repeatable to the bit, resumable to the bit, and budgets that mean what they say."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from small import recipe_module, run_config, shrink, write_store

from workbench.config import Budget, OptimConfig, Stage
from workbench.data.loader import Loader
from workbench.errors import UserError
from workbench.masking.video import PerFrameMasking
from workbench.recipe.base import ABILITIES
from workbench.train import checkpoint
from workbench.train.checkpoint import Progress
from workbench.train.loop import Interrupted, NotFinite, expected_steps, planned_steps, schedule, train
from workbench.train.session import open_session

CPU = torch.device("cpu")
CLOCK = ("seconds",)


def session_of(config, store, precision=torch.float32):
    return open_session(config, store, device=CPU, precision=precision)


def trace(rows):
    """What must repeat: every number but the clock."""
    return [(step, {k: v for k, v in row.items() if k not in CLOCK}) for step, row in rows]


def weights(session):
    return {k: v.clone() for k, v in session.recipe.state_dict().items()}


def equal(a, b):
    return a.keys() == b.keys() and all(torch.equal(a[k], b[k]) for k in a)


def stages(*amounts, unit="steps"):
    return tuple(Stage(budget=Budget(unit=unit, amount=a)) for a in amounts)


class TestRepeating:
    @pytest.mark.parametrize("recipe", ["mac", "simvtp"])
    @pytest.mark.parametrize("precision", [torch.float32, torch.bfloat16], ids=str)
    def test_the_same_config_and_seed_give_the_same_trace_bit_for_bit(self, store, recipe, precision):
        first, second = (session_of(run_config(recipe), store, precision) for _ in range(2))
        torch.manual_seed(1)
        one = trace(train(first))
        torch.manual_seed(2)
        two = trace(train(second))
        assert one == two
        assert equal(weights(first), weights(second))
        assert [step for step, _ in one] == [1, 2, 3, 4, 5, 6]

    def test_every_step_draws_its_own_masks(self, store, monkeypatch):
        drawn = {}
        for seed in (0, 1):
            session = session_of(run_config(seed=seed), store)
            draw, masks = session.recipe.masks, []
            monkeypatch.setattr(session.recipe, "masks", lambda *a, d=draw, m=masks: m.append(d(*a)) or m[-1])
            list(train(session))
            drawn[seed] = {tuple(mask.video.flatten().tolist()) for mask in masks}
        assert len(drawn[0]) == len(drawn[1]) == 6
        assert not drawn[0] & drawn[1]

    def test_another_seed_gives_another_run(self, store):
        one = trace(train(session_of(run_config(), store)))
        two = trace(train(session_of(run_config(seed=1), store)))
        assert all(a["train/vtc"] != b["train/vtc"] for (_, a), (_, b) in zip(one, two, strict=True))

    def test_it_learns(self, store):
        config = run_config(steps=60, optim=OptimConfig(batch_size=8, lr=3e-3))
        config = replace(config, recipe=replace(config.recipe, video_masking=None, text_masking=None))
        rows = [row for _, row in train(session_of(config, store))]
        losses = [row["train/vtc"] for row in rows if "train/vtc" in row]
        assert np.mean(losses[-5:]) < 0.7 * np.mean(losses[:5])


class TestRows:
    def test_terms_loss_rate_and_clock_are_recorded(self, store):
        config = run_config("simvtp")
        rows = [row for _, row in train(session_of(config, store))]
        terms = ("mvm", "mlm", "vtc", "vtm")
        for row in rows:
            assert row["train/loss"] == pytest.approx(sum(row[f"train/{t}"] for t in terms), rel=1e-5)
            assert {"train/lr", "train/grad_norm", "stage", "seconds", "pflops"} <= set(row)
        assert [i + 1 for i, row in enumerate(rows) if "val/t2v_r1" in row] == [3, 6]
        assert rows[-1]["pflops"] == pytest.approx(6 * rows[0]["pflops"])
        seconds = [row["seconds"] for row in rows]
        assert seconds == sorted(seconds)

    def test_weights_count(self, store):
        config = run_config("simvtp")
        heavy = replace(config.recipe, weights=replace(config.recipe.weights, mlm=3.0))
        _, row = next(iter(train(session_of(replace(config, recipe=heavy), store))))
        expected = row["train/mvm"] + 3 * row["train/mlm"] + row["train/vtc"] + row["train/vtm"]
        assert row["train/loss"] == pytest.approx(expected, rel=1e-5)

    def test_a_long_stage_is_recorded_about_two_hundred_times(self, store):
        config = run_config(shrink(recipe_module("mac").Config()), steps=900, evaluations=1)
        session = session_of(config, store)
        session.progress.step = session.progress.stage_step = 500
        rows = list(train(session))
        assert 75 <= len(rows) <= 85  # 400 of the 900 steps, every fifth

    def test_evaluation_hides_nothing_and_takes_no_training_time(self, store, monkeypatch):
        session = session_of(run_config(steps=2, evaluations=1), store)
        list(train(session))
        before = session.progress.seconds

        def masked(*arguments):
            raise AssertionError("a mask was drawn")

        monkeypatch.setattr(session.recipe, "masks", masked)
        monkeypatch.setattr(session.recipe, "draw", masked)
        assert set(session.evaluate("test")) >= {"test/t2v_r1", "test/v2t_medr"}
        assert session.progress.seconds == before
        assert session.recipe.training

    def test_cost_is_that_of_the_first_step(self, store):
        session = session_of(run_config(), store)
        list(train(session))
        assert session.costs["cost/video_passes"] == 1
        assert session.progress.flops == pytest.approx(6 * 8e9 * session.costs["cost/train_gflops_per_clip"])


class TestResuming:
    def collect(self, config, store, folder, stops):
        """All rows and the last weights of a run that is stopped after these steps and started anew.

        Stopped in the middle of a validation, it goes on with that: its numbers come in a row of their own.
        """
        rows = {}
        for until in (*stops, None):
            session = session_of(config, store)
            resumed = checkpoint.resume(folder, session.recipe, session.optimizer, config)
            assert (resumed is None) == (not rows)
            session.progress = resumed or session.progress
            generator = train(
                session, checkpoints=folder, stop=lambda s=session, u=until: s.progress.step == u
            )
            try:
                for step, row in generator:
                    assert not {k for k in row if "/" in k} & set(rows.get(step, {})), "nothing twice"
                    rows[step] = rows.get(step, {}) | trace([(step, row)])[0][1]
            except Interrupted:
                assert session.progress.step == until
            else:
                assert until is None
        return list(rows.items()), weights(session)

    @pytest.mark.parametrize("recipe", ["mac", "simvtp"])
    @pytest.mark.parametrize("stops", [(1,), (3,), (4,), (2, 5), (6,)], ids=str)
    def test_an_interrupted_run_ends_as_an_uninterrupted_one(self, store, tmp_path, recipe, stops):
        config = run_config(recipe)
        whole = session_of(config, store)
        rows = trace(train(whole))
        found, end = self.collect(config, store, tmp_path, stops)
        assert found == rows
        assert equal(end, weights(whole))

    @pytest.mark.parametrize("stops", [(3,), (4,), (6,), (2, 5)], ids=str)
    def test_also_across_stages(self, store, tmp_path, stops):
        last = Stage(objective="align", masked=False, budget=Budget(unit="steps", amount=3))
        config = run_config("simvtp", stages=stages(4) + (last,))
        whole = session_of(config, store)
        rows = {}
        for step, row in trace(train(whole)):  # the end of a stage adds the test split to its last step
            rows[step] = rows.get(step, {}) | row
        found, end = self.collect(config, store, tmp_path, stops)
        assert found == list(rows.items())
        assert equal(end, weights(whole))

    def test_a_killed_run_goes_on_from_its_last_checkpoint(self, store, tmp_path):
        config = run_config()
        rows = trace(train(session_of(config, store)))
        session = session_of(config, store)
        generator = train(session, checkpoints=tmp_path, save_every=0)
        for _ in range(4):
            next(generator)
        generator.close()  # step 4 has been yielded, but only step 3 was saved
        session = session_of(config, store)
        session.progress = checkpoint.resume(tmp_path, session.recipe, session.optimizer, config)
        assert session.progress.step == 3
        assert trace(train(session)) == rows[3:]

    def test_a_checkpoint_of_another_configuration_is_refused(self, store, tmp_path):
        config = run_config()
        session = session_of(config, store)
        checkpoint.save(tmp_path, session.recipe, session.optimizer, session.progress, config)
        other = replace(config, recipe=replace(config.recipe, video_masking=PerFrameMasking(ratio=0.25)))
        with pytest.raises(UserError, match=r"recipe\.video_masking\.ratio: 0\.6 -> 0\.25"):
            checkpoint.resume(tmp_path, session.recipe, session.optimizer, other)


class TestBudgets:
    def steps(self, store, **changes):
        session = session_of(run_config(**changes), store)
        list(train(session))
        return session

    def test_steps(self, store):
        assert self.steps(store, steps=5).progress.step == 5

    def test_epochs_of_the_training_clips(self, store):
        assert self.steps(store, stages=stages(2, unit="epochs")).progress.step == 2 * 3
        assert self.steps(store, stages=stages(1.5, unit="epochs")).progress.step == 5

    def test_seconds_of_training(self, store):
        session = session_of(run_config(stages=stages(1.0, unit="seconds")), store)
        began = [row["seconds"] for _, row in train(session) if "seconds" in row][:-1]
        assert session.progress.seconds >= 1.0
        assert all(seconds < 1.0 for seconds in began), "no step begins after the budget is spent"

    def test_equal_flops_whatever_is_hidden(self, store):
        found = {}
        for ratio in (0, 0.5, 0.75):
            recipe = shrink(recipe_module("mac").Config(video_masking=PerFrameMasking(ratio=ratio)))
            session = self.steps(store, recipe=recipe, stages=stages(4e-7, unit="pflops"), evaluations=1)
            step = session.costs["cost/train_gflops_per_clip"] * 8e9
            found[ratio] = session.progress.step
            assert session.progress.step == math.floor(4e8 / step)
            assert 0 <= 4e8 - session.progress.flops < step
        assert found[0] < found[0.5] < found[0.75]

    def test_a_budget_below_one_step_is_one_step(self, store):
        assert self.steps(store, stages=stages(1e-15, unit="pflops")).progress.step == 1
        assert self.steps(store, stages=stages(0.01, unit="epochs")).progress.step == 1

    def test_planned_steps(self):
        (stage,) = stages(2e-15 * 1.5, unit="pflops")
        measured = Progress(stage_flops=1.0)
        assert planned_steps(stage, measured, 3) == 3
        assert math.isinf(planned_steps(stage, Progress(), 3)), "not known before the first step"
        assert math.isinf(planned_steps(stages(9, unit="seconds")[0], measured, 3))

    def test_what_a_recipe_is_prepared_with_is_paid_by_the_first_stage(self):
        (stage,) = stages(10e-15, unit="pflops")
        paid = Progress(stage_flops=1.0, prepare_flops=4.0)
        assert planned_steps(stage, paid, 3) == 6
        assert planned_steps(stage, replace(paid, stage=1), 3) == 10

    def test_the_expected_steps_are_known_from_the_first(self, store):
        session = session_of(run_config(stages=stages(4, 3)), store)
        assert expected_steps(session) == 7
        list(train(session))
        assert expected_steps(session) == 7


class TestStages:
    def test_two_stages_follow_one_another(self, store):
        last = Stage(objective="align", masked=False, budget=Budget(unit="steps", amount=2))
        session = session_of(run_config("simvtp", stages=stages(3) + (last,)), store)
        rows = list(train(session))
        between = [(step, row) for step, row in rows if "test/stage0_t2v_r1" in row]
        assert [step for step, _ in between] == [3], "the test split is measured where a stage ends"
        terms = [{k for k in row if k in ("train/mvm", "train/vtc")} for _, row in rows if "train/lr" in row]
        assert terms == [{"train/mvm", "train/vtc"}] * 3 + [{"train/vtc"}] * 2
        assert [row["stage"] for _, row in rows if "stage" in row] == [0, 0, 0, 1, 1]
        passes = (3 * 5 + 2 * 2) / 5  # aligning passes each side through the shared encoder once
        assert session.costs["cost/video_passes"] == passes, "the mean over all steps, whatever their stage"
        clips = 8 * session.progress.step
        each = session.costs["cost/train_gflops_per_clip"]
        assert session.progress.flops == pytest.approx(1e9 * each * clips)

    def test_tasks_that_take_long_are_measured_where_a_stage_ends_and_not_before(self, store):
        last = Stage(objective="align", masked=False, budget=Budget(unit="steps", amount=2))
        config = run_config("simvtp", stages=stages(3) + (last,), tasks=("retrieval", "pair_retrieval"))
        rows = list(train(session_of(config, store)))
        found = [(step, name) for step, row in rows for name in row if name.endswith("rerank20_t2v_r1")]
        assert found == [(3, "test/stage0_rerank20_t2v_r1")], "the alignment has moved what judges pairs"
        again = run_config("simvtp", stages=stages(2, 2), tasks=("retrieval", "pair_retrieval"))
        rows = list(train(session_of(again, store)))
        found = [(step, name) for step, row in rows for name in row if name.endswith("rerank20_t2v_r1")]
        assert found == [(2, "test/stage0_rerank20_t2v_r1"), (4, "val/rerank20_t2v_r1")]

    def test_what_a_later_stage_has_moved_is_not_trained_any_more(self, store):
        asked = [Stage(objective=name, budget=Budget(unit="steps", amount=1)) for name in ("recipe", "align")]
        asked += [replace(asked[0], objective="question"), replace(asked[0], objective="caption")]
        session = session_of(run_config("lavender", stages=tuple(asked)), store)
        embeds = {"embed_video", "embed_text"}
        own = {"match", "answer", "regions", "attended"}
        for trained in (own, embeds, embeds | {"answer"}, embeds | {"generate"}):
            assert set(ABILITIES) - session.untrained == trained
            session.progress.next_stage()
        assert set(ABILITIES) - session.untrained == embeds | {"generate"}, "as the last stage leaves it"

    @pytest.mark.parametrize(("recipe", "before"), [("lavender", {"gallery100"}), ("videomae", set())])
    def test_embeddings_that_no_stage_has_trained_are_not_measured_on_test(self, store, recipe, before):
        last = Stage(objective="align", masked=False, budget=Budget(unit="steps", amount=1))
        config = run_config(recipe, stages=stages(1) + (last,), tasks=("retrieval", "pair_retrieval"))
        rows = [row for _, row in train(session_of(config, store))]
        found = {name for row in rows for name in row if name.startswith("test/stage0_")}
        assert {name.removeprefix("test/stage0_").partition("_")[0] for name in found} == before
        assert all(rows), "a stage that leaves nothing to measure has no row"

    def test_every_stage_warms_up_anew(self, store):
        session = session_of(run_config(stages=stages(10, 10)), store)
        rates = [row["train/lr"] for _, row in train(session) if "train/lr" in row]
        assert rates[:10] == rates[10:]
        assert rates[9] < 0.2 * max(rates)

    def test_pure_prediction_trains_without_an_aligned_space(self, store):
        recipe = shrink(recipe_module("simvtp").Config())
        recipe = replace(recipe, weights=replace(recipe.weights, vtc=0.0, vtm=0.0))
        session = session_of(run_config(recipe), store)
        rows = [row for _, row in train(session)]
        assert {k for k in rows[0] if k.startswith("train/")} >= {"train/mvm", "train/mlm"}
        assert "train/vtc" not in rows[0]


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_a_loss_that_is_not_finite_stops_the_run_and_is_named(store, monkeypatch, bad):
    session = session_of(run_config("simvtp"), store)
    losses = session.recipe.losses

    def diverging(batch, draw):
        terms = losses(batch, draw)
        return terms | {"mlm": terms["mlm"] * bad} if session.progress.step == 2 else terms

    monkeypatch.setattr(session.recipe, "losses", diverging)
    with pytest.raises(NotFinite, match="mlm is not finite at step 3"):
        list(train(session))


def test_a_gradient_that_is_not_finite_never_reaches_the_weights(store):
    session = session_of(run_config(), store)
    session.recipe.video_head.weight.register_hook(lambda grad: grad * math.nan)
    before = weights(session)
    with pytest.raises(NotFinite, match="gradient is not finite at step 1"):
        list(train(session))
    assert equal(weights(session), before)


def test_the_schedule_rises_and_falls_to_zero():
    assert schedule(0.0, 0.1) == 0
    assert schedule(0.05, 0.1) == pytest.approx(0.5)
    assert schedule(0.1, 0.1) == pytest.approx(1)
    assert schedule(0.55, 0.1) == pytest.approx(0.5)
    assert schedule(1.0, 0.1) == pytest.approx(0)
    assert schedule(1.7, 0.1) == pytest.approx(0), "a clock may run over"
    assert schedule(0.0, 0.0) == 1


class TestLoader:
    def loader(self, store, vocabulary, **changes):
        text = vocabulary.encode(store.splits["train"].captions)
        return Loader(store, text, **({"batch_size": 5, "seed": 0} | changes))

    def test_an_epoch_sees_every_clip_at_most_once_and_drops_the_rest(self, store, vocabulary):
        loader = self.loader(store, vocabulary)
        assert loader.per_epoch == 4
        for epoch in range(3):
            seen = np.concatenate([loader.indices(4 * epoch + i)[0] for i in range(4)])
            assert len(set(seen.tolist())) == 20
        assert loader.indices(0)[0].tolist() != loader.indices(4)[0].tolist(), "a new order every epoch"

    def test_a_clip_comes_with_one_of_its_own_captions(self, store, vocabulary):
        loader, part = self.loader(store, vocabulary), store.splits["train"]
        captions = {}
        for step in range(60):
            clips, rows = loader.indices(step)
            assert part.clips[rows].tolist() == clips.tolist()
            for clip, row in zip(clips.tolist(), rows.tolist(), strict=True):
                captions.setdefault(clip, set()).add(row)
        several = [c for c in captions if (part.clips == c).sum() > 1]
        assert several
        assert all(len(captions[c]) == (part.clips == c).sum() for c in captions)

    @pytest.mark.parametrize("captions", [1, 2, 5, 300])
    def test_captions_are_drawn_as_one_after_another_would_be(self, store, vocabulary, captions):
        """With up to so many captions a clip; what a step sees must not change from version to version."""
        part = store.splits["train"]
        for seed in range(40):
            rng = np.random.default_rng(seed)
            clips = rng.permutation(np.repeat(np.arange(24), rng.integers(1, captions + 1, 24)))
            own = replace(store, splits={"train": replace(part, clips=clips, captions=["a"] * len(clips))})
            loader = self.loader(own, vocabulary, seed=seed)
            for step in (0, 3, 6):  # the third is of the next epoch
                epoch, offset = divmod(step, loader.per_epoch)
                chosen = np.random.default_rng([seed, epoch]).permutation(24)[5 * offset : 5 * offset + 5]
                draw = np.random.default_rng([seed, epoch, offset])
                rows = [int(draw.choice(np.flatnonzero(clips == clip))) for clip in chosen]
                found = loader.indices(step)
                assert found[0].tolist() == chosen.tolist()
                assert found[1].tolist() == rows

    def test_a_step_is_a_function_of_seed_and_step_alone(self, store, vocabulary):
        one, two = self.loader(store, vocabulary), self.loader(store, vocabulary)
        one.indices(0)
        assert one.indices(7)[1].tolist() == two.indices(7)[1].tolist()
        other = self.loader(store, vocabulary, seed=1)
        assert other.indices(7)[0].tolist() != two.indices(7)[0].tolist()

    def test_batches_hold_the_frames_of_their_clips(self, store, vocabulary):
        loader = self.loader(store, vocabulary)
        stream = loader.batches(6)
        for step in (6, 7, 8):
            batch = next(stream)
            clips, rows = loader.indices(step)
            assert torch.equal(batch.video, torch.from_numpy(store.frames[clips]))
            assert torch.equal(batch.text.tokens, loader.text.tokens[torch.from_numpy(rows)])
            assert batch.index.tolist() == clips.tolist()
            assert batch.label.tolist() == batch.source.tolist() == [0] * 5
        stream.close()

    def test_an_error_while_reading_reaches_the_training(self, store, vocabulary, monkeypatch):
        loader = self.loader(store, vocabulary)

        def broken(step):
            raise OSError("the disk is gone")

        monkeypatch.setattr(loader, "batch", broken)
        with pytest.raises(OSError, match="the disk is gone"):
            next(loader.batches(0))

    def test_whatever_goes_wrong_ahead_is_raised_where_the_batch_is_awaited(self, store, vocabulary):
        loader = self.loader(store, vocabulary)

        def fails(step):
            raise MemoryError("no room for a batch")

        loader.batch = fails
        with pytest.raises(MemoryError, match="no room"):
            next(loader.batches(0))

    def test_a_batch_larger_than_the_data_is_refused(self, store, vocabulary):
        with pytest.raises(UserError, match="2 to 24"):
            self.loader(store, vocabulary, batch_size=25)
        assert self.loader(store, vocabulary, batch_size=24).per_epoch == 1


def test_another_store_of_the_same_shape_gives_another_run(store, tmp_path):
    other = write_store(tmp_path / "other", seed=1)
    one = trace(train(session_of(run_config(steps=1), store)))
    two = trace(train(session_of(run_config(steps=1), other)))
    assert one[0][1]["train/vtc"] != two[0][1]["train/vtc"]
