"""Questions about drawn clips: true answers, honest options, nothing that their words alone would tell."""

import functools
from collections import Counter
from dataclasses import replace
from itertools import product
from types import SimpleNamespace

import numpy as np
import pytest

from workbench.config import DataConfig, RunConfig
from workbench.data import describe, read_index
from workbench.data.loader import Loader
from workbench.data.moving_shapes import questions, world
from workbench.data.moving_shapes.grammar import WORDS, say
from workbench.data.moving_shapes.questions import ANSWERS, EVERY, KINDS, about
from workbench.data.store import SPLITS, store_path
from workbench.data.texts import with_training_texts
from workbench.errors import UserError
from workbench.models.text import TextConfig, vocabulary
from workbench.tasks.text_only import TextOnly
from workbench.tasks.video_qa import chance


@functools.cache
def clips():
    return read_index(DataConfig(), None).clips


@functools.cache
def whole_world():
    """The whole drawn world as a store would tell of it, without frames."""
    known = {name: [clip.attributes[name] for clip in clips()] for name in WORDS}
    return SimpleNamespace(name="drawn", clip_ids=[clip.id for clip in clips()], attributes=known)


def rows(split):
    return np.array([row for row, clip in enumerate(clips()) if clip.split == split])


@pytest.fixture(scope="module")
def asked():
    return {split: about(whole_world(), rows(split)) for split in SPLITS}


@functools.cache
def seen():
    return {clip.id: clip.attributes for clip in clips()}


def shown(question):
    return seen()[question.clip]


def test_there_are_eight_kinds_and_32_answers_of_one_word():
    assert [len(ANSWERS[kind]) for kind in KINDS] == [8, 6, 8, 8, 8, 8, 8, 2]
    assert len(EVERY) == len(set(EVERY)) == 32
    assert not any(" " in answer for answer in EVERY)


def test_every_answer_but_yes_and_no_is_a_word_of_captions():
    words = {word for clip in clips() for word in clip.captions[0].split()}
    assert set(EVERY) - words == {"yes", "no"}


def test_of_each_clip_every_kind_is_asked_once(asked):
    for split in SPLITS:
        ids = [clip.id for clip in clips() if clip.split == split]
        assert [(one.clip, one.kind) for one in asked[split]] == list(product(ids, KINDS))
        assert all(one.id == f"{one.clip}#{one.kind}" for one in asked[split])


def test_answers_are_true(asked):
    """Told by the attributes and a table of this test."""
    action = {"left": "left", "right": "right", "up": "up", "down": "down"} | {
        name: name for name in ("grows", "shrinks", "spins", "blinks")
    }
    ground = dict(zip(world.BACKGROUNDS, "plain striped checkered dotted fading grid wavy ringed".split(),
                      strict=True))  # fmt: skip
    for one in asked["test"]:
        facts, text = shown(one), one.text.split()
        match one.kind:
            case "colour":
                assert one.answer == facts["colour"]
                assert text[-1] in WORDS["shape"][facts["shape"]]
            case "shape":
                assert one.answer == facts["shape"]
                assert text[-2] == facts["colour"]
            case "first" | "before":
                assert one.answer == action[facts["first"]]
            case "last" | "after":
                assert one.answer == action[facts["second"]]
            case "background":
                assert one.answer == ground[facts["background"]]
            case "order":
                named, _, other = one.text.removeprefix("does it ").partition(" before it ")
                verb, *rest = named.split()
                which = [
                    next(a for a, words in world.ACTIONS.items() if said in words)
                    for said in (" ".join([f"{verb}s", *rest]), other)
                ]
                assert {*which} == {facts["first"], facts["second"]}
                assert one.answer == ("yes" if which[0] == facts["first"] else "no")


def test_questions_after_and_before_name_the_other_action(asked):
    for one in asked["val"]:
        if one.kind in ("after", "before"):
            named = one.text.partition(f"{one.kind} it ")[2]
            assert named in WORDS["first"][shown(one)["first" if one.kind == "after" else "second"]]


