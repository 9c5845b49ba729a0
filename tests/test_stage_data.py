"""Several data sets in one run: each stage on its own, evaluation on others as well."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from real_runs import real_run
from small import FRAMES, SIZE, run_config, write_store

from workbench.config import Budget, DataConfig, RunConfig, Stage
from workbench.errors import UserError
from workbench.train.loop import train
from workbench.train.record import figures
from workbench.train.session import open_session

CPU = torch.device("cpu")
HERE = DataConfig(name="random", frames=FRAMES, size=SIZE)
THERE = DataConfig(name="other", frames=FRAMES, size=SIZE)


@pytest.fixture(scope="module")
def other(tmp_path_factory):
    return write_store(tmp_path_factory.mktemp("other") / "frames-4x16", seed=1)


@pytest.fixture
def stores(store, other):
    return {HERE: store, THERE: other}


def stage(data=None, steps=3, unit="steps"):
    return Stage(budget=Budget(unit=unit, amount=steps), data=data)


def batches_of(session, monkeypatch):
    """Every batch that a step was drawn for; the run has gone through afterwards."""
    seen, draw = [], session.recipe.draw
    monkeypatch.setattr(
        session.recipe, "draw", lambda batch, *a, **k: seen.append(batch) or draw(batch, *a, **k)
    )
    list(train(session))
    return seen


def are_of(batch, store):
    return torch.equal(batch.video, torch.from_numpy(store.frames[batch.index.numpy()]))


class TestTraining:
    def test_a_stage_that_names_its_data_trains_on_it_and_the_batch_tells(self, stores, monkeypatch):
        config = run_config(stages=(stage(), stage(THERE), stage(HERE)))
        seen = batches_of(open_session(config, stores, device=CPU, precision=torch.float32), monkeypatch)
        assert [batch.source.unique().tolist() for batch in seen] == [[0]] * 3 + [[1]] * 3 + [[0]] * 3
        for number, batch in enumerate(seen):
            data = THERE if 3 <= number < 6 else HERE
            assert are_of(batch, stores[data])
            assert not are_of(batch, stores[HERE if data is THERE else THERE])

    def test_epochs_are_added_up_over_the_data_and_clips_of_a_step_are_their_mean(self, stores):
        config = run_config(stages=(stage(steps=3), stage(THERE, steps=2)))
        session = open_session(config, stores, device=CPU, precision=torch.float32)
        rows = [row | {"step": step} for step, row in train(session)]
        session.loaders[THERE].batch_size, session.loaders[THERE].per_epoch = 3, 8
        found = figures(session, rows, spent=1.0, processes=1)
        assert session.progress.steps_on == {"0": 3, "1": 2}
        assert session.loaders[HERE].batch_size == 8
        assert found["train/epochs"] == pytest.approx(3 / session.loaders[HERE].per_epoch + 2 / 8)
        assert found["train/batch_size"] == pytest.approx((3 * 8 + 2 * 3) / 5)
        clips = found["speed/clips_per_s"] * found["speed/step_ms"] / 1000
        assert clips == pytest.approx(found["train/batch_size"])

    def test_of_one_data_set_epochs_and_batch_size_are_those_of_its_loader(self, stores):
        session = open_session(run_config(stages=(stage(steps=4),)), stores, device=CPU)
        rows = [row | {"step": step} for step, row in train(session)]
        found = figures(session, rows, spent=1.0, processes=1)
        assert found["train/epochs"] == 4 / session.loaders[HERE].per_epoch
        assert found["train/batch_size"] == 8
        assert isinstance(found["train/batch_size"], int)

    def test_data_are_numbered_in_the_order_of_the_stages(self, stores, monkeypatch):
        config = run_config(stages=(stage(THERE), stage()))
        seen = batches_of(open_session(config, stores, device=CPU), monkeypatch)
        assert [int(batch.source[0]) for batch in seen] == [0] * 3 + [1] * 3
        assert are_of(seen[0], stores[THERE])
        assert are_of(seen[-1], stores[HERE])

    def test_a_run_may_train_on_other_data_only(self, stores, monkeypatch):
        config = run_config(stages=(stage(THERE),))
        assert config.training_data == (THERE,)
        assert config.all_data == (HERE, THERE)
        session = open_session(config, stores, device=CPU)
        assert all(are_of(batch, stores[THERE]) for batch in batches_of(session, monkeypatch))
        assert session.store is stores[HERE]
        assert session.galleries[""]["test"].store is stores[HERE], "it is evaluated on its own"

    def test_the_vocabulary_knows_the_words_of_all_stages(self, stores, tmp_path):
        import json

        path = stores[THERE].path
        record = json.loads((path / "store.json").read_text())
        for clip in record["clips"]:
            clip["captions"] = ["zebra zebra zebra"] if clip["split"] == "train" else clip["captions"]
        new = tmp_path / "frames-4x16"
        new.mkdir()
        (new / "frames.npy").symlink_to(path / "frames.npy")
        (new / "store.json").write_text(json.dumps(record))
        zebras = type(stores[THERE]).open(new)
        config = run_config(stages=(stage(), stage(THERE)))
        words = open_session(config, stores | {THERE: zebras}, device=CPU).vocabulary
        assert not (words.encode(["zebra"]).tokens == words.unk).any()
        alone = open_session(run_config(stages=(stage(),)), stores, device=CPU).vocabulary
        assert alone.tokenizer.to_str() != words.tokenizer.to_str()

    def test_naming_the_own_data_changes_no_number(self, store):
        traces = []
        for data in (None, HERE):
            session = open_session(
                run_config(stages=(stage(data),)), store, device=CPU, precision=torch.float32
            )
            traces.append([{k: v for k, v in row.items() if k != "seconds"} for _, row in train(session)])
        assert traces[0] == traces[1]

    def test_epochs_are_those_of_the_stages_own_data(self, stores, tmp_path):
        import json

        path = stores[THERE].path
        record = json.loads((path / "store.json").read_text())
        for clip in [clip for clip in record["clips"] if clip["split"] == "train"][:8]:
            clip["split"] = "val"
        new = tmp_path / "frames-4x16"
        new.mkdir()
        (new / "frames.npy").symlink_to(path / "frames.npy")
        (new / "store.json").write_text(json.dumps(record))
        fewer = type(stores[THERE]).open(new)  # 16 clips instead of 24
        config = run_config(stages=(stage(steps=1, unit="epochs"), stage(THERE, steps=1, unit="epochs")))
        session = open_session(config, stores | {THERE: fewer}, device=CPU)
        list(train(session))
        assert session.progress.step == 24 // 8 + 16 // 8


class TestEvaluation:
    def run(self, stores, monkeypatch, tmp_path, **changes):
        config = run_config(steps=2, evaluations=1, evaluate_on=(THERE,), **changes)
        run, code = real_run(monkeypatch, tmp_path, config, stores)
        assert code == 0
        return run

    def test_other_data_have_metrics_and_files_of_their_own(self, stores, monkeypatch, tmp_path):
        run = self.run(stores, monkeypatch, tmp_path)
        summary = run.summary()
        assert {"test/t2v_r1", "test/other:t2v_r1", "val/t2v_r1", "val/other:t2v_r1"} <= set(summary)
        for name, prefix, data in (("ranks", "", HERE), ("other-ranks", "other:", THERE)):
            with np.load(run.file(f"{name}.npz"), allow_pickle=False) as ranks:
                part = stores[data].splits["test"]
                assert ranks["t2v_id"].tolist() == part.ids
                assert 100 * (ranks["t2v_rank"] == 1).mean() == pytest.approx(summary[f"test/{prefix}t2v_r1"])
                assert 100 * (ranks["v2t_rank"] <= 5).mean() == pytest.approx(summary[f"test/{prefix}v2t_r5"])
        assert run.file("other-embeddings.npz").is_file()

    def test_what_is_measured_on_its_own_data_stays_as_it_was(self, stores, monkeypatch, tmp_path):
        """But for words: other captions may be longer."""
        with_other = self.run(stores, monkeypatch, tmp_path / "one").summary()
        config = run_config(steps=2, evaluations=1)
        alone, _ = real_run(monkeypatch, tmp_path / "two", config, stores)
        assert set(alone.summary()) <= set(with_other)
        assert not any("other" in name for name in alone.summary())
        assert not alone.file("other-ranks.npz").exists()

    def test_between_stages_too(self, stores, monkeypatch, tmp_path):
        summary = self.run(stores, monkeypatch, tmp_path, stages=(stage(), stage(THERE))).summary()
        assert {"test/stage0_t2v_r1", "test/other:stage0_t2v_r1"} <= set(summary)

    def test_the_costs_of_an_evaluation_are_those_of_its_own_data(self, stores, monkeypatch, tmp_path):
        run = self.run(stores, monkeypatch, tmp_path, recipe="simvtp", tasks=("pair_retrieval",))
        clips, captions = 7, len(stores[HERE].splits["test"])
        assert run.summary()["cost/pair_retrieval_pairs"] == captions * clips + clips * min(20, captions)
        assert "test/other:rerank20_t2v_r1" in run.summary()
        assert run.file("other-pair_retrieval.npz").is_file()


class TestRefused:
    @pytest.mark.parametrize("change", [{"frames": 8}, {"size": 32}])
    @pytest.mark.parametrize("where", ["stage", "evaluation"])
    def test_data_of_another_shape(self, change, where):
        unequal = replace(THERE, **change)
        options = {"stages": (stage(unequal),)} if where == "stage" else {"evaluate_on": (unequal,)}
        with pytest.raises(UserError, match="all data of a run must have 4 frames of 16 pixels") as caught:
            run_config(**options)
        assert "other has" in str(caught.value)
        assert "\n" not in str(caught.value)

    @pytest.mark.parametrize("others", [(HERE,), (replace(HERE, digest="a" * 64),), (THERE, THERE)])
    def test_two_data_of_one_name_in_evaluation(self, others):
        with pytest.raises(UserError, match="must name each data set once"):
            run_config(evaluate_on=others)


def test_where_nothing_is_named_keys_stay_and_where_it_is_they_differ():
    plain = run_config()
    assert run_config(stages=(stage(steps=6),)).key() == plain.key()
    keys = {
        plain.key(),
        run_config(stages=(stage(THERE, steps=6),)).key(),
        run_config(evaluate_on=(THERE,)).key(),
        run_config(tasks=("retrieval", "shuffling")).key(),
    }
    assert len(keys) == 4
    config = run_config(stages=(stage(THERE),), evaluate_on=(THERE,), tasks=("retrieval", "shuffling"))
    assert RunConfig.from_json(config.to_json()) == config
