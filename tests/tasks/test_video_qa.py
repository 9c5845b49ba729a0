"""Questions to planted models: who knows is right, who guesses is at a baseline, however they are asked."""

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
import torch
from planted import numbers
from real_runs import quick, real_run
from scenes import Words, gallery, known, scenes

from workbench.answer.evidence import QueryValues, queries_of
from workbench.config import Budget, DataConfig, Stage
from workbench.data import prepare
from workbench.data.loader import Loader
from workbench.data.moving_shapes.questions import ANSWERS, EVERY, KINDS, SLOTS, about
from workbench.data.moving_shapes.world import ACTIONS
from workbench.data.store import FrameStore, Split
from workbench.data.texts import told
from workbench.errors import UserError
from workbench.models.fusion import FusionConfig
from workbench.models.text import Vocabulary, vocabulary
from workbench.models.video import VideoConfig
from workbench.recipe.batch import BatchRng
from workbench.recipes import lavender
from workbench.tasks import gallery as galleries
from workbench.tasks import video_qa
from workbench.tasks.gallery import Judged
from workbench.tasks.video_qa import evaluate
from workbench.train.session import open_session

CLIPS = 40


@pytest.fixture
def part():
    return gallery(scenes(CLIPS))


class Asked:
    """Knows of each clip and question the right answer, and of each clip the right statements."""

    def __init__(self, part):
        self.words, self.questions = Words(), about(part.store, part.clips)
        self.right = {(int(one.clip[4:]), one.text): one.answer for one in self.questions}
        self.true = {
            (int(one.clip[4:]), words): option == one.answer
            for one in self.questions
            for option, words in zip(one.options, one.statements, strict=True)
        }
        self.seen = []

    def says(self, clip, text):
        """What it answers, and what it holds for true."""
        return self.right[clip, text]


class Answers(Asked):
    def answer(self, video, question, choices):
        clips, _ = numbers(video)
        texts = self.words.read(question)
        said = [self.says(*pair) for pair in zip(clips.tolist(), texts, strict=True)]
        options = [[self.words.texts[i] for i in row] for row in choices.tokens[..., 0].tolist()]
        self.seen += [(text, tuple(own)) for text, own in zip(texts, options, strict=True)]
        return torch.tensor([[float(o == one) for o in own] for one, own in zip(said, options, strict=True)])


class Writes(Asked):
    def generate(self, video, prompt):
        clips, _ = numbers(video)
        self.seen.append((prompt, len(clips)))
        return [f"{prompt} {self.says(clip, prompt)} and more" for clip in clips.tolist()]


class Matches(Asked):
    def match(self, video, text):
        clips, _ = numbers(video)
        pairs = zip(clips.tolist(), self.words.read(text), strict=True)
        return torch.tensor([float(self.true[pair]) for pair in pairs])


class Embeds(Asked):
    """Clips are units of their own, a statement the sum of those of which it is true."""

    def embed_video(self, video):
        return torch.eye(CLIPS)[numbers(video)[0]]

    def embed_text(self, text):
        rows = [[self.true.get((v, words), False) for v in range(CLIPS)] for words in self.words.read(text)]
        return torch.nn.functional.normalize(torch.tensor(rows).float(), dim=1)


def found(recipe, part):
    return evaluate(Judged(recipe, part, encode=recipe.words.encode))


def kinds_of(values, way):
    return {kind: values[f"qa_{way}_{kind}"] for kind in KINDS}


@pytest.mark.parametrize(
    ("kind", "ways"),
    [
        (Answers, {"open": "answer", "choice": "answer"}),
        (Writes, {"open": "generate"}),
        (Matches, {"choice": "match"}),
        (Embeds, {"choice": "embed"}),
    ],
)
def test_who_knows_is_right_in_every_way_of_asking(part, kind, ways):
    result = found(kind(part), part)
    arrays = result.files["video_qa.npz"]
    assert {way: str(arrays[f"{way}_way"]) for way in ways} == ways
    assert {way for way in ("open", "choice") if f"qa_{way}" in result.values} == set(ways)
    for way in ways:
        assert result.values[f"qa_{way}"] == 100
        assert set(kinds_of(result.values, way).values()) == {100}
        assert arrays[f"{way}_answer"].tolist() == arrays["right"].tolist()


def test_of_several_ways_the_first_is_taken(part):
    class Every(Answers, Writes, Matches, Embeds):
        pass

    class Captioner(Writes, Matches, Embeds):
        pass

    arrays = found(Every(part), part).files["video_qa.npz"]
    assert (str(arrays["open_way"]), str(arrays["choice_way"])) == ("answer", "answer")
    arrays = found(Captioner(part), part).files["video_qa.npz"]
    assert (str(arrays["open_way"]), str(arrays["choice_way"])) == ("generate", "match")


