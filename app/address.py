"""The comparison in the address: every choice is a query parameter, checked against what exists.

Parameters: `study`, `view`, and those that the views ask for. A value that is not among the options is
dropped, the default is shown, and one sentence says so (`complaints`).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal
from urllib.parse import urlencode

import streamlit as st

Form = Literal["select", "buttons", "radio"]

_COMPLAINTS = "address: complaints"
_LONGEST = 60
"""Letters of a refused value that are repeated to the reader."""


def begin() -> None:
    """Once at the start of a page: no complaints yet."""
    st.session_state[_COMPLAINTS] = []


def complaints() -> list[str]:
    """Sentences about parameters that could not be followed."""
    found: list[str] = st.session_state.get(_COMPLAINTS, [])
    return found


def get(name: str, options: Sequence[str] | Mapping[str, str], default: str) -> str:
    """The parameter if it is among the options, else the default."""
    given = st.query_params.get(name)
    if given is None or given in options:
        return default if given is None else given
    _refuse(name, [given])
    return default


def get_many(name: str, options: Sequence[str] | Mapping[str, str], default: Sequence[str]) -> list[str]:
    """The values of a repeated parameter that are among the options, in their order; default without any."""
    given = list(dict.fromkeys(st.query_params.get_all(name)))
    known = [value for value in given if value in options]
    if len(known) < len(given):
        _refuse(name, [value for value in given if value not in options], keep=known)
    return known or list(default)


def put(name: str, value: str | float | Sequence[str], default: str | float | Sequence[str]) -> None:
    """Writes a choice; the default leaves no trace in the address."""
    if value == default:
        st.query_params.pop(name, None)
    else:
        st.query_params[name] = repr(value) if isinstance(value, float) else value


def forget(*keep: str) -> None:
    """Drops every parameter but these: what was chosen belongs to another study."""
    for name in set(st.query_params) - set(keep):
        del st.query_params[name]


def link(**changes: str | Sequence[str]) -> str:
    """The present address with changes, as a relative link; a sequence is a repeated parameter."""
    present = {name: st.query_params.get_all(name) for name in st.query_params}
    return "?" + urlencode(present | changes, doseq=True)


def choose(
    name: str,
    label: str,
    options: Mapping[str, str],
    default: str,
    *,
    form: Form = "select",
    help: str | None = None,
    on_change: Callable[[], None] | None = None,
) -> str:
    """A widget for one of the options (value in the address -> words), bound to the parameter `name`."""
    key = _bound(name, get(name, options, default))
    given: dict[str, Any] = {"key": key, "help": help, "on_change": _write}
    given["args"] = (name, key, default, on_change)
    values = list(options)
    if form == "select":
        return str(st.selectbox(label, values, format_func=lambda value: options[value], **given))
    from app.widgets import escaped  # those two render Markdown

    words = {value: escaped(text) for value, text in options.items()}
    if form == "radio":
        return str(st.radio(label, values, format_func=lambda value: words[value], **given))
    given["required"] = True
    return str(st.segmented_control(label, values, format_func=lambda value: words[value], **given))


def choose_many(
    name: str,
    label: str,
    options: Mapping[str, str],
    default: Sequence[str],
    *,
    most: int | None = None,
    help: str | None = None,
) -> list[str]:
    """A widget for some of the options; choosing none means the default."""
    key = _bound(name, get_many(name, options, default)[:most])
    return st.multiselect(
        label, list(options), format_func=lambda value: options[value], key=key, help=help,
        max_selections=most, on_change=_write, args=(name, key, list(default), None),
    ) or list(default)  # fmt: skip


def text(name: str, label: str, *, longest: int = 200, placeholder: str = "", help: str | None = None) -> str:
    """A field for any words, bound to the parameter `name`; what is longer than `longest` is cut."""
    key = _bound(name, st.query_params.get(name, "")[:longest])
    given: dict[str, Any] = {"placeholder": placeholder, "help": help, "max_chars": longest}
    return st.text_input(label, key=key, on_change=_write, args=(name, key, "", None), **given)


def number(
    name: str, label: str, low: float, high: float, default: float, *, help: str | None = None
) -> float:
    """A slider from `low` to `high`, bound to the parameter `name`."""
    given, value = st.query_params.get(name), default
    if given is not None:
        try:
            value = float(given)
        except ValueError:
            value = math.nan
        if not low <= value <= high:
            _refuse(name, [given])
            value = default
    key = _bound(name, value)
    step = (high - low) / 100
    args = (name, key, default, None)
    form = f"%.{max(0, 2 - math.floor(math.log10(high)))}f"
    return float(
        st.slider(label, low, high, step=step, key=key, format=form, help=help, on_change=_write, args=args)
    )


def _bound(name: str, value: Any) -> str:
    """The widget's key, its state set to what the address says."""
    key = f"address: {name}"
    if st.session_state.get(key) != value:
        st.session_state[key] = value
    return key


def _write(name: str, key: str, default: Any, then: Callable[[], None] | None) -> None:
    value = st.session_state[key]
    put(name, default if value in (None, "", []) else value, default)
    if then is not None:
        then()


def _refuse(name: str, values: Sequence[str], keep: Sequence[str] = ()) -> None:
    shown = values[0] if len(values[0]) <= _LONGEST else values[0][:_LONGEST] + "…"
    more = f" and {len(values) - 1} more" if len(values) > 1 else ""
    found = st.session_state.setdefault(_COMPLAINTS, [])
    found.append(f"The address asks for {name} {shown!r}{more}, which is not here; it is left out.")
    put(name, list(keep), [])
