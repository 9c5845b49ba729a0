"""A model's answers to the questions about a clip, with its scores of the other options."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import streamlit as st

from app import address
from app.markdown import escaped
from app.predictions.request import Request
from workbench.inspection.outputs import read_given
from workbench.tasks.video_qa import WAYS

SHOWN = 5
"""Number of options of a question on the page, in addition to the right one."""
WIDTH = 300
"""Width of a question in pixels."""
HOW = {
    "answer": "Scores are the model's logits of the possible answers.",
    "match": "Each option was read as a statement; scores are how much more it matches the clip than not.",
    "embed": "Each option was read as a statement; scores are its cosine with the clip.",
    "generate": "The model was given the question and wrote the answer, so no option has a score.",
}


def show(asked: Request) -> None:
    """Parameter `asked`: among which answers the model chooses; then a card for each question."""
    left, right = st.columns([1, 3])
    with left:
        asked.play()
    with right:
        st.subheader(escaped(asked.caption))
    found, _ = asked.ask("answers")
    ways = {way: words for way, words in WAYS.items() if way in found["ways"]}
    with right:
        way = "choice" if "choice" in ways else next(iter(ways))
        if len(ways) > 1:
            way = address.choose("asked", "Answers are", ways, way, form="buttons")
    one, questions = found["ways"][way], found["questions"]
    stored = read_given(asked.run, way) if asked.split == "test" else {}
    right_ones = sum(given == q["right"] for given, q in zip(one["given"], questions, strict=True))
    with right:
        st.caption(
            escaped(
                f"{asked.name} answers {right_ones} of {len(questions)} questions about this clip correctly, "
                f"asked for {WAYS[way]}. {HOW[one['how']]} {asked.trained}"
            )
        )
    with st.container(horizontal=True, gap="small"):
        for question, given, options in zip(questions, one["given"], one["options"], strict=True):
            _card(question, given, options, stored.get(question["id"], given))


def _card(question: Mapping[str, Any], given: str, options: Sequence[Any], before: str) -> None:
    """A question, the answer with its verdict, and the best options with their scores."""
    right = question["right"]  # never so called on the page, where it is an answer: "moves right"
    verdict = "correct" if given == right else f"wrong, should be “{right}”"
    colour = "green" if given == right else "red"
    lines = []
    for place, (option, read, score) in enumerate(options, 1):
        if place <= SHOWN or option in (right, given):
            marks = [mark for mark, known in (("chosen", given), ("correct", right)) if option == known]
            skipped = f"place {place}: " if place > SHOWN else ""
            said = f" · **{' and '.join(marks)}**" if marks else ""
            lines.append(f"{skipped}`{score:.3f}` {escaped(read)}{said}")
    with st.container(border=True, width=WIDTH):
        asked = question["text"] or "which caption is its own"  # of a benchmark of choices
        st.markdown(f"**{escaped(asked)}?**")
        st.markdown(f":{colour}-badge[{escaped(f'“{given}” · {verdict}')}]")
        if lines:
            st.markdown("  \n".join(lines))
        if before != given:
            st.caption(
                escaped(f"When it was tested it said “{before}”; computed anew, scores differ a little.")
            )
