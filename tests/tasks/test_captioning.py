"""Captions of planted models: what is said is read as the grammar says it, and scored as the formulas say."""

import itertools
import math
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from planted import numbers
from real_runs import quick, real_run
from scenes import caption, gallery, known, scenes

from workbench.data.moving_shapes import world
from workbench.data.moving_shapes.grammar import WORDS, parse, say
from workbench.data.store import Split
from workbench.tasks import captioning, queries_of
from workbench.tasks import gallery as galleries
from workbench.tasks.captioning import evaluate, references, scores, words
from workbench.tasks.gallery import Judged
from workbench.tracking.cache.queries import QueryValues

CLIPS = 25
SHOWN = scenes(CLIPS)
SLOTS = tuple(WORDS)


@pytest.fixture
def part():
    return gallery(SHOWN)


class Writes:
    """Says for each clip what it was told to."""

    def __init__(self, captions):
        self.captions, self.asked = captions, []

    def generate(self, video, prompts=None):
        self.asked.append(prompts)
        return [self.captions[clip] for clip in numbers(video)[0].tolist()]


def found(captions, part):
    return evaluate(Judged(Writes(captions), part))


def swapped(parts):
    return {**parts, "first": parts["second"], "second": parts["first"]}


class TestReferences:
    @pytest.mark.parametrize("parts", SHOWN[:10])
    def test_20_captions_that_all_say_what_is_shown(self, parts):
        found = references(parts)
        assert len(found) == len(set(found)) == 20
        assert all(parse(one).parts == parts for one in found)
        assert references(dict(reversed(parts.items()))) == found

    def test_every_template_and_every_word_is_among_them_about_as_often(self):
        for parts in SHOWN:
            said = [parse(one) for one in references(parts)]
            assert sorted(Counter(one.template for one in said).values()) == [6, 7, 7]
            for slot in SLOTS:
                counts = Counter(one.words[slot] for one in said)
                assert len(counts) == len(WORDS[slot][parts[slot]])
                assert len(counts) == 1 or max(counts.values()) <= 12

    def test_the_grammar_says_and_reads_every_word_of_every_slot(self):
        """Each pair of actions in all words and templates, and each word of the others."""
        plain = {"colour": "red", "shape": "star", "background": "plain", "first": "left", "second": "up"}
        asked = [{**plain, "first": a, "second": b} for a, b in itertools.permutations(world.ACTIONS, 2)]
        asked += [
            {**plain, slot: value} for slot in ("colour", "shape", "background") for value in WORDS[slot]
        ]
        for parts in asked:
            numbers = itertools.product(*(range(len(WORDS[slot][parts[slot]])) for slot in SLOTS))
            for template, chosen in itertools.product(range(3), numbers):
                one = dict(zip(SLOTS, chosen, strict=True))
                assert parse(say(template, parts, one)) == (template, parts, one)


