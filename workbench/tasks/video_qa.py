"""Question answering: eight kinds of questions about synthetic clips, or those of a benchmark.

Benchmarks are described in `workbench.data.questions`. Each question about a synthetic clip is asked in two
ways; those of MSRVTT-QA, MSVD-QA and ActivityNet-QA only in the first one; the choices of MSRVTT-MC, which
are captions without a question, only in the second one, and not by `answer`. The method is the first of these
that the recipe defines and its stages have trained:

- `qa_open_*`, any of the 32 answers to questions of all kinds, or of the commonest answers to a benchmark's
  training questions: by `answer` among them; by `generate` with the question as prompt, whose next word is
  the answer (for a benchmark all generated words), and any other word is wrong.
- `qa_choice_*`, one of five options of the same kind, or yes and no for questions of that kind: by `answer`
  among them; by `match` of the clip with a statement for each option; by the cosine of `embed_video` and
  `embed_text` of these statements.

`answer`, `generate` and `match` count only if the last stage has trained them, since any other stage changes
the encoders below them; embeddings count if any stage has trained them. A way for which a recipe has no
method is not measured.

Options with equal scores, which rounding to bfloat16 makes frequent, share the point: a third each if the
right one is one of three. The file of the run contains the methods (`open_way`, `choice_way`), the questions
and the answers. The tokenizer of a run with this task is also trained on questions about its training clips
and has room for every question with its answer (up to `text.max_tokens`): truncated to the length of the
longest caption, most questions would lose the word that decides them.

The baselines of each accuracy are chance (one of the answers of the kind, or of the options) and, if there is
a question, the commonest answer of its kind in the split (or among the options), and a classifier that reads
only the question (`text_only`), fitted on the training clips.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from workbench.data import questions
from workbench.data.moving_shapes.questions import ANSWERS, KINDS, Question
from workbench.metrics import Metric, Queries
from workbench.tasks.text_only import TextOnly

if TYPE_CHECKING:
    from workbench.data.store import FrameStore
    from workbench.tasks.gallery import Judged, TaskResult

FILE = "video_qa.npz"
WAYS = {"open": "any of all answers", "choice": "one of five options"}
ABOUT = {
    "colour": "the colour",
    "shape": "the shape",
    "first": "the first action",
    "last": "the last action",
    "after": "what follows",
    "before": "what precedes",
    "background": "the background",
    "order": "the order",
}
BASELINES = {"chance": "chance", "majority": "always the commonest answer", "text": "from the question alone"}
KNOWN = questions.KNOWN
EACH_TIME = False
NEEDS = (("answer",), ("generate",), ("match",), ("embed_video", "embed_text"))


class Answered(NamedTuple):
    """The answers of a recipe to Q questions that were asked in one way."""

    how: str
    """The method: `answer`, `generate`, `match` or `embed`."""
    given: list[str]
    """[Q]"""
    points: np.ndarray
    """[Q], points for the answers, from 0 to 1."""
    options: Sequence[Sequence[str]] = ()
    """[Q], the options; empty if the answers were generated."""
    scores: Sequence[np.ndarray] = ()
    """[Q], scores of the options; empty if the answers were generated."""


def _metrics(way: str, kind: str) -> tuple[Metric, ...]:
    """The accuracy of a kind, or of all kinds if it is empty, and its baselines."""
    name = f"qa_{way}_{kind}" if kind else f"qa_{way}"
    words = f"questions about {ABOUT[kind]}" if kind else "questions"
    first = f"{kind}_" if kind else ""
    accuracy = Metric(
        name=name,
        label=f"{words} answered, {WAYS[way]}",
        unit="%",
        low=0.0,
        high=100.0,
        queries=Queries(file=FILE, values=f"{first}{way}", ids=f"{first}id", groups=f"{first}clip"),
    )
    beside = [
        Metric(
            name=f"{name}_{baseline}",
            label=f"{words}, {WAYS[way]}: {said}",
            unit="%",
            low=0.0,
            high=100.0,
            counted=True,
        )
        for baseline, said in BASELINES.items()
    ]
    return accuracy, *beside


METRICS = tuple(metric for way in WAYS for kind in ("", *KINDS) for metric in _metrics(way, kind))


def texts(store: FrameStore, split: str) -> list[str]:
    """The questions about a split's clips, each followed by its answer; for choices every caption."""
    asked = questions.about(store, np.unique(store.splits[split].clips))
    said = ([f"{one.text} {one.answer}"] if one.text else one.options for one in asked)
    return [text for some in said for text in some]