def test_nobody_is_asked_in_a_way_that_no_stage_has_trained(part):
    class Every(Answers, Writes, Matches, Embeds):
        pass

    recipe, gone = Every(part), set()
    both = {"open": "answer", "choice": "answer"}
    for ability, ways in {
        "": both,
        "answer": {"open": "generate", "choice": "match"},
        "generate": {"choice": "match"},
        "match": {"choice": "embed"},
        "embed_text": {},
    }.items():
        gone.add(ability)
        result = evaluate(Judged(recipe, part, untrained=frozenset(gone), encode=recipe.words.encode))
        arrays = result.files.get("video_qa.npz", {})
        assert {way: str(arrays[f"{way}_way"]) for way in both if f"{way}_way" in arrays} == ways
        assert {way for way in both if f"qa_{way}" in result.values} == set(ways)
    assert result.values == result.files == {}


def test_it_is_asked_among_32_answers_and_among_its_own_options(part):
    recipe = Answers(part)
    found(recipe, part)
    assert len(recipe.seen) == 2 * len(recipe.questions)
    assert Counter(options == EVERY for _, options in recipe.seen) == {True: 8 * CLIPS, False: 8 * CLIPS}
    assert {(one.text, one.options) for one in recipe.questions} == {s for s in recipe.seen if s[1] != EVERY}
    assert {one.text for one in recipe.questions} == {
        text for text, options in recipe.seen if options == EVERY
    }


def test_each_question_is_a_prompt_for_its_clips_together(part):
    recipe = Writes(part)
    found(recipe, part)
    assert Counter(dict(recipe.seen)) == Counter(one.text for one in recipe.questions)
    assert len(recipe.seen) == len({one.text for one in recipe.questions})


@pytest.mark.parametrize("said", ["", "purplish", "the answer", "what"])
def test_a_word_that_is_no_answer_is_wrong(part, said):
    class Off(Writes):
        def says(self, clip, text):
            return said

    result = found(Off(part), part)
    assert result.values["qa_open"] == 0
    assert set(result.files["video_qa.npz"]["open_answer"].tolist()) == {said.split()[0] if said else "and"}


def test_who_confuses_what_is_first_is_wrong_about_time_alone(part):
    class Backwards(Answers):
        def says(self, clip, text):
            row = part.clips[clip]
            one = next(o for o in self.questions if o.clip == f"clip{clip}" and o.text == text)
            if one.kind in ("colour", "shape", "background"):
                return one.answer
            if one.kind == "order":
                return {"yes": "no", "no": "yes"}[one.answer]
            other = {"first": "second", "second": "first"}[SLOTS[one.kind]]
            value = part.store.attributes[other][row]
            return ANSWERS["first"][list(ACTIONS).index(value)]

    values = found(Backwards(part), part).values
    right = {kind for kind, value in kinds_of(values, "open").items() if value == 100}
    assert right == {"colour", "shape", "background"}
    assert {values[f"qa_open_{kind}"] for kind in set(KINDS) - right} == {0}
    assert values["qa_open"] == 100 * 3 / 8


@pytest.mark.parametrize("kind", [Answers, Matches])
def test_who_tells_no_options_apart_is_at_chance_to_the_digit(part, kind):
    recipe = kind(part)
    recipe.right = dict.fromkeys(recipe.right, "?")
    recipe.true = dict.fromkeys(recipe.true, False)
    values = found(recipe, part).values
    for name in KINDS:
        assert values[f"qa_choice_{name}"] == pytest.approx(values[f"qa_choice_{name}_chance"])
    assert values.get("qa_open", 100 / 32) == pytest.approx(100 / 32), "one of 32 answers"


def test_options_that_score_the_same_share_the_point(part):
    """The right one with one other, then two wrong ones before it."""

    class Torn(Answers):
        def answer(self, video, question, choices):
            scores = super().answer(video, question, choices)
            rows, right = torch.arange(len(scores)), scores.argmax(1)
            scores[rows, right - 1] = self.other
            return scores

    recipe = Torn(part)
    for recipe.other, share in ((1.0, 50), (2.0, 0), (0.5, 100)):
        assert found(recipe, part).values["qa_choice"] == share


