"""A model's caption for a clip, beside the references, with verdicts on its words."""

from __future__ import annotations

from collections.abc import Sequence

import streamlit as st

from app.markdown import escaped
from app.predictions.request import Request
from workbench.inspection.outputs import Piece, pieces, read_written, shared


def show(asked: Request) -> None:
    """Shows the caption stored at the run's test, else a caption generated now."""
    left, right = st.columns([1, 3])
    with left:
        asked.play()
    with right:
        st.markdown("**Reference captions**")
        st.markdown("\n\n".join(f"#### {escaped(one)}" for one in asked.captions))
    stored = read_written(asked.run).get(asked.clip) if asked.split == "test" else None
    written = asked.ask("caption")[0]["written"] if stored is None else stored
    with right:
        st.markdown("**Generated caption**")
        parts = pieces(written, asked.clips.attributes(asked.clip), asked.caption)
        st.markdown(f"#### {_marked(parts) if parts is not None else escaped(written or '(nothing)')}")
        st.markdown(_verdict(parts) if parts is not None else _overlap(written, asked))
        when = "when it was tested" if stored is not None else "now, by greedy decoding"
        st.caption(escaped(f"Written by {asked.name} {when}. {asked.trained}"))


def _marked(parts: Sequence[Piece]) -> str:
    """The caption with a verdict behind each of its parts."""
    words = []
    for piece in parts:
        text = escaped(piece.words)
        if not piece.part:
            words.append(text)
        elif piece.right:
            words.append(f":green-badge[{text} · correct]")
        else:
            words.append(f":red-badge[{text} · wrong, should be {escaped(piece.true)}]")
    return " ".join(words)


def _verdict(parts: Sequence[Piece]) -> str:
    """How many parts are correct, and which are not."""
    told = [piece for piece in parts if piece.part]
    wrong = [piece.part for piece in told if not piece.right]
    count = f"{len(told) - len(wrong)} of {len(told)} parts are correct"
    return f"{count}; wrong: {', '.join(wrong)}." if wrong else f"{count}."


def _overlap(written: str, asked: Request) -> str:
    """A sentence on the words that references also have, for captions that cannot be checked part by part."""
    known = pieces(asked.caption, asked.clips.attributes(asked.clip)) is not None
    why = "The grammar of the synthetic data cannot produce this caption, so no part of it counts as correct."
    both, alone = shared(written, asked.captions)
    lines = [why] if known else []
    lines.append(f"Words also in the references: {escaped(', '.join(both)) or 'no word'}.")
    lines.append(f"Words not in the references: {escaped(', '.join(alone)) or 'no word'}.")
    return "  \n".join(lines)