class TestReading:
    def test_who_says_what_is_shown_has_everything_right(self, part):
        recipe = Writes(part.captions)
        result = evaluate(Judged(recipe, part))
        values = result.values
        assert recipe.asked == [None]
        for name in ("parsed", "slots", "exact", "order", *SLOTS):
            assert values[f"caption_{name}"] == 100
        assert values["caption_cider"] == values["caption_cider_own"] > 300
        assert result.files["captioning.npz"]["written"].tolist() == part.captions
        assert result.files["captioning.npz"]["id"].tolist() == part.clip_ids

    def test_a_reference_scores_the_most_there_is(self, part):
        values = found([references(parts)[7] for parts in SHOWN], part).values
        assert values["caption_bleu4"] == pytest.approx(100)
        assert values["caption_rouge_l"] == pytest.approx(100)
        assert values["caption_exact"] == 100

    def test_the_wrong_order_is_wrong_in_time_alone(self, part):
        values = found([caption(swapped(parts)) for parts in SHOWN], part).values
        right = {name: values[f"caption_{name}"] for name in ("parsed", "colour", "shape", "background")}
        assert set(right.values()) == {100}
        assert {values[f"caption_{name}"] for name in ("first", "second", "order", "exact")} == {0}
        assert values["caption_slots"] == 60
        assert values["caption_cider"] < values["caption_cider_own"]

    @pytest.mark.parametrize("slot", SLOTS)
    def test_one_wrong_part_is_wrong_alone(self, part, slot):
        wrong = []
        for parts in SHOWN:
            others = [v for v in WORDS[slot] if v not in (parts[slot], parts["first"], parts["second"])]
            wrong.append(caption({**parts, slot: others[0]}))
        values = found(wrong, part).values
        assert {name: values[f"caption_{name}"] for name in SLOTS} == {s: 100 * (s != slot) for s in SLOTS}
        assert values["caption_slots"] == 80
        assert values["caption_exact"] == 0
        assert ("caption_order" in values) == (slot not in ("first", "second")), "other actions have no order"

    def test_order_is_asked_where_the_two_actions_are_right(self, part):
        """Two of three captions with the right actions have them in order; the others say other ones."""
        said = [caption(SHOWN[0]), caption(SHOWN[1]), caption(swapped(SHOWN[2]))]
        for parts in SHOWN[3:]:
            other = next(a for a in world.ACTIONS if a not in (parts["first"], parts["second"]))
            said.append(caption({**parts, "second": other}))
        assert found(said, part).values["caption_order"] == pytest.approx(200 / 3)

    @pytest.mark.parametrize("said", ["", "a red", "red star spins", "[UNK] a red star spins then blinks on"])
    def test_what_the_grammar_does_not_make_has_nothing_right(self, part, said):
        values = found([said] * CLIPS, part).values
        assert {values[f"caption_{name}"] for name in ("parsed", "slots", "exact", *SLOTS)} == {0}
        assert "caption_order" not in values
        assert all(math.isfinite(value) for value in values.values())

    def test_one_half_right(self, part):
        said = [one if i < 10 else "what" for i, one in enumerate(part.captions)]
        values = found(said, part).values
        assert {values[f"caption_{name}"] for name in ("parsed", "slots", "exact", *SLOTS)} == {40}
        assert values["caption_order"] == 100


class TestBaselines:
    def test_they_are_what_a_count_says(self, part):
        values = found(part.captions, part).values
        common = {slot: Counter(p[slot] for p in SHOWN).most_common(1)[0] for slot in SLOTS}
        for slot, (_, count) in common.items():
            assert values[f"caption_{slot}_common"] == pytest.approx(100 * count / CLIPS)
            assert values[f"caption_{slot}_chance"] == pytest.approx(100 / (6 if slot == "shape" else 8))
        mean = np.mean([count / CLIPS for _, count in common.values()])
        assert values["caption_slots_common"] == pytest.approx(100 * mean)
        assert values["caption_slots_chance"] == pytest.approx((4 * 12.5 + 100 / 6) / 5)
        assert values["caption_exact_chance"] == pytest.approx(100 / 21504)
        assert values["caption_order_chance"] == 50

    def test_a_random_training_caption_is_one_and_always_the_same(self, part):
        values = found(part.captions, part).values
        said = captioning._random(part)
        assert set(said) <= set(part.store.splits["train"].captions)
        assert len(set(said)) > 5
        for slot in SLOTS:
            hits = [parse(one).parts[slot] == parts[slot] for one, parts in zip(said, SHOWN, strict=True)]
            assert values[f"caption_{slot}_random"] == pytest.approx(100 * np.mean(hits))
        again = found(["nothing"] * CLIPS, part).values
        beside = {name for name in values if name.endswith(("_random", "_common", "_chance", "_own"))}
        assert {name: again[name] for name in beside} == {name: values[name] for name in beside}

    def test_they_are_scored_as_any_caption(self, part):
        values = found(part.captions, part).values
        as_model = found(captioning._random(part), part).values
        for name in ("cider", "bleu4", "rouge_l", "slots", "exact"):
            assert values[f"caption_{name}_random"] == pytest.approx(as_model[f"caption_{name}"])
        common = {slot: Counter(p[slot] for p in SHOWN).most_common(1)[0][0] for slot in SLOTS}
        as_model = found([say(0, common, dict.fromkeys(SLOTS, 0))] * CLIPS, part).values
        for name in ("cider", "bleu4", "rouge_l", "slots", "exact"):
            assert values[f"caption_{name}_common"] == pytest.approx(as_model[f"caption_{name}"])

    def test_without_training_captions_there_is_no_random_one(self, part):
        part.store.splits = {"train": Split(np.array([], np.int64), [], [], [])}
        values = found(part.captions, part).values
        assert not any(name.endswith("_random") for name in values)


