"""Questions to planted models: who knows is right, who guesses is at a baseline, however they are asked."""

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
import torch
from planted import numbers
from scenes import Words, gallery, scenes

from workbench.data.moving_shapes.questions import ANSWERS, EVERY, KINDS, SLOTS
from workbench.data.moving_shapes.world import ACTIONS
from workbench.data.questions import about
from workbench.data.store import Split
from workbench.errors import UserError
from workbench.tasks import gallery as galleries
from workbench.tasks import video_qa
from workbench.tasks.gallery import Judged
from workbench.tasks.video_qa import evaluate

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
    more = " and more"

    def generate(self, video, prompts=None):
        clips, _ = numbers(video)
        self.seen += prompts
        asked = zip(prompts, clips.tolist(), strict=True)
        return [f"{prompt} {self.says(clip, prompt)}{self.more}" for prompt, clip in asked]


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


def test_questions_are_prompts_and_come_by_their_count_of_words(part):
    recipe = Writes(part)
    found(recipe, part)
    assert Counter(recipe.seen) == Counter(one.text for one in recipe.questions)
    lengths = [len(text.split()) for text in recipe.seen]
    assert lengths == sorted(lengths), "those of as many words together"


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


def test_a_store_that_knows_nothing_cannot_be_asked(part, store):
    with pytest.raises(UserError, match="nothing to ask about the clips of random"):
        found(
            Answers(part), galleries.gallery(store, "test", Words().encode(["a"] * len(store.splits["test"])))
        )


# Questions that a benchmark has


@pytest.fixture
def quiz(part):
    """Two open questions a clip, whose answers are in no drawn world; answers of two words are among them."""
    asked = [
        [["who is it", f"man {i % 3}"], ["what does it do", ["run", "sit"][i % 2]]]
        for i in range(len(part.store.clip_ids))
    ]
    part.store.attributes = {"questions": asked}
    return part


@pytest.fixture
def choices(part):
    """A caption of each clip among four of others; training clips have none."""
    given = [
        [[[f"caption {(i + k) % CLIPS}" for k in range(5)], 0]] if i < CLIPS else []
        for i in range(len(part.store.clip_ids))
    ]
    part.store.attributes = {"choices": given}
    return part


@pytest.mark.parametrize("kind", [Answers, Writes])
def test_open_questions_of_a_benchmark_are_answered_from_the_answers_of_training(quiz, kind):
    class Whole(kind):
        more = ""

    result = found(Whole(quiz), quiz)
    assert result.values["qa_open"] == 100
    assert not any(name.startswith("qa_choice") for name in result.values)
    assert not any(f"qa_open_{one}" in result.values for one in KINDS)
    assert result.values["qa_open_chance"] == 20, "one of five answers"
    # "who" is one of three in turn, "what" one of two: the commonest answer of all is one of the two.
    assert result.values["qa_open_majority"] == pytest.approx(25, abs=2)
    assert result.values["qa_open_text"] == pytest.approx(100 * (1 / 3 + 1 / 2) / 2, abs=3)


def test_of_a_benchmark_all_that_is_written_is_the_answer(quiz):
    class Talks(Writes):
        pass  # whose answers go on with "and more"

    assert found(Talks(quiz), quiz).values["qa_open"] == 0


def test_an_answer_of_no_training_question_is_wrong(quiz):
    quiz.store.attributes["questions"][0][0][1] = "a king"
    result = found(Answers(quiz), quiz)
    assert result.values["qa_open"] == pytest.approx(100 * (1 - 1 / (2 * CLIPS)), abs=1)


@pytest.mark.parametrize(("kind", "way"), [(Matches, "match"), (Embeds, "embed")])
def test_of_captions_the_one_that_fits_best_is_chosen(choices, kind, way):
    class Both(kind):
        def answer(self, video, question, choices):
            raise AssertionError("there is no question to answer")

    recipe = Both(choices)
    recipe.true = {(v, f"caption {i}"): v == i for v in range(CLIPS) for i in range(CLIPS)}
    result = found(recipe, choices)
    assert result.values == {"qa_choice": 100, "qa_choice_chance": 20}
    assert str(result.files["video_qa.npz"]["choice_way"]) == way
    recipe.true = {pair: not right for pair, right in recipe.true.items()}
    assert found(recipe, choices).values["qa_choice"] < 20
