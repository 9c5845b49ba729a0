"""Cached results of slow pure functions, under a digest of their inputs.

`runs/STUDY/.computed-DIGEST.json`: the digest covers the values, the settings, and the code and libraries
that compute, so that nothing has to be known of what has changed since.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import json
import os
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from importlib import metadata
from pathlib import Path
from types import ModuleType
from typing import Any, TypeVar

import numpy as np

from workbench.tracking.cache.rows import content_of
from workbench.tracking.files import write_atomic

WORTH_KEEPING = 0.2
"""Seconds of computation from which a result is cached."""
MOST = 16
"""Largest number of cached results of a study; the least recently used one is removed first."""
_T = TypeVar("_T")


class Computed:
    """What functions of a package return, of numbers, texts, arrays of float64 and the package's dataclasses.

    package: the one whose functions compute; folder: where results are kept, None to keep none.
    """

    def __init__(self, package: ModuleType, folder: Path | None = None) -> None:
        self._package, self._folder = package, folder

    def of(self, what: str, given: Any, make: Callable[[], _T]) -> _T:
        """What `make` returns, or returned when the same was given; `what` tells functions apart."""
        return self.of_each(what, given, {"": None}, lambda _: {"": make()})[""]

    def of_each(
        self, what: str, shared: Any, parts: Mapping[str, Any], make: Callable[[list[str]], Mapping[str, _T]]
    ) -> dict[str, _T]:
        """Results by the names of what they are of, in the order of `parts`.

        shared: what all of them were computed from; parts: what each was computed from besides;
        make: computes those of some names.
        """
        if self._folder is None:
            return dict(make(list(parts)))
        path = self._folder / f".computed-{_digest(what, _code(self._package), shared)}.json"
        digests = {name: _digest(name, part) for name, part in parts.items()}
        kept = self._read(path)
        found: dict[str, _T] = {}
        for name, digest in digests.items():
            with suppress(ValueError, TypeError, KeyError, AttributeError, RecursionError):  # not there
                found[name] = _restored(kept[digest], self._package.__name__)
        if missing := [name for name in parts if name not in found]:
            began = time.monotonic()
            found |= make(missing)
            if time.monotonic() - began >= WORTH_KEEPING:
                with suppress(OSError):  # one may only read, or the disk is full
                    self._write(path, {digests[name]: _plain(one) for name, one in found.items()})
        return {name: found[name] for name in parts if name in found}

    def _read(self, path: Path) -> dict[str, Any]:
        """Digest -> result; empty where there is no such file, or it is damaged."""
        try:
            seal, _, content = content_of(path).partition(b"\n")
            kept = json.loads(content) if seal == _seal(content) else {}
        except (OSError, ValueError, RecursionError):
            return {}
        with suppress(OSError):
            os.utime(path)
        return kept if isinstance(kept, dict) else {}

    def _write(self, path: Path, kept: Mapping[str, Any]) -> None:
        content = json.dumps(kept).encode()
        write_atomic(path, _seal(content) + b"\n" + content)
        for _, old in sorted((p.stat().st_mtime_ns, p) for p in path.parent.glob(".computed-*.json"))[:-MOST]:
            old.unlink(missing_ok=True)


def _digest(*given: Any) -> str:
    digest = hashlib.blake2b(digest_size=16)
    _update(digest, given)
    return digest.hexdigest()


def _seal(content: bytes) -> bytes:
    return hashlib.blake2b(content, digest_size=16).hexdigest().encode()


@functools.cache
def _code(package: ModuleType) -> str:
    """Digest of the package's files as they were loaded and the versions of the libraries below it."""
    return f"{package.CODE} {metadata.version('numpy')} {metadata.version('scipy')}"


def _update(digest: Any, value: Any) -> None:
    if isinstance(value, np.ndarray):
        digest.update(f"array {value.dtype.str} {value.shape}".encode())
        digest.update(np.ascontiguousarray(value).data)
    elif isinstance(value, Mapping):
        digest.update(f"mapping {len(value)}".encode())
        for key, inner in value.items():
            _update(digest, key)
            _update(digest, inner)
    elif isinstance(value, tuple | list):
        if all(isinstance(inner, str) for inner in value):
            digest.update(json.dumps(["texts", *value]).encode())
            return
        digest.update(f"sequence {len(value)}".encode())
        for inner in value:
            _update(digest, inner)
    else:
        digest.update(f"{type(value).__name__} {value!r};".encode())


def _plain(value: Any) -> Any:
    """As JSON that tells what it was; `TypeError` for what has no place here."""
    if value is None or type(value) in (bool, int, float, str):
        return value
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = {f.name: _plain(getattr(value, f.name)) for f in dataclasses.fields(value)}
        return {"is": f"{type(value).__module__}:{type(value).__qualname__}", "of": fields}
    if isinstance(value, tuple):
        return {"is": "tuple", "of": [_plain(inner) for inner in value]}
    if isinstance(value, dict):
        return {"is": "dict", "of": [[_plain(key), _plain(inner)] for key, inner in value.items()]}
    if isinstance(value, np.ndarray) and value.dtype == np.float64:
        return {"is": "array", "of": value.tolist()}
    if isinstance(value, np.float64):
        return {"is": "number", "of": float(value)}
    raise TypeError(f"{type(value).__name__} cannot be kept")


def _restored(value: Any, package: str) -> Any:
    if type(value) is not dict:
        return value
    kind, inner = value["is"], value["of"]
    if kind == "tuple":
        return tuple(_restored(part, package) for part in inner)
    if kind == "dict":
        return {_restored(key, package): _restored(part, package) for key, part in inner}
    if kind == "array":
        return np.array(inner, dtype=np.float64)
    if kind == "number":
        return np.float64(inner)
    plain = {field: _restored(part, package) if type(part) is dict else part for field, part in inner.items()}
    return _record(kind, package)(**plain)


@functools.cache
def _record(kind: str, package: str) -> Callable[..., Any]:
    """The dataclass of the package with this name, `module:Class`."""
    module, _, name = kind.partition(":")
    made_by = getattr(sys.modules[module], name)
    if not (module.startswith(f"{package}.") and isinstance(made_by, type)):
        raise ValueError(f"{kind} is none of {package}")
    if not dataclasses.is_dataclass(made_by):
        raise ValueError(f"{kind} is no record")
    return made_by