def evaluate(judged: Judged) -> TaskResult:
    import torch

    from workbench.tasks.gallery import TaskResult

    store = judged.gallery.store
    asked = questions.about(store, judged.gallery.clips)
    with torch.no_grad():
        answered = answers(judged, asked)
    if not answered:
        return TaskResult(values={})
    every = questions.answers(store)
    known = frozenset(every)
    train = questions.about(store, np.unique(store.splits["train"].clips))
    train = [one for one in train if one.text and one.answer in known]
    blind = TextOnly([one.text for one in train], [one.answer for one in train]) if train else None
    most = max(len(one.options) for one in asked)

    kinds = np.array([one.kind for one in asked])
    right = np.array([one.answer for one in asked])
    arrays = {
        "id": np.array([one.id for one in asked]),
        "clip": np.array([one.clip for one in asked]),
        "kind": kinds,
        "question": np.array([one.text for one in asked]),
        "right": right,
        "options": np.array([[*one.options, *[""] * (most - len(one.options))] for one in asked], str),
    }
    values: dict[str, float] = {}
    for way, (how, given, points, *_) in answered.items():
        hits = {"": 100.0 * points}  # [Q]
        options = [one.options if way == "choice" else ANSWERS.get(one.kind, every) for one in asked]
        hits["chance"] = np.array([chance(one, way, len(every)) for one in asked])
        if all(one.text for one in asked):
            hits["majority"] = 100.0 * (np.array(majority(asked, options)) == right)
        if "majority" in hits and blind is not None:
            among = options if way == "choice" else [every] * len(asked)
            hits["text"] = 100.0 * (np.array(blind.choose([one.text for one in asked], among)) == right)
        for kind in dict.fromkeys(["", *kinds.tolist()]):
            own = kinds == kind if kind else slice(None)
            name = f"qa_{way}_{kind}" if kind else f"qa_{way}"
            values |= {f"{name}_{beside}" if beside else name: float(hit[own].mean())
                       for beside, hit in hits.items()}  # fmt: skip
            first = f"{kind}_" if kind else ""
            arrays |= {f"{first}{part}": arrays[part][own] for part in ("id", "clip")}
            arrays[f"{first}{way}"] = hits[""][own]
        arrays |= {f"{way}_answer": np.array(given), f"{way}_way": np.array(how)}
    return TaskResult(values=values, files={FILE: arrays})


def majority(asked: Sequence[Question], options: Sequence[Sequence[str]]) -> list[str]:
    """For each question the option that answers most questions of its kind; the first one of ties."""
    counts: dict[str, Counter[str]] = defaultdict(Counter)
    for one in asked:
        counts[one.kind][one.answer] += 1
    best: dict[tuple[str, int], str] = {}  # many questions share a list of answers
    found = []
    for one, own in zip(asked, options, strict=True):
        key = one.kind, id(own)
        if key not in best:
            best[key] = max(own, key=lambda option: counts[one.kind][option])
        found.append(best[key])
    return found


def chance(one: Question, way: str, answers: int = 1) -> float:
    """Accuracy in percent of a random option, or of a random answer that the question does not name.

    answers: number of answers to a question without a kind.
    """
    if way == "choice":
        return 100.0 / len(one.options)
    named = one.kind in ("after", "before")
    return 100.0 / (len(ANSWERS[one.kind]) - named if one.kind else answers)


def answers(judged: Judged, asked: Sequence[Question]) -> dict[str, Answered]:
    """Answers by way, `open` and `choice`, as far as the recipe supports them.

    asked: questions about clips of the gallery, none or all with a text, none or all with options.
    """
    options = [one.options for one in asked]
    worded, choices = any(one.text for one in asked), any(options)
    found: dict[str, Answered] = {}
    if worded and judged.can("answer"):
        every = [questions.answers(judged.gallery.store)] * len(asked)
        found["open"] = _best("answer", asked, every, _by_answer(judged, asked, every))
        if choices:
            found["choice"] = _best("answer", asked, options, _by_answer(judged, asked, options))
        return found
    if worded and judged.can("generate"):
        given = _by_generate(judged, asked)
        right = [said == one.answer for said, one in zip(given, asked, strict=True)]
        found["open"] = Answered("generate", given, np.array(right, dtype=float))
    if choices and judged.can("match"):
        found["choice"] = _best("match", asked, options, _by_statement(judged, asked, match=True))
    elif choices and judged.embeds:
        found["choice"] = _best("embed", asked, options, _by_statement(judged, asked, match=False))
    return found


