"""`shards.json`, the list that `workbench.data shard` writes beside its shards, and what data they were."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

import workbench.data.shards.locations as locations
from workbench.errors import UserError

LIST = "shards.json"
"""The file in a folder of shards that says how many samples each has, and its SHA-256."""
HELD_OUT = ("val-", "test-")
"""How the names of shards begin whose samples are no training clips."""


class Origin(NamedTuple):
    """What data shards were made of, as far as the samples do not say it."""

    data: str = ""
    """Name of the data set."""
    shared: bool = False
    """See `Index.shared`."""
    tasks: tuple[str, ...] = ()
    """By which a run on it is evaluated beside its own."""
    notes: tuple[str, ...] = ()
    """See `Index.notes`."""


def listed(folder: Path) -> dict[str, dict[str, Any]]:
    """Name of a shard -> `samples`, `bytes`, `sha256`, as the list in its folder has them."""
    return _shards(_read(str(folder / "any.tar")) or {}, str(folder / LIST))


def origin_of(addresses: Sequence[str]) -> tuple[Origin, frozenset[str]]:
    """What data shards were made of, and those of them that hold samples of val or test by their lists.

    One that no list names is of unknown data. Raises `UserError` where they are of data that are measured in
    other ways.
    """
    lists: dict[str, tuple[Origin, frozenset[str]]] = {}
    found: dict[Origin, str] = {}
    held_out = set()
    for address in addresses:
        folder, _, name = address.rpartition("/")
        if folder not in lists:
            whole = _read(address)
            where = f"{folder}/{LIST}"
            lists[folder] = (_origin(whole, where), frozenset(_shards(whole, where))) if whole else (
                Origin(), frozenset())  # fmt: skip
        origin, names = lists[folder]
        found.setdefault(origin if name in names else Origin(), address)
        if name in names and name.startswith(HELD_OUT):
            held_out.add(address)
    one, *others = found
    for other in others:
        if (one.shared, one.tasks) != (other.shared, other.tasks):
            said = [f"{found[o]} of {o.data or 'data that no list names'}" for o in (one, other)]
            raise UserError(f"{said[0]} and {said[1]} are measured in different ways; give one of them")
    notes = tuple(dict.fromkeys(note for origin in found for note in origin.notes))
    return one._replace(notes=notes), frozenset(held_out)


def _read(address: str) -> dict[str, Any] | None:
    """The list beside a shard; None where there is none."""
    text = locations.beside(address, LIST)
    if text is None:
        return None
    try:
        whole = json.loads(text)
    except (ValueError, RecursionError):
        whole = None
    if not isinstance(whole, dict):
        raise _damaged(str(PurePosixPath(address).parent / LIST))
    return whole


def _shards(whole: dict[str, Any], where: str) -> dict[str, dict[str, Any]]:
    try:
        return {
            str(name): {key: one[key] for key in ("samples", "bytes", "sha256")}
            for name, one in whole["shards"].items()
        }
    except (KeyError, TypeError, AttributeError) as error:
        raise _damaged(where) from error


def _origin(whole: dict[str, Any], where: str) -> Origin:
    """Nothing where the list is of an earlier version, which did not say."""
    match whole.get("of", {}):
        case {"data": str(data), "shared": bool(shared), "tasks": list(tasks), "notes": list(notes)}:
            if all(isinstance(one, str) for one in (*tasks, *notes)):
                return Origin(data, shared, tuple(tasks), tuple(notes))
        case {**rest} if not rest:
            return Origin()
    raise _damaged(where)


def _damaged(where: str) -> UserError:
    return UserError(f"{where} is damaged: delete it, or make the shards again")