@pytest.mark.parametrize("way", ["open", "choice"])
def test_the_baselines_are_what_a_count_says(part, way):
    """The commonest answer, chance, and the classifier of words, question by question."""
    values = found(Answers(part), part).values
    asked = about(part.store, part.clips)
    train = about(part.store, part.store.splits["train"].clips)
    for kind in KINDS:
        some = [one for one in asked if one.kind == kind]
        counts = Counter(one.answer for one in some)
        majority = []
        for one in some:
            options = ANSWERS[kind] if way == "open" else one.options
            most = max(counts[option] for option in options)
            majority.append(next(o for o in options if counts[o] == most) == one.answer)
        assert values[f"qa_{way}_{kind}_majority"] == pytest.approx(100 * np.mean(majority))
        if way == "open":
            assert values[f"qa_open_{kind}_majority"] == pytest.approx(100 * max(counts.values()) / len(some))
        chance = {"order": 50, "shape": 100 / 6, "after": 100 / 7, "before": 100 / 7}.get(kind, 12.5)
        chance = chance if way == "open" else 50 if kind == "order" else 20
        assert values[f"qa_{way}_{kind}_chance"] == pytest.approx(chance)
        blind = video_qa.TextOnly([one.text for one in train], [one.answer for one in train])
        given = blind.choose(
            [one.text for one in some], [EVERY if way == "open" else one.options for one in some]
        )
        hits = [g == one.answer for g, one in zip(given, some, strict=True)]
        assert values[f"qa_{way}_{kind}_text"] == pytest.approx(100 * np.mean(hits))
    for beside in ("", "_majority", "_chance", "_text"):
        mean = np.mean([values[f"qa_{way}_{kind}{beside}"] for kind in KINDS])
        assert values[f"qa_{way}{beside}"] == pytest.approx(mean)


def test_who_always_gives_the_commonest_answer_is_at_its_baseline(part):
    counts = Counter((one.kind, one.answer) for one in about(part.store, part.clips))

    class Constant(Answers):
        def says(self, clip, text):
            kind = next(o.kind for o in self.questions if o.text == text)
            return max(ANSWERS[kind], key=lambda answer: counts[kind, answer])

    values = found(Constant(part), part).values
    for kind in ("", *(f"_{kind}" for kind in KINDS)):
        assert values[f"qa_open{kind}"] == pytest.approx(values[f"qa_open{kind}_majority"])


def test_without_training_clips_there_is_no_classifier(part):
    none = Split(np.array([], np.int64), [], [], [])
    store = part.store
    store.splits = {"train": none}
    values = found(Answers(part), replace(part, store=store)).values
    assert not any(name.endswith("_text") for name in values)
    assert values["qa_open"] == 100


@pytest.mark.parametrize("size", [1, 7, 128])
def test_the_size_of_batches_changes_nothing(part, size, monkeypatch):
    monkeypatch.setattr(galleries, "BATCH", size)
    for kind in (Answers, Writes, Matches):
        values = found(kind(part), part).values
        assert {values.get("qa_open", 100), values.get("qa_choice", 100)} == {100}


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
@pytest.mark.parametrize("kind", [Answers, Matches])
def test_scores_that_are_not_finite_are_refused(part, kind, bad):
    recipe = kind(part)
    name = "answer" if kind is Answers else "match"
    own = getattr(recipe, name)
    setattr(recipe, name, lambda *given: own(*given) * bad)
    with pytest.raises(FloatingPointError, match="diverged"):
        found(recipe, part)


def test_its_metrics_are_named_and_their_queries_give_the_mean(part):
    metrics = {metric.name: metric for metric in video_qa.METRICS}
    assert len(metrics) == len(video_qa.METRICS) == 2 * 9 * 4
    names = set()
    for kind in (Answers, Writes, Embeds):
        result = found(kind(part), part)
        names |= set(result.values)
        for name, value in result.values.items():
            if queries := metrics[name].queries:
                arrays = result.files[queries.file]
                assert queries.contributions(arrays[queries.values]).mean() == pytest.approx(value)
                shapes = {arrays[a].shape for a in (queries.values, queries.ids, queries.groups)}
                assert len(shapes) == 1
                assert len(set(arrays[queries.ids].tolist())) == len(arrays[queries.ids])
            else:
                assert metrics[name].counted, "a baseline is the same in every run"
    assert names == set(metrics)


def test_what_was_asked_and_answered_lies_in_the_file(part):
    arrays = found(Answers(part), part).files["video_qa.npz"]
    asked = about(part.store, part.clips)
    assert arrays["question"].tolist() == [one.text for one in asked]
    assert arrays["right"].tolist() == [one.answer for one in asked]
    assert arrays["options"].shape == (8 * CLIPS, 5)
    assert [tuple(filter(None, row)) for row in arrays["options"].tolist()] == [one.options for one in asked]
    assert all(array.dtype != object for array in arrays.values())


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
    questions = told(store, data)
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


def test_a_store_that_knows_nothing_cannot_be_asked(part, store):
    with pytest.raises(UserError, match="nothing to ask about the clips of random"):
        found(
            Answers(part), galleries.gallery(store, "test", Words().encode(["a"] * len(store.splits["test"])))
        )
