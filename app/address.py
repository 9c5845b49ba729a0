"""The comparison in the address: every choice is a query parameter, checked against what exists.

Parameters: `study`, `view`, and those that the views ask for. A value that is not among the options is
dropped and the default is shown; one sentence says so (`complaints`) where a person's address asked for it,
none where it only no longer fits what has been chosen since. A default that moves with the data is written
into the address (`pin`), so that a link shows tomorrow what it shows today.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal
from urllib.parse import urlencode

import streamlit as st

from app.markdown import escaped

Form = Literal["select", "buttons", "radio"]
Given = str | float | Sequence[str]

LASTING = ("study", "metric")
"""Parameters that a link into another view takes along."""

_COMPLAINTS = "address: complaints"
_FOLLOWED = "address: followed"
"""Name -> values that were valid in this session: when they cease to be, nobody has to be told."""
_PINNED = "address: pinned"
"""Name -> the default that was written into the address, until it is chosen by hand."""
_LONGEST = 60
"""Letters of a refused value that are repeated to the reader."""


def begin() -> None:
    """Once at the start of a page: no complaints yet."""
    st.session_state[_COMPLAINTS] = []


def complaints() -> list[str]:
    """Sentences about parameters that could not be followed."""
    found: list[str] = st.session_state.get(_COMPLAINTS, [])
    return found


def complain(sentence: str) -> None:
    """Adds a sentence for the top of the page."""
    st.session_state.setdefault(_COMPLAINTS, []).append(sentence)


def get(name: str, options: Sequence[str] | Mapping[str, str], default: str) -> str:
    """The parameter if it is among the options, else the default."""
    given = st.query_params.get(name)
    if given is None:
        return default
    if given not in options:
        _refuse(name, [given])
        return default
    _follow(name, [given])
    return given


def get_many(name: str, options: Sequence[str] | Mapping[str, str], default: Sequence[str]) -> list[str]:
    """The values of a repeated parameter that are among the options, in their order; default without any."""
    given = list(dict.fromkeys(st.query_params.get_all(name)))
    known = [value for value in given if value in options]
    if len(known) < len(given):
        _refuse(name, [value for value in given if value not in options], keep=known)
    _follow(name, known)
    return known or list(default)


def put(name: str, value: Given, default: Given | None) -> None:
    """Writes a choice; the default leaves no trace in the address. None: there is no default to leave out."""
    if value == default:
        st.query_params.pop(name, None)
        return
    words = [repr(value)] if isinstance(value, float) else [value] if isinstance(value, str) else list(value)
    st.query_params[name] = words
    _follow(name, words)


def drop(*names: str) -> None:
    """Takes parameters out of the address: what they belonged to has changed."""
    for name in names:
        st.query_params.pop(name, None)


def forget(*keep: str) -> None:
    """Drops every parameter but these: what was chosen belongs to another study."""
    drop(*(set(st.query_params) - set(keep)))


def leave() -> None:
    """Drops defaults that the view being left wrote into the address; what was chosen there stays."""
    for name, words in st.session_state.pop(_PINNED, {}).items():
        if name not in LASTING and st.query_params.get_all(name) == words:
            drop(name)


def link(**given: str | Sequence[str]) -> str:
    """A relative link to the present study and metric, with what is given; a sequence is repeated."""
    lasting = {name: st.query_params[name] for name in LASTING if name in st.query_params}
    return "?" + urlencode(lasting | given, doseq=True)


def choose(
    name: str,
    label: str,
    options: Mapping[str, str],
    default: str,
    *,
    form: Form = "select",
    pin: bool = False,
    help: str | None = None,
    on_change: Callable[[], None] | None = None,
) -> str:
    """A widget for one of the options (value in the address -> words), bound to the parameter `name`.

    pin: the default moves with the data, so it is written into the address too.
    """
    value = get(name, options, default)
    if pin:
        _pin(name, [value])
    key = _bound(name, value)
    given: dict[str, Any] = {"key": key, "help": help, "on_change": _write}
    given["args"] = (name, key, default, pin, on_change)
    values, words = list(options), distinct(options)
    if form == "select":
        return str(st.selectbox(label, values, format_func=words.__getitem__, **given))
    words = {value: escaped(text) for value, text in words.items()}  # the other two render Markdown
    if form == "radio":
        return str(st.radio(label, values, format_func=words.__getitem__, **given))
    given["required"] = True
    return str(st.segmented_control(label, values, format_func=words.__getitem__, **given))


def choose_many(
    name: str,
    label: str,
    options: Mapping[str, str],
    default: Sequence[str],
    *,
    most: int | None = None,
    pin: bool = False,
    help: str | None = None,
) -> list[str]:
    """A widget for some of the options; choosing none means the default. most: what is beyond is left out,
    which one sentence says; pin: as in `choose`."""
    wanted = get_many(name, options, default)
    if most is not None and len(wanted) > most:
        complain(
            f"{label}: the first {most} of the {len(wanted)} in the address are shown, no more fit here."
        )
    wanted = wanted[:most]
    if pin and wanted:
        _pin(name, wanted)
    key = _bound(name, wanted)
    return st.multiselect(
        label, list(options), format_func=distinct(options).__getitem__, key=key, help=help,
        max_selections=most, on_change=_write, args=(name, key, list(default), pin, None),
    ) or list(default)  # fmt: skip


def text(name: str, label: str, *, longest: int = 200, placeholder: str = "", help: str | None = None) -> str:
    """A field for any words, bound to the parameter `name`; what is longer than `longest` is cut."""
    key = _bound(name, st.query_params.get(name, "")[:longest])
    given: dict[str, Any] = {"placeholder": placeholder, "help": help, "max_chars": longest}
    return st.text_input(label, key=key, on_change=_write, args=(name, key, "", False, None), **given)


def number(
    name: str,
    label: str,
    low: float,
    high: float,
    default: float,
    *,
    pin: bool = False,
    help: str | None = None,
) -> float:
    """A slider from `low` to `high`, bound to the parameter `name`; pin: as in `choose`."""
    given, value = st.query_params.get(name), default
    if given is not None:
        try:
            value = float(given)
        except ValueError:
            value = math.nan
        if not low <= value <= high:
            _refuse(name, [given])
            value = default
        else:
            _follow(name, [given])
    if pin:
        _pin(name, [repr(value)])
    key = _bound(name, value)
    step = (high - low) / 100
    args = (name, key, default, pin, None)
    form = f"%.{max(0, 2 - math.floor(math.log10(high)))}f"
    return float(
        st.slider(label, low, high, step=step, key=key, format=form, help=help, on_change=_write, args=args)
    )


def distinct(options: Mapping[str, str]) -> dict[str, str]:
    """The options with words of which no two are alike: Streamlit goes from the words back to the option."""
    counts = Counter(options.values())
    return {value: words if counts[words] == 1 else f"{words} · {value}" for value, words in options.items()}


def _bound(name: str, value: Any) -> str:
    """The widget's key, its state set to what the address says."""
    key = f"address: {name}"
    # Also where it is the same: the widget of another view may take its place, which knows nothing of it.
    st.session_state[key] = value
    return key