def test_options_are_of_the_kind_and_the_right_one_stands_anywhere(asked):
    places, wrong = Counter(), Counter()
    for one in asked["train"]:
        assert len(set(one.options)) == len(one.statements) == (2 if one.kind == "order" else 5)
        assert set(one.options) <= set(ANSWERS[one.kind])
        if one.kind == "order":
            assert one.options == ("yes", "no")
            continue
        named = {"after": shown(one)["first"], "before": shown(one)["second"]}.get(one.kind)
        assert named not in one.options
        places[one.options.index(one.answer)] += 1
        if one.kind == "colour":
            wrong.update(set(one.options) - {one.answer})
    total = sum(places.values())
    assert all(abs(count / total - 0.2) < 0.01 for count in places.values()), places
    assert max(wrong.values()) < 1.15 * min(wrong.values()), "every colour is as often a wrong option"


@pytest.mark.parametrize("split", SPLITS)
def test_yes_and_no_are_balanced_for_each_pair_of_actions(asked, split):
    yes = Counter()
    for one in asked[split]:
        if one.kind == "order":
            yes[frozenset((shown(one)["first"], shown(one)["second"]))] += 1 if one.answer == "yes" else -1
    assert len(yes) == 28
    assert all(abs(difference) <= 1 for difference in yes.values())


def test_synonyms_stand_in_questions(asked):
    words = {word for one in asked["train"] for word in one.text.split()}
    assert {"box", "crescent", "capsule", "rises", "rise", "rotates", "rotate", "slides", "flicker"} <= words


def test_a_question_depends_on_its_clip_alone_and_is_always_the_same(asked):
    some = rows("train")[[5, 6, 4000]]
    alone = {one.id: one for one in about(whole_world(), some) if one.kind != "order"}
    among = {one.id: one for one in asked["train"] if one.id in alone}
    assert alone == among
    assert about(whole_world(), rows("test")) == asked["test"]


def subsequence(words, sentence):
    left = iter(sentence.split())
    return all(word in left for word in words.split())


def test_the_statement_of_an_option_is_a_caption_cut_to_what_is_asked(asked):
    """It stands in order in a caption of the clip if the option is right, and in none if it is wrong."""
    for one in asked["test"][:800]:
        facts = shown(one)
        numbers = product(*(range(len(WORDS[slot][facts[slot]])) for slot in WORDS))
        captions = [say(0, facts, dict(zip(WORDS, chosen, strict=True))) for chosen in numbers]
        for option, statement in zip(one.options, one.statements, strict=True):
            assert any(subsequence(statement, c) for c in captions) == (option == one.answer), one


def naive_bayes(train, texts, options):
    """One at a time, by counting."""
    words = {w for one in train for w in one.text.split()}
    prior = Counter(one.answer for one in train)
    seen = {a: Counter(w for one in train if one.answer == a for w in one.text.split()) for a in prior}

    def score(answer, text):
        if answer not in prior:
            return -np.inf
        total = sum(seen[answer].values()) + len(words)
        known = [np.log((seen[answer][w] + 1) / total) for w in text.split() if w in words]
        return np.log(prior[answer] / len(train)) + sum(known)

    return [max(own, key=lambda o: score(o, text)) for text, own in zip(texts, options, strict=True)]


def test_the_classifier_of_text_is_naive_bayes(asked):
    train, some = asked["train"][:400], asked["test"][:160]
    texts, options = [one.text for one in some], [one.options for one in some]
    fitted = TextOnly([one.text for one in train], [one.answer for one in train])
    assert fitted.choose(texts, options) == naive_bayes(train, texts, options)
    leak = TextOnly(["is it red", "is it blue"], ["yes", "no"])
    assert leak.choose(["is it blue", "is it red"], [("yes", "no")] * 2) == ["no", "yes"]


def test_the_words_of_a_question_tell_nothing(asked):
    """A classifier of the words is nowhere better than chance by two standard errors, nor in all."""
    fitted = TextOnly([one.text for one in asked["train"]], [one.answer for one in asked["train"]])
    for split, way in product(("val", "test"), ("open", "choice")):
        some = asked[split]
        options = [one.options if way == "choice" else EVERY for one in some]
        given = fitted.choose([one.text for one in some], options)
        hits = np.array([g == one.answer for g, one in zip(given, some, strict=True)])
        expected = np.array([chance(one, way) / 100 for one in some])
        for kind in ("", *KINDS):
            own = np.array([not kind or one.kind == kind for one in some])
            error = np.sqrt((expected * (1 - expected))[own].sum()) / own.sum()
            assert hits[own].mean() - expected[own].mean() < 2 * error, (split, way, kind)


