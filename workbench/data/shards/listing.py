"""`shards.json`, the list that `workbench.data shard` writes beside its shards, and their origin."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

import workbench.data.shards.locations as locations
from workbench.errors import UserError

LIST = "shards.json"
"""The file in a folder of shards with the number of samples of each shard, and its SHA-256."""
HELD_OUT = ("val-", "test-")
"""Prefixes of the names of shards without training clips."""


class Origin(NamedTuple):
    """Origin of the data of shards, as far as the samples do not contain it."""

    data: str = ""
    """Name of the data set."""
    shared: bool = False
    """See `Index.shared`."""
    tasks: tuple[str, ...] = ()
    """Additional tasks of runs on it."""
    notes: tuple[str, ...] = ()
    """See `Index.notes`."""


def listed(folder: Path) -> dict[str, dict[str, Any]]:
    """Name of a shard -> `samples`, `bytes`, `sha256`, from the list in its folder."""
    return _shards(_read(str(folder / "any.tar")) or {}, str(folder / LIST))


def origin_of(addresses: Sequence[str]) -> tuple[Origin, frozenset[str]]:
    """The origin of shards, and those that contain samples of val or test by their lists.

    A shard in no list has an unknown origin. Raises `UserError` if shards have different origins that are
    evaluated differently.
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
    """The list beside a shard; None if there is none."""
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
    """The origin in a list; empty for a list of an earlier version."""
    match whole.get("of", {}):
        case {"data": str(data), "shared": bool(shared), "tasks": list(tasks), "notes": list(notes)}:
            if all(isinstance(one, str) for one in (*tasks, *notes)):
                return Origin(data, shared, tuple(tasks), tuple(notes))
        case {**rest} if not rest:
            return Origin()
    raise _damaged(where)


def _damaged(where: str) -> UserError:
    return UserError(f"{where} is damaged: delete it, or make the shards again")
