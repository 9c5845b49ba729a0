"""A part of a recipe starts from another run: bit for bit, on record, refused where it means nothing."""

import hashlib
from dataclasses import replace

import pytest
import torch
from real_runs import quick, real_run
from small import recipe_module, run_config, shrink, write_store

from workbench.config import Budget, DataConfig, InitFrom, RunConfig, Stage
from workbench.errors import UserError
from workbench.recipes import mac, simvtp
from workbench.tracking.run_dir import RunDir
from workbench.train import checkpoint
from workbench.train.session import open_session

CPU = torch.device("cpu")
WEIGHTS = "checkpoints/model.safetensors"


@pytest.fixture(scope="module")
def source(tmp_path_factory, store):
    """A finished run, and the folder of all runs."""
    with pytest.MonkeyPatch.context() as patch:
        run, code = real_run(patch, tmp_path_factory.mktemp("source"), quick(seed=5), store)
    assert code == 0
    return run


def named(run):
    return f"test/{run.path.name}"


def runs_of(run):
    return run.path.parents[1]


def start(store, run, *parts, recipe="mac", **options):
    config = run_config(recipe, init_from=tuple(InitFrom(run=named(run), **part) for part in parts))
    return open_session(config, store, device=CPU, runs=runs_of(run), **options)


def tensors(run):
    return checkpoint.load_tensors(run.file(WEIGHTS))


class TestCopying:
    def test_a_part_is_copied_bit_for_bit_and_no_other_part_is_touched(self, store, source):
        there, fresh = tensors(source), open_session(run_config(), store, device=CPU).recipe.state_dict()
        session = start(store, source, {"part": "video"})
        copied = set()
        for name, value in session.recipe.state_dict().items():
            mine = name.startswith("video.")
            assert torch.equal(value, (there if mine else fresh)[name]), name
            copied |= {name} if mine and not torch.equal(value, fresh[name]) else set()
        assert "video.project.weight" in copied
        assert not any(name.startswith("video_head") for name in copied), "a name that merely begins alike"

    def test_the_whole_recipe_starts_from_the_other_run(self, store, source):
        session = start(store, source, {"part": ""})
        there = tensors(source)
        assert all(torch.equal(value, there[name]) for name, value in session.recipe.state_dict().items())

    def test_a_part_may_be_called_otherwise_there(self, store, source):
        session = start(store, source, {"part": "text_head", "source": "video_head"})
        assert torch.equal(session.recipe.text_head.weight, tensors(source)["video_head.weight"])

    def test_several_parts(self, store, source):
        session = start(store, source, {"part": "video.blocks"}, {"part": "text"})
        there, fresh = tensors(source), open_session(run_config(), store, device=CPU).recipe.state_dict()
        for name, value in session.recipe.state_dict().items():
            mine = name.startswith(("video.blocks.", "text."))
            assert torch.equal(value, (there if mine else fresh)[name]), name
        assert [one["part"] for one in session.started_from] == ["video.blocks", "text"]

    def test_a_single_parameter(self, store, source):
        session = start(store, source, {"part": "video.cls"})
        assert torch.equal(session.recipe.video.cls, tensors(source)["video.cls"])

    def test_the_parts_of_another_recipe(self, store, source):
        narrow = shrink(recipe_module("simvtp").Config())
        session = start(store, source, {"part": "video.blocks"}, recipe=narrow)
        there = tensors(source)
        blocks = {n: v for n, v in session.recipe.state_dict().items() if n.startswith("video.blocks.")}
        assert blocks
        assert all(torch.equal(value, there[name]) for name, value in blocks.items())

    def test_what_is_copied_still_learns(self, store, source):
        session = start(store, source, {"part": ""})
        assert session.trained == open_session(run_config(), store, device=CPU).trained


def test_a_real_run_records_what_it_started_from(store, source, monkeypatch, tmp_path):
    given = str(source.path)
    run, code = real_run(monkeypatch, tmp_path, quick(init_from=(InitFrom(part="video", run=given),)), store)
    assert code == 0
    sha256 = hashlib.sha256(source.file(WEIGHTS).read_bytes()).hexdigest()
    [found] = run.read_json("environment.json")["init_from"]
    assert found == {"part": "video", "run": given, "sha256": sha256}
    assert "init_from" not in source.read_json("environment.json")


def test_a_run_of_another_study_is_found_beside_its_own(store, source, monkeypatch):
    config = quick(seed=6, init_from=(InitFrom(part="video", run=named(source)),))
    results = runs_of(source).parent
    run, code = real_run(monkeypatch, results, config, store)
    assert code == 0
    assert run.read_json("environment.json")["init_from"][0]["run"] == named(source)


def test_the_right_sha256_is_taken(store, source):
    sha256 = hashlib.sha256(source.file(WEIGHTS).read_bytes()).hexdigest()
    assert start(store, source, {"part": "video", "sha256": sha256}).started_from[0]["sha256"] == sha256