class TestTraining:
    """Questions as the texts of the training split."""

    DATA = DataConfig(name="random", text="questions")

    @pytest.fixture
    def drawn(self, store):
        """The random store, of whose clips something is known."""
        combinations = world.combinations()[:: len(world.combinations()) // len(store.clip_ids)]
        known = {name: [combinations[i][name] for i in range(len(store.clip_ids))] for name in WORDS}
        return replace(store, attributes=known)

    def test_captions_stay_as_they_are_unless_questions_are_wanted(self, drawn):
        assert with_training_texts(drawn, replace(self.DATA, text="captions")) is drawn

    def test_texts_of_training_become_questions_with_their_answers(self, drawn):
        new, rows = with_training_texts(drawn, self.DATA), np.unique(drawn.splits["train"].clips)
        asked = about(drawn, rows)
        part = new.splits["train"]
        assert part.captions == [f"{one.text} {one.answer}" for one in asked]
        assert [drawn.clip_ids[row] for row in part.clips] == part.groups == [one.clip for one in asked]
        assert part.ids == [one.id for one in asked]
        assert {name: new.splits[name] for name in ("val", "test")} == {
            name: drawn.splits[name] for name in ("val", "test")
        }

    def test_frames_are_stored_once(self, drawn, tmp_path):
        assert with_training_texts(drawn, self.DATA).frames is drawn.frames
        assert store_path(self.DATA, tmp_path) == store_path(replace(self.DATA, text="captions"), tmp_path)

    def test_a_loader_takes_one_question_a_clip_and_epoch(self, drawn):
        new = with_training_texts(drawn, self.DATA)
        part = new.splits["train"]
        words = vocabulary(part.captions, TextConfig())
        loader = Loader(new, words.encode(part.captions), batch_size=8, seed=0)
        seen = Counter()
        for step in range(2 * loader.per_epoch):
            clips, rows = loader.indices(step)
            assert (part.clips[rows] == clips).all()
            seen.update(clips.tolist())
        assert set(seen.values()) == {2}
        assert loader.per_epoch == 3

    def test_the_vocabulary_of_their_training_knows_every_answer_as_a_word(self):
        texts = [f"{one.text} {one.answer}" for one in about(whole_world(), rows("train")[:600])]
        words = vocabulary(texts, TextConfig())
        assert [words.tokenizer.encode(a, add_special_tokens=False).tokens for a in EVERY] == [
            [a] for a in EVERY
        ]

    def test_what_shows_nothing_that_is_known_is_refused(self, store):
        with pytest.raises(
            UserError, match=r"nothing to ask about the clips of random: of each its .*colour"
        ):
            with_training_texts(store, self.DATA)
        odd = replace(store, attributes={name: ["odd"] * len(store.clip_ids) for name in WORDS})
        with pytest.raises(UserError, match="nothing to ask"):
            with_training_texts(odd, self.DATA)

    def test_own_videos_are_refused_before_anything_is_made(self, tmp_path):
        (tmp_path / "captions.csv").write_text("video,caption\n" + "".join(f"{i}.mp4,a\n" for i in range(30)))
        for i in range(30):
            (tmp_path / f"{i}.mp4").write_bytes(bytes([i]))
        data = DataConfig(name="folder")
        assert describe(data, str(tmp_path)).known == frozenset()
        with pytest.raises(
            UserError, match=r"data\.text='questions' does not go with folder: questions about each clip"
        ) as caught:
            describe(replace(data, text="questions"), str(tmp_path))
        assert "\n" not in str(caught.value)

    def test_the_drawn_world_can_be_asked(self):
        assert set(questions.KNOWN) <= describe(DataConfig(clips=24, text="questions")).known

    def test_what_training_reads_is_part_of_a_key_and_captions_are_as_before(self):
        from small import run_config

        def key(**changes):
            return run_config(data=DataConfig(name="random", frames=4, size=16, **changes)).key()

        assert key() == key(text="captions") != key(text="questions")
        config = run_config(data=DataConfig(name="random", frames=4, size=16, text="questions"))
        assert RunConfig.from_json(config.to_json()) == config

    def test_what_is_evaluated_on_is_not_asked_for_texts(self):
        from small import run_config

        other = DataConfig(name="other", frames=4, size=16, text="questions")
        with pytest.raises(UserError, match=r"data\.text is what training reads"):
            run_config(evaluate_on=(other,))
        with pytest.raises(UserError, match="'captions' or 'questions', not 'poems'"):
            DataConfig(text="poems")