def grams(sentence, n):
    own = sentence.split()
    return Counter(tuple(own[i : i + n]) for i in range(len(own) - n + 1))


def cider_d(said, known):
    """arXiv:1411.5726, equations 2 to 6, CIDEr-D: of each candidate, times 100."""
    found = []
    for one, refs in zip(said, known, strict=True):
        total = 0.0
        for n in range(1, 5):
            documents = Counter(g for own in known for g in set().union(*(grams(r, n) for r in own)))

            def vector(sentence, n=n, documents=documents):
                weight = {g: math.log(len(known) / max(1, documents[g])) for g in grams(sentence, n)}
                return {g: c * weight[g] for g, c in grams(sentence, n).items()}

            mine = vector(one)
            for ref in refs:
                theirs = vector(ref)
                norm = math.hypot(*mine.values()) * math.hypot(*theirs.values())
                dot = sum(min(v, theirs.get(g, 0)) * theirs.get(g, 0) for g, v in mine.items())
                gap = len(one.split()) - len(ref.split())
                total += 10 * (dot / norm if norm else 0) * math.exp(-(gap**2) / 72) / len(refs) / 4
        found.append(100 * total)
    return found


def rouge_l(one, refs):
    """Best precision and best recall of the longest common subsequences, joined with beta 1.2, times 100."""
    mine, shares = one.split(), []
    for ref in refs:
        theirs = ref.split()
        best = max(
            len(some)
            for k in range(len(mine) + 1)
            for some in itertools.combinations(mine, k)
            if all(w in it for it in [iter(theirs)] for w in some)
        )
        shares.append((best / len(mine), best / len(theirs)))
    precision, recall = (max(share) for share in zip(*shares, strict=True))
    return 100 * 2.44 * precision * recall / (recall + 1.44 * precision) if precision and recall else 0.0


KNOWN = [[caption(parts, n) for n in range(3)] for parts in SHOWN[:8]]
SAID = [caption(parts, 9) for parts in SHOWN[1:8]] + ["a red star"]


class TestScores:
    def test_cider_d_is_that_of_its_formula(self):
        assert scores(SAID, KNOWN)["cider"] == pytest.approx(cider_d(SAID, KNOWN))

    def test_rouge_l_is_that_of_its_formula(self):
        naive = [rouge_l(one, refs) for one, refs in zip(SAID, KNOWN, strict=True)]
        assert scores(SAID, KNOWN)["rouge_l"] == pytest.approx(naive)

    def test_bleu_4_is_that_of_another_library(self):
        sacrebleu = pytest.importorskip("sacrebleu")
        streams = [list(refs) for refs in zip(*KNOWN, strict=True)]
        theirs = sacrebleu.corpus_bleu(SAID, streams, tokenize="none", smooth_method="none").score
        assert scores(SAID, KNOWN)["bleu4"].tolist() == pytest.approx([theirs])

    def test_words_are_compared_without_case_accents_and_punctuation(self):
        assert words("A red star, spinning…  Élan!") == "a red star spinning elan"
        plain = scores(["a red star spins now"], [["a red star spins now"]])
        assert scores(["A red star spins, now."], [["a réd star spins now"]]) == plain
        assert plain["rouge_l"] == [100]


