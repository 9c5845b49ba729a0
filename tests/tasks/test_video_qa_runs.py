"""Question answering through real runs: tokenizer, training on questions, data that know nothing."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from real_runs import quick, real_run
from scenes import known

from workbench.config import Budget, DataConfig, Stage
from workbench.data import prepare
from workbench.data.loader import Loader
from workbench.data.moving_shapes.questions import about
from workbench.data.store import FrameStore, Split
from workbench.data.texts import with_training_texts
from workbench.models.fusion import FusionConfig
from workbench.models.text import Vocabulary, vocabulary
from workbench.models.video import VideoConfig
from workbench.recipe.batch import BatchRng
from workbench.recipes import lavender
from workbench.tasks import gallery as galleries
from workbench.tasks import queries_of
from workbench.tasks.gallery import Judged
from workbench.tasks.video_qa import evaluate
from workbench.tracking.cache.queries import QueryValues
from workbench.train.session import open_session

CLIPS = 40


class TestRuns:
    """Through `python -m workbench.train`."""

    @pytest.mark.parametrize("recipe", ["lavender", "coca", "mac"])
    def test_any_recipe_is_asked_at_the_end(self, recipe, store, tmp_path, monkeypatch):
        config = quick(recipe, tasks=("retrieval", "video_qa"))
        run, code = real_run(monkeypatch, tmp_path, config, known(store, tmp_path / "known"))
        assert code == 0
        summary = run.read_json("summary.json")
        assert 0 <= summary["test/qa_choice"] <= 100
        assert ("test/qa_open" in summary) == (recipe != "mac")
        assert {"val/qa_choice", "test/qa_choice_order_text", "test/t2v_r1"} <= set(summary)
        way, asked = run.read_arrays("video_qa.npz", "choice_way", "id")
        assert str(way) == {"lavender": "answer"}.get(recipe, "embed")
        assert len(asked) == 8 * 7
        for metric, queries in {"qa_choice": 8 * 7, "qa_choice_order": 7}.items():
            answered = QueryValues().of(run, queries_of(metric))  # as answers and the dashboard read them
            assert len(answered.values) == queries
            assert len(set(answered.groups)) == 7
            assert answered.values.mean() == pytest.approx(summary[f"test/{metric}"])

    @pytest.mark.parametrize("recipe", ["lavender", "coca"])
    def test_no_question_is_cut_and_each_word_counts(self, recipe, store, tmp_path, monkeypatch):
        shown = known(store, tmp_path / "known")
        captions = quick(recipe, tasks=("retrieval",))
        plain = open_session(captions, shown, device=torch.device("cpu")).vocabulary
        config = replace(captions, tasks=("retrieval", "video_qa"))
        run, code = real_run(monkeypatch, tmp_path, config, shown)
        assert code == 0
        facts = run.read_json("environment.json")
        words = Vocabulary.load(run.file("tokenizer.json"), facts["tokens_per_caption"])
        asked = about(shown, shown.splits["test"].clips)
        assert words.cut([one.text for one in asked]) == 0
        assert words.cut([f"{one.text} {one.answer}" for one in asked]) == 0, "a word is written behind it"
        assert plain.cut([one.text for one in asked]) > 0, "the longest caption is shorter"
        first, last = words.encode(["what does the red box do first", "what does the red box do last"]).tokens
        assert not torch.equal(first, last)
        frame = "what does do first last it after before colour shape thing is behind"
        assert all(words.tokenizer.token_to_id(word) for word in frame.split()), "none is in pieces"
        cut = {"train", "val", "test", "val questions", "test questions"}
        assert facts["captions_cut"] == dict.fromkeys(cut, 0)

    def test_questions_that_are_cut_are_counted(self, store, tmp_path, monkeypatch):
        shown = known(store, tmp_path / "known")
        config = quick("lavender", tasks=("video_qa",))
        short = replace(config.recipe, text=replace(config.recipe.text, max_tokens=5))
        asked = replace(config.data, text="questions")
        steps = Budget(unit="steps", amount=1)
        stages = (Stage(budget=steps), Stage(objective="question", budget=steps, data=asked))
        config = replace(config, recipe=short, stages=stages)
        run, code = real_run(monkeypatch, tmp_path, config, {config.data: shown, asked: shown})
        assert code == 0
        cut = run.read_json("environment.json")["captions_cut"]
        for split in ("train", "val", "test"):
            every = about(shown, np.unique(shown.splits[split].clips))
            assert (
                cut[f"{split} questions"] == sum(len(f"{o.text} {o.answer}".split()) > 5 for o in every) > 0
            )

    def test_whoever_is_not_asked_keeps_its_words_and_its_length(self, store, tmp_path):
        shown = known(store, tmp_path / "known")
        session = open_session(
            quick("lavender", tasks=("retrieval", "probe")), shown, device=torch.device("cpu")
        )
        held_out = [caption for s in ("val", "test") for caption in shown.splits[s].captions]
        own = vocabulary(shown.splits["train"].captions, lavender.Config().text, held_out)
        assert session.vocabulary.tokenizer.to_str() == own.tokenizer.to_str()
        assert session.vocabulary.length == own.length

    def test_a_stage_may_train_on_questions(self, store, tmp_path, monkeypatch):
        shown = known(store, tmp_path / "known")
        config = quick("lavender", tasks=("video_qa",))
        asked = replace(config.data, text="questions")
        steps = Budget(unit="steps", amount=2)
        config = replace(
            config, stages=(Stage(budget=steps), Stage(objective="question", budget=steps, data=asked))
        )
        run, code = real_run(monkeypatch, tmp_path, config, {config.data: shown, asked: shown})
        assert code == 0
        words = run.file("tokenizer.json").read_text()
        assert all(f'"{answer}"' in words for answer in ("yes", "no", "behind"))

    def test_data_that_nothing_is_known_of_are_refused_before_a_step(
        self, store, tmp_path, monkeypatch, capsys
    ):
        config = quick("lavender", tasks=("retrieval", "video_qa"))
        run, code = real_run(monkeypatch, tmp_path, config, store)
        assert code == 2
        said = capsys.readouterr().err
        assert "video_qa needs clips whose" in said
        assert said.count("\n") == 1
        assert run.read_metrics().rows == []

    def test_it_is_left_out_on_other_data_that_know_nothing(self, store, tmp_path, monkeypatch):
        other = DataConfig(name="other", frames=4, size=16)
        config = quick("lavender", tasks=("retrieval", "video_qa"), evaluate_on=(other,))
        stores = {config.data: known(store, tmp_path / "known"), other: store}
        run, code = real_run(monkeypatch, tmp_path, config, stores)
        assert code == 0
        summary = run.read_json("summary.json")
        assert {"test/qa_open", "test/t2v_r1", "test/other:t2v_r1"} <= set(summary)
        assert not any("other:qa" in name for name in summary)


def colours_alone(store):
    """The same store with questions about colour as its training texts."""
    part = store.splits["train"]
    keep = [row for row, name in enumerate(part.ids) if name.endswith("#colour")]
    some = [[getattr(part, name)[row] for row in keep] for name in ("captions", "ids", "groups")]
    return replace(store, splits=store.splits | {"train": Split(part.clips[keep], *some)})


def test_training_on_questions_about_real_clips_beats_the_commonest_answer(tmp_path):
    data = DataConfig(clips=240, frames=2, size=32, text="questions")
    store = FrameStore.open(prepare(data, root=tmp_path, progress=False))
    questions = with_training_texts(store, data)
    colours = colours_alone(questions)
    own = lavender.Config()
    config = replace(
        own,
        video=VideoConfig(patch=16, tubelet=1, pool="mean", width=64, depth=1, heads=2),
        text=replace(own.text, width=64),
        fusion=FusionConfig(width=64, depth=1, heads=2),
    )
    words = vocabulary([*questions.splits["train"].captions, *store.splits["train"].captions], own.text)
    torch.manual_seed(0)
    recipe = lavender.Recipe(config, frames=2, size=32, vocabulary=words)
    optimizer = torch.optim.AdamW(recipe.parameters(), lr=3e-3)
    loader = Loader(colours, words.encode(colours.splits["train"].captions), batch_size=32, seed=0)
    for step in range(80):
        batch = loader.batch(step)
        optimizer.zero_grad()
        draw = recipe.draw(batch, BatchRng.seeded(step), objective="question")
        recipe(batch, draw, objective="question")["mlm"].backward()
        optimizer.step()
    recipe.eval()
    part = galleries.gallery(store, "test", words.encode(store.splits["test"].captions))
    values = evaluate(Judged(recipe, part, encode=words.encode)).values
    for way in ("open", "choice"):
        right, most = values[f"qa_{way}_colour"], values[f"qa_{way}_colour_majority"]
        assert right > most + 20, f"{way}: {right:.0f} % where the commonest answer has {most:.0f} %"
