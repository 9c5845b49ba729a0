"""The state of a page in its address: every choice is a query parameter, checked against the options.

Parameters: `study`, `view`, and those that the views ask for. A value that is not among the options is
dropped and the default is shown; one sentence says so (`complaints`) where a person's address asked for it,
none where it only no longer fits what has been chosen since. A default that moves with the data is written
into the address (`pin`), so that a link shows tomorrow what it shows today; the parameter `auto` names those
that nobody chose, and whoever opens the link and goes on to another view leaves them behind.

What a page changes is collected and written at its end (`commit`), as one entry of the browser's history.
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
"""Parameters that links to other views keep."""

_COMPLAINTS = "address: complaints"
_FOLLOWED = "address: followed"
"""Name -> values that were valid in this session: when they cease to be, nobody has to be told."""
_NOW = "address: now"
"""What the address said when it was last written, and what it is to say: name -> values."""
AUTO = "auto"
"""Parameter: names of parameters whose values are defaults that were written into the address."""
_LONGEST = 60
"""Largest number of characters of a rejected value in a message."""


def begin() -> None:
    """Called once at the start of a page: clears the complaints."""
    st.session_state[_COMPLAINTS] = []


def complaints() -> list[str]:
    """Sentences about parameters that could not be followed."""
    found: list[str] = st.session_state.get(_COMPLAINTS, [])
    return found


def complain(sentence: str) -> None:
    """Adds a sentence for the top of the page."""
    st.session_state.setdefault(_COMPLAINTS, []).append(sentence)


def commit() -> None:
    """Once at the end of a page, or of a part that refreshes by itself: writes what has changed."""
    now = _now()
    if now != _stated():
        st.query_params.from_dict(now)
    st.session_state.pop(_NOW, None)


def given(name: str) -> list[str]:
    """The values of a parameter in the address, unchecked; empty if there are none."""
    return list(_now().get(name, ()))


def get(name: str, options: Sequence[str] | Mapping[str, str], default: str) -> str:
    """The parameter if it is among the options, else the default."""
    asked = given(name)
    if not asked:
        return default
    if asked[-1] not in options:
        _refuse(name, asked[-1:])
        return default
    _follow(name, asked[-1:])
    return asked[-1]


def get_many(name: str, options: Sequence[str] | Mapping[str, str], default: Sequence[str]) -> list[str]:
    """The values of a repeated parameter that are among the options, in their order; default without any."""
    asked = list(dict.fromkeys(given(name)))
    known = [value for value in asked if value in options]
    if len(known) < len(asked):
        _refuse(name, [value for value in asked if value not in options], keep=known)
    _follow(name, known)
    return known or list(default)


def put(name: str, value: Given, default: Given | None) -> None:
    """Writes a choice; the default leaves no trace in the address. None: there is no default to leave out."""
    drop(name)
    if value == default:
        return
    words = [repr(value)] if isinstance(value, float) else [value] if isinstance(value, str) else list(value)
    _now()[name] = words
    _follow(name, words)


def drop(*names: str) -> None:
    """Takes parameters out of the address: what they belonged to has changed."""
    now = _now()
    for name in names:
        now.pop(name, None)
    auto = [name for name in now.pop(AUTO, ()) if name not in names]
    if auto:
        now[AUTO] = auto


def forget(*keep: str) -> None:
    """Drops every parameter but these: what was chosen belongs to another study."""
    drop(*(set(_now()) - set(keep)))


def leave() -> None:
    """Drops defaults that the view being left wrote into the address; what was chosen there stays."""
    drop(*(name for name in given(AUTO) if name not in LASTING))


def link(**given: str | Sequence[str]) -> str:
    """A relative link to the present study and metric, with what is given; a sequence is repeated."""
    lasting = {name: values for name, values in _now().items() if name in LASTING}
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
    widget: dict[str, Any] = {"key": key, "help": help, "on_change": _write}
    widget["args"] = (name, key, default, pin, on_change)
    values, words = list(options), distinct(options)
    if form == "select":
        return str(st.selectbox(label, values, format_func=words.__getitem__, **widget))
    words = {value: escaped(text) for value, text in words.items()}  # the other two render Markdown
    if form == "radio":
        return str(st.radio(label, values, format_func=words.__getitem__, **widget))
    widget["required"] = True
    return str(st.segmented_control(label, values, format_func=words.__getitem__, **widget))


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
    key = _bound(name, "".join(given(name)[-1:])[:longest])
    options: dict[str, Any] = {"placeholder": placeholder, "help": help, "max_chars": longest}
    return st.text_input(label, key=key, on_change=_write, args=(name, key, "", False, None), **options)


def number(
    name: str,
    label: str,
    low: float,
    high: float,
    default: float,
    *,
    step: float | None = None,
    pin: bool = False,
    help: str | None = None,
) -> float:
    """A slider from `low` to `high`, bound to the parameter `name`; step: a hundredth of the way if None;
    pin: as in `choose`."""
    value = default
    if asked := given(name)[-1:]:
        try:
            value = float(asked[0])
        except ValueError:
            value = math.nan
        if not low <= value <= high:
            _refuse(name, asked)
            value = default
        else:
            _follow(name, asked)
    if pin:
        _pin(name, [repr(value)])
    key = _bound(name, value)
    largest = high if step is None else 100 * step
    step = (high - low) / 100 if step is None else step
    args = (name, key, default, pin, None)
    form = f"%.{max(0, 2 - math.floor(math.log10(largest)))}f"
    return float(
        st.slider(label, low, high, step=step, key=key, format=form, help=help, on_change=_write, args=args)
    )


def distinct(options: Mapping[str, str]) -> dict[str, str]:
    """The options with words of which no two are alike: Streamlit goes from the words back to the option."""
    counts = Counter(options.values())
    return {value: words if counts[words] == 1 else f"{words} · {value}" for value, words in options.items()}


def _stated() -> dict[str, list[str]]:
    """What the address says, as the browser has it."""
    return {name: st.query_params.get_all(name) for name in st.query_params}


def _now() -> dict[str, list[str]]:
    """What the address says with what has been changed since, which a person's going back undoes."""
    stated = _stated()
    kept: tuple[dict[str, list[str]], dict[str, list[str]]] | None = st.session_state.get(_NOW)
    if kept is None or kept[0] != stated:
        kept = stated, {name: list(values) for name, values in stated.items()}
        st.session_state[_NOW] = kept
    return kept[1]


def _bound(name: str, value: Any) -> str:
    """The widget's key, its state set to what the address says."""
    key = f"address: {name}"
    # Also where it is the same: the widget of another view may take its place, which knows nothing of it.
    st.session_state[key] = value
    return key


def _pin(name: str, words: list[str]) -> None:
    """Writes a default into the address where the parameter is not there yet."""
    now = _now()
    if name not in now:
        now[name] = words
        if name not in LASTING:
            now[AUTO] = list(dict.fromkeys([*now.get(AUTO, ()), name]))
        _follow(name, words)


def _follow(name: str, values: Sequence[str]) -> None:
    st.session_state.setdefault(_FOLLOWED, {}).setdefault(name, set()).update(values)


def _write(name: str, key: str, default: Any, pin: bool, then: Callable[[], None] | None) -> None:
    value = st.session_state[key]
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