class TestOwnVideos:
    """Clips of which nothing is known but their captions."""

    @pytest.fixture
    def part(self):
        """Seven captions of three clips."""
        shown = gallery(SHOWN[:7])
        owner = np.array([0, 1, 1, 2, 0, 2, 2])
        shown.store.attributes = {}
        texts = ["a cat", "two dogs run", "dogs run", "rain falls", "one cat sits", "it rains", "rain"]
        return replace(shown, owner=owner, clips=np.arange(3), clip_ids=shown.clip_ids[:3], captions=texts)

    def test_references_are_their_captions_and_nothing_is_parsed(self, part):
        result = found(["a cat", "a cat", "rain falls"], part)
        names = {"cider", "bleu4", "rouge_l"}
        wanted = {f"caption_{name}{end}" for name in names for end in ("", "_random")}
        assert set(result.values) == wanted
        expected = [rouge_l("a cat", ["a cat", "one cat sits"]), 0.0, 100.0]
        assert result.files["captioning.npz"]["rouge_l"].tolist() == pytest.approx(expected)
        assert set(result.files["captioning.npz"]) == {"id", "written", "cider", "rouge_l"}


@pytest.mark.parametrize("size", [1, 7, 128])
def test_the_size_of_batches_changes_nothing(part, size, monkeypatch):
    monkeypatch.setattr(galleries, "BATCH", size)
    assert found(part.captions, part).files["captioning.npz"]["written"].tolist() == part.captions


def test_its_metrics_are_named_and_their_queries_give_the_mean(part):
    metrics = {metric.name: metric for metric in captioning.METRICS}
    result = found([*part.captions[:20], *["what"] * 5], part)
    assert set(result.values) <= set(metrics)
    without_order = {"caption_order_common", "caption_order_random"}  # where none has the right actions
    assert set(metrics) - set(result.values) <= without_order
    for name, value in result.values.items():
        assert metrics[name].low <= value <= metrics[name].high
        if queries := metrics[name].queries:
            arrays = result.files[queries.file]
            assert queries.contributions(arrays[queries.values]).mean() == pytest.approx(value)
            assert len(arrays[queries.ids]) == len(arrays[queries.values]) == CLIPS
        elif name not in ("caption_bleu4", "caption_order"):
            assert metrics[name].counted, "a baseline is the same in every run"
    assert all(array.dtype != object for array in result.files["captioning.npz"].values())


@pytest.mark.parametrize("recipe", ["coca", "lavender"])
@pytest.mark.parametrize("scene", [True, False])
def test_a_run_ends_with_captions(recipe, scene, store, tmp_path, monkeypatch):
    data = known(store, tmp_path / "known") if scene else store
    config = quick(recipe, tasks=("retrieval", "captioning"))
    if recipe == "lavender":  # whose own losses teach it no captions
        config = replace(config, stages=(replace(config.stages[0], objective="caption"),))
    run, code = real_run(monkeypatch, tmp_path, config, data)
    assert code == 0
    summary = run.read_json("summary.json")
    assert {"val/caption_cider", "test/caption_bleu4", "test/caption_rouge_l_random"} <= set(summary)
    assert ("test/caption_exact" in summary) == ("test/caption_cider_own" in summary) == scene
    ids, written = run.read_arrays("captioning.npz", "id", "written")
    assert ids.tolist() == [store.clip_ids[i] for i in np.unique(store.splits["test"].clips)]
    assert len(written) == len(ids)
    answered = QueryValues().of(run, queries_of("caption_rouge_l"))  # as answers and the dashboard read them
    assert answered.values.mean() == pytest.approx(summary["test/caption_rouge_l"])


def test_a_captioner_that_nothing_has_trained_is_not_asked(part):
    judged = Judged(Writes(part.captions), part, untrained=frozenset({"generate"}))
    assert evaluate(judged).values == evaluate(judged).files == {}