def _best(
    how: str, asked: Sequence[Question], options: Sequence[Sequence[str]], scores: Sequence[np.ndarray]
) -> Answered:
    """The option with the highest score, the first one of ties, and the point of the right one, [Q]."""
    given, points = [], []
    for one, own, score in zip(asked, options, scores, strict=True):
        if not np.isfinite(score).all():
            raise FloatingPointError("scores of answers are not finite: the model has diverged")
        best = [own[int(i)] for i in np.flatnonzero(score == score.max())]
        given.append(best[0])
        points.append((one.answer in best) / len(best))
    return Answered(how, given, np.array(points), options, scores)


def _by_answer(
    judged: Judged, asked: Sequence[Question], options: Sequence[Sequence[str]]
) -> list[np.ndarray]:
    """Scores of each question's options, by `answer`."""
    import torch

    said, clips = judged.saying([one.text for one in asked]), _clips(judged, asked)
    known = questions.answers(judged.gallery.store)
    answers = judged.saying(list(known)).text(np.arange(len(known)))  # [A, L]
    number = {answer: i for i, answer in enumerate(known)}
    numbers = {id(own): [number[option] for option in own] for own in options}
    counts = np.array([len(own) for own in options])
    scores: dict[int, np.ndarray] = {}
    for count in np.unique(counts):
        rows = np.flatnonzero(counts == count)
        for batch in judged.batches(len(rows)):
            some = rows[batch]
            which = torch.tensor([numbers[id(options[row])] for row in some], device=judged.device)
            logits = judged.recipe.answer(
                judged.video(clips[some]), said.text(some), answers.select(which)
            )  # [B, A]
            scores |= dict(zip(some.tolist(), logits.float().cpu().numpy(), strict=True))
    return [scores[row] for row in range(len(asked))]


def _by_statement(judged: Judged, asked: Sequence[Question], *, match: bool) -> list[np.ndarray]:
    """Scores of each question's options as statements, by `match` or by embeddings."""
    number = {words: i for i, words in enumerate(dict.fromkeys(s for one in asked for s in one.statements))}
    said = judged.saying(list(number))
    counts = [len(one.statements) for one in asked]
    clips = _clips(judged, asked).repeat(counts)  # [P]
    rows = np.array([number[words] for one in asked for words in one.statements])  # [P]
    if match:
        scores = said.match(clips, rows)
    else:
        video, text = judged.embed_videos().double(), said.embed_texts().double()
        scores = (video[clips] * text[rows]).sum(1).float().numpy()
    return np.split(scores, np.cumsum(counts)[:-1])


def _by_generate(judged: Judged, asked: Sequence[Question]) -> list[str]:
    """The word after each question, by `generate`, or all words if the question has no kind.

    Questions with the same number of words are batched, since prompts of different lengths are written
    separately."""
    given, clips = [""] * len(asked), _clips(judged, asked)
    ordered = np.argsort([len(one.text.split()) for one in asked], kind="stable")
    for batch in judged.batches(len(asked)):
        rows = ordered[batch]
        prompts = [asked[row].text for row in rows]
        texts = judged.recipe.generate(judged.video(clips[rows]), prompts)
        for row, prompt, text in zip(rows, prompts, texts, strict=True):
            words = text.split()[len(prompt.split()) :]
            given[row] = " ".join(words[:1] if asked[row].kind else words)
    return given


def _clips(judged: Judged, asked: Sequence[Question]) -> np.ndarray:
    """Number in the gallery of the clip that each question is about, int64 [Q]."""
    number = {clip: i for i, clip in enumerate(judged.gallery.clip_ids)}
    return np.array([number[one.clip] for one in asked], np.int64)