def _pin(name: str, words: list[str]) -> None:
    """Writes a default into the address where the parameter is not there yet."""
    if name not in st.query_params:
        st.query_params[name] = words
        st.session_state.setdefault(_PINNED, {})[name] = words
        _follow(name, words)


def _follow(name: str, values: Sequence[str]) -> None:
    st.session_state.setdefault(_FOLLOWED, {}).setdefault(name, set()).update(values)


def _write(name: str, key: str, default: Any, pin: bool, then: Callable[[], None] | None) -> None:
    value = st.session_state[key]
    st.session_state.get(_PINNED, {}).pop(name, None)
    if value in (None, "", []):
        drop(name)
    else:
        put(name, value, None if pin else default)
    if then is not None:
        then()


def _refuse(name: str, values: Sequence[str], keep: Sequence[str] = ()) -> None:
    """Takes values out of the address, and says so unless this session has followed them before."""
    put(name, list(keep), [])
    new = [value for value in values if value not in st.session_state.get(_FOLLOWED, {}).get(name, ())]
    if not new:
        return
    shown = new[0] if len(new[0]) <= _LONGEST else new[0][:_LONGEST] + "…"
    more = f" and {len(new) - 1} more" if len(new) > 1 else ""
    complain(f"The address asks for {name} {shown!r}{more}, which is not here; it is left out.")