class TestRefused:
    def refused(self, match, store, run, *parts, **options):
        with pytest.raises(UserError, match=match) as caught:
            start(store, run, *parts, **options)
        assert "\n" not in str(caught.value)
        assert str(caught.value).startswith("init_from: ")

    def test_another_shape(self, store, source):
        wide = shrink(recipe_module("mac").Config())
        wide = replace(wide, video=replace(wide.video, width=48))
        self.refused(r"video\.\w+.* has shape", store, source, {"part": "video"}, recipe=wide)

    def test_a_part_that_the_recipe_lacks_with_those_it_has(self, store, source):
        self.refused("no part 'decoder'; it has video, text", store, source, {"part": "decoder"})

    def test_half_a_name_is_no_part(self, store, source):
        self.refused("no part 'vid'", store, source, {"part": "vid"})

    def test_a_part_that_is_not_there(self, store, source):
        simvtp_ = shrink(recipe_module("simvtp").Config())
        self.refused("where it is not there", store, source, {"part": "decoder"}, recipe=simvtp_)
        self.refused("where it is not there", store, source, {"part": "video", "source": "vision"})

    def test_other_words(self, store, source, tmp_path):
        """As many words and of the same shape, but others."""
        other = RunDir(tmp_path / "test" / source.path.name)
        other.create()
        other.file("checkpoints").mkdir()
        other.file(WEIGHTS).write_bytes(source.file(WEIGHTS).read_bytes())
        words = source.file("tokenizer.json").read_text()
        assert '"moon"' in words
        other.file("tokenizer.json").write_text(words.replace('"moon"', '"loon"'))
        config = run_config(init_from=(InitFrom(part="text", run=named(source)),))
        with pytest.raises(UserError, match=r"init_from: .* knows other words"):
            open_session(config, store, device=CPU, runs=tmp_path)
        video = run_config(init_from=(InitFrom(part="video", run=named(source)),))
        open_session(video, store, device=CPU, runs=tmp_path)  # a side without words does not mind
        other.file("tokenizer.json").unlink()
        with pytest.raises(UserError, match="knows other words"):
            open_session(config, store, device=CPU, runs=tmp_path)

    def test_weights_that_are_not_those_that_were_asked_for(self, store, source):
        self.refused("not those that are asked for", store, source, {"part": "video", "sha256": "0" * 64})

    def test_a_run_that_is_not_there(self, store, source):
        config = run_config(init_from=(InitFrom(part="video", run="test/nobody"),))
        with pytest.raises(UserError, match="init_from: there is no run 'test/nobody'"):
            open_session(config, store, device=CPU, runs=runs_of(source))
        with pytest.raises(UserError, match="init_from: there is no run 'test/nobody'"):
            open_session(config, store, device=CPU)

    def test_a_run_without_weights(self, store, tmp_path):
        (tmp_path / "test" / "begun").mkdir(parents=True)
        config = run_config(init_from=(InitFrom(part="video", run="test/begun"),))
        with pytest.raises(UserError, match="init_from: test/begun has no weights"):
            open_session(config, store, device=CPU, runs=tmp_path)

    def test_damaged_weights(self, store, source, tmp_path):
        copy = RunDir(tmp_path / "test" / "half")
        copy.create()
        copy.file("checkpoints").mkdir()
        content = source.file(WEIGHTS).read_bytes()
        copy.file(WEIGHTS).write_bytes(content[: len(content) // 2])
        config = run_config(init_from=(InitFrom(part="video", run="test/half"),))
        with pytest.raises(UserError, match="cannot be read"):
            open_session(config, store, device=CPU, runs=tmp_path)

    def test_a_run_says_so_and_fails_for_its_data(self, store, monkeypatch, tmp_path, capsys):
        config = quick(init_from=(InitFrom(part="video", run="test/nobody"),))
        run, code = real_run(monkeypatch, tmp_path, config, store)
        assert code == 2
        assert "there is no run 'test/nobody'" in capsys.readouterr().err
        assert (run.status().state, run.status().failure) == ("failed", "data")


class TestKeys:
    def config(self, recipe, **changes):
        steps = Stage(budget=Budget(unit="steps", amount=6))
        last = Stage(objective="align", masked=False, budget=Budget(unit="epochs", amount=1.5))
        data = DataConfig(name="random", frames=4, size=16)
        return RunConfig(recipe=recipe, data=data, stages=(steps, last), seed=3, **changes)

    def test_without_it_keys_are_those_that_they_always_were(self):
        """Taken from the version before `init_from`, `tasks`, `evaluate_on` and the data of a stage."""
        assert self.config(mac.Config()).key() == "bb28da68e08b"
        assert self.config(simvtp.Config()).key() == "ee48a7db461d"

    def test_every_choice_of_it_is_another_key(self):
        one = InitFrom(part="video", run="a/b")
        chosen = [(), (one,), (replace(one, part=""),), (replace(one, run="a/c"),), (one, one)]
        chosen += [(replace(one, source="text"),), (replace(one, sha256="0" * 64),)]
        keys = [self.config(mac.Config(), init_from=parts).key() for parts in chosen]
        assert len(set(keys)) == len(keys)

    def test_it_survives_a_file(self):
        config = self.config(mac.Config(), init_from=(InitFrom(part="video", run="a/b", source="x"),))
        assert RunConfig.from_json(config.to_json()) == config


def test_a_resumed_run_keeps_what_it_has_learned_since(store, source, tmp_path):
    """The weights of the other run are a start, not the state at every resume."""
    session = start(store, source, {"part": ""})
    with torch.no_grad():
        session.recipe.video.cls += 1
    checkpoint.save(tmp_path, session.recipe, session.optimizer, session.progress, session.config)
    again = start(store, source, {"part": ""})
    checkpoint.resume(tmp_path, again.recipe, again.optimizer, again.config)
    assert torch.equal(again.recipe.video.cls, session.recipe.video.cls)


def test_words_of_more_training_data_are_other_words(store, source, tmp_path):
    other = write_store(tmp_path / "more", seed=1)
    a, b = DataConfig(name="random", frames=4, size=16), DataConfig(name="more", frames=4, size=16)
    stages = tuple(Stage(budget=Budget(unit="steps", amount=1), data=data) for data in (a, b))
    config = run_config(stages=stages, init_from=(InitFrom(part="text", run=named(source)),))
    with pytest.raises(UserError, match=r"knows other words|has shape"):
        open_session(config, {a: store, b: other}, device=CPU, runs=runs_of(source))
