"""Single settings of a configuration by their dotted names, read from text: `--set optim.lr=3e-4`."""

from __future__ import annotations

import difflib
import types
from collections.abc import Mapping, Sequence
from typing import Any, Literal, Union, get_args, get_origin

from workbench.config import RunConfig
from workbench.errors import UserError
from workbench.serial import class_of, flatten, from_dict, hints_of, in_words, to_dict

ELSEWHERE = {"seed": "--seeds", "data.name": "--data"}
"""Settings that an option of their own changes."""
FILLED_IN = ("type", "digest")
"""Last parts of names that say what a configuration is, and are no settings."""


def parse(given: Sequence[str]) -> dict[str, str]:
    """Name -> value as it was written, of texts such as `optim.lr=3e-4`. Raises `UserError`."""
    found: dict[str, str] = {}
    for text in given:
        name, sign, value = (part.strip() for part in text.partition("="))
        if not (name and sign and value):
            raise UserError(f"--set must be given NAME=VALUE, such as optim.lr=3e-4, not {text!r}")
        if name in found:
            raise UserError(f"--set must give {name} one value, not both {found[name]!r} and {value!r}")
        if name in ELSEWHERE:
            raise UserError(f"--set cannot change {name}; {ELSEWHERE[name]} does")
        found[name] = value
    return found


def changed(config: RunConfig, settings: Mapping[str, str]) -> RunConfig:
    """The configuration with other values for some of its settings, all of them changed at once.

    settings: dotted names, such as `recipe.video_masking.ratio` or `stages.0.masked`, and values as text:
    numbers, words, `true`, `false`, `null`, and lists as `0.9,0.98`. Raises `UserError` for a name that the
    configuration does not have, a value of another type than the setting's, and one that its class refuses.
    """
    if not settings:
        return config
    content = to_dict(config)
    for name, text in settings.items():
        _put(content, name, text)
    found = from_dict(content)
    assert isinstance(found, RunConfig)
    return found


def values(config: RunConfig, names: Sequence[str]) -> dict[str, Any]:
    """Name -> value of some settings, without those that the configuration does not have."""
    flat = flatten(config)
    return {name: flat[name] for name in names if name in flat}


def _put(content: dict[str, Any], name: str, text: str) -> None:
    """Writes one setting into the JSON form of a configuration."""
    *path, last = name.split(".")
    node: Any = content
    for part in path:
        node = _inside(node, part)
    hints = hints_of(class_of(node["type"])) if isinstance(node, dict) else {}
    if last in FILLED_IN or last not in hints:
        raise UserError(_unknown(content, name))
    if _holds_settings(node[last]):
        inner = [known for known in _names(content) if known.startswith(f"{name}.")]
        raise UserError(f"{name} is made of settings: --set must name one of {', '.join(inner)}")
    try:
        node[last] = _read(text, hints[last])
    except ValueError:
        raise UserError(f"{name} must be {in_words(hints[last])}, not {text!r}") from None


def _inside(node: Any, part: str) -> Any:
    """What lies under a part of a name; None where there is nothing."""
    if isinstance(node, list):
        return node[int(part)] if part.isdecimal() and int(part) < len(node) else None
    return node.get(part) if isinstance(node, dict) else None


def _holds_settings(value: Any) -> bool:
    return isinstance(value, dict) or (isinstance(value, list) and any(isinstance(v, dict) for v in value))


def _names(content: Mapping[str, Any]) -> list[str]:
    """Every name that `--set` takes."""
    from workbench.serial import unfold

    names = (name for name, _ in unfold("", content))
    return [n for n in names if n.rpartition(".")[2] not in FILLED_IN and n not in ELSEWHERE]


def _unknown(content: Mapping[str, Any], name: str) -> str:
    """A sentence that names what comes nearest: by spelling, else those of the same part, else the parts."""
    known = _names(content)
    near = difflib.get_close_matches(name, known, n=4, cutoff=0.7)
    near += [one for one in known if one.endswith(f".{name.rpartition('.')[2]}") and one not in near][:4]
    if not near:
        inside = name
        while inside and not near:
            inside = inside.rpartition(".")[0]
            near = [one for one in known if inside and one.startswith(f"{inside}.")]
    near = near or list(dict.fromkeys(one.partition(".")[0] for one in known))
    return f"there is no setting {name!r} that --set could change; there are {', '.join(near)}"


def _read(text: str, hint: Any) -> Any:
    """The JSON value that a text stands for under an annotation; `ValueError` where it stands for none."""
    origin, inner = get_origin(hint), get_args(hint)
    if hint is bool:
        return {"true": True, "false": False}[text.lower()] if text.lower() in ("true", "false") else _no()
    if hint is int:
        return int(text)
    if hint is float:
        return float(text)
    if hint is str:
        return text
    if hint is type(None):
        return None if text.lower() in ("null", "none") else _no()
    if origin is Literal:
        found = [one for one in inner if str(one) == text]
        return found[0] if found else _no()
    if origin is tuple:
        parts = [part.strip() for part in text.split(",")]
        hints = [inner[0]] * len(parts) if inner[-1] is ... else list(inner)
        if len(hints) != len(parts):
            _no()
        return [_read(part, one) for part, one in zip(parts, hints, strict=True)]
    if origin in (Union, types.UnionType):
        # What stands for nothing else is the text that it is: `null` before a word, a number before both.
        for one in sorted(inner, key=lambda option: option is str):
            try:
                return _read(text, one)
            except ValueError:
                continue
    return _no()


def _no() -> Any:
    raise ValueError
