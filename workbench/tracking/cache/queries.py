"""Cached values of metrics for each query of each run, read once from the files of the runs."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from workbench.errors import UserError
from workbench.metrics import Queries
from workbench.tracking.cache import rows
from workbench.tracking.cache.rows import RowFile, Signature, content_of, plain_signature
from workbench.tracking.files import check_link, check_name, slug, write_atomic
from workbench.tracking.run_dir import RunDir

_VERSION = 1
_SCHEMA = {"identity": pl.String(), "dtype": pl.String(), "values": pl.Binary(), "clips": pl.String()}
"""clips: digest of the groups, empty without any; thousands of runs share one file `.clips-DIGEST.json`."""
_NUMBERS = re.compile(r"[<>|][biuf]\d{1,2}")
_DIGEST = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True)
class Answered:
    """The answers of one run."""

    values: np.ndarray
    """[Q] as they lie in the file, or what each query contributes to a metric."""
    groups: tuple[str, ...] | None
    identity: str
    """Digest of the queries' names; empty where a metric is one number a run."""


class QueryValues:
    """Values of metrics for the queries of a study's runs.

    Each file is read once, for repeated reads of this process and of later ones.
    """

    def __init__(self) -> None:
        self._read: dict[tuple[str, ...], dict[str, tuple[Signature, Answered]]] = {}
        self._groups: dict[tuple[str, ...], tuple[str, ...]] = {}
        """Clips of the queries: thousands of runs share one tuple."""

    def of(self, run: RunDir, where: Queries) -> Answered | None:
        """The run's queries with their contributions; None where the file is missing or damaged."""
        known = self._read.setdefault(_key(where), {})
        found = self._of(run, where, known)
        return None if found is None else replace(found, values=where.contributions(found.values))

    def known(self, where: Queries) -> Mapping[str, tuple[Signature, Answered]]:
        """What has been read: run -> signature of its file, and values as they lie there."""
        return self._read.get(_key(where), {})

    def of_study(
        self, results: Path, study: str, names: Iterable[str], where: Queries
    ) -> dict[str, Answered]:
        """`of` for runs of a study by their names (`KEY-sSEED`), without those of which it is None."""
        folder = results / "runs" / check_name(study, "study name")
        check_link(folder, folder.parent)
        file = _file(folder, where)
        if (known := self._read.get(_key(where))) is None:
            known = self._read[_key(where)] = self._kept(folder, file.read())
        found: dict[str, Answered] = {}
        new = []
        for name in names:
            before = known.get(name)
            if before is None or before[0] != plain_signature(f"{folder}/{name}", where.file):
                run = RunDir(folder / check_name(name, "run name"))
                check_link(run.path, folder)
                answered = self._of(run, where, known)
                if answered is None:
                    continue
                new.append(name)
            else:
                answered = before[1]
            found[name] = Answered(
                where.contributions(answered.values), answered.groups, answered.identity
            )  # `replace` would take longer than all the rest
        if len(new) >= rows.WORTH_KEEPING:
            file.add(_rows(folder, {name: known[name] for name in new if name in known}))
        return found

    def _of(
        self, run: RunDir, where: Queries, known: dict[str, tuple[Signature, Answered]]
    ) -> Answered | None:
        signature = plain_signature(str(run.path), where.file)
        if signature is not None and (before := known.get(run.path.name)) and before[0] == signature:
            return before[1]
        try:
            found = self._answered(run, where)
        except (OSError, UserError):
            return None
        if signature is not None:
            known[run.path.name] = signature, found
        return found

    def _answered(self, run: RunDir, where: Queries) -> Answered:
        wanted = [where.values, where.ids, *([where.groups] if where.groups else [])]
        values, names, *owners = run.read_arrays(where.file, *wanted)
        shapes = {found.shape for found in (values, names, *owners)}
        numbers = values.size > 0 and values.dtype.kind in "biuf" and bool(np.isfinite(values).all())
        if shapes != {(values.size,)} or not numbers:
            raise UserError(
                f"{run.file(where.file)} is damaged: {where.values} is not one number for each query"
            )
        groups = tuple(str(group) for group in owners[0]) if owners else None
        digest = hashlib.sha256("\0".join(map(str, names.tolist())).encode()).hexdigest()
        return Answered(values, groups and self._groups.setdefault(groups, groups), digest)

    def _kept(self, folder: Path, frame: pl.DataFrame) -> dict[str, tuple[Signature, Answered]]:
        """Rows that were kept; those that do not fit together are left out."""
        owners: dict[str, tuple[str, ...] | None] = {"": None}
        for digest in frame["clips"].drop_nulls().unique():
            if (groups := _read_clips(folder, digest)) is not None:
                owners[digest] = self._groups.setdefault(groups, groups)
        known: dict[str, tuple[Signature, Answered]] = {}
        columns = ("run", "signature", *_SCHEMA)
        for run, signature, identity, dtype, content, clips in frame.drop_nulls().select(columns).iter_rows():
            if clips not in owners or not _NUMBERS.fullmatch(dtype):
                continue
            try:
                values, groups = np.frombuffer(content, dtype), owners[clips]
            except (ValueError, TypeError):
                continue
            if values.size and (groups is None or len(groups) == values.size):
                known[run] = tuple(signature), Answered(values, groups, identity)
        return known


def keep_queries(run: RunDir, where: Queries) -> None:
    """Keeps what a run that has ended answered."""
    values = QueryValues()
    if values.of(run, where) is not None:
        folder = run.path.parent
        _file(folder, where).add(_rows(folder, values.known(where)))


def _rows(folder: Path, known: Mapping[str, tuple[Signature, Answered]]) -> list[dict[str, Any]]:
    digests = {groups: _keep_clips(folder, groups) for groups in {a.groups for _, a in known.values()}}
    return [
        {
            "run": run, "signature": list(signature), "identity": answered.identity,
            "dtype": answered.values.dtype.str, "values": answered.values.tobytes(),
            "clips": digests[answered.groups],
        }
        for run, (signature, answered) in known.items()
    ]  # fmt: skip


def _keep_clips(folder: Path, groups: tuple[str, ...] | None) -> str:
    """The digest under which the clips of the queries can be found again."""
    if groups is None:
        return ""
    content = json.dumps(groups).encode()
    digest = hashlib.sha256(content).hexdigest()
    path = folder / f".clips-{digest}.json"
    if not path.exists():
        with suppress(OSError):  # one may only read, or the disk is full
            write_atomic(path, content)
    return digest


def _read_clips(folder: Path, digest: str) -> tuple[str, ...] | None:
    """None where they are not there, or are not those."""
    path = folder / f".clips-{digest}.json"
    try:
        if not _DIGEST.fullmatch(digest):
            return None
        content = content_of(path)
    except OSError:
        return None
    return tuple(json.loads(content)) if hashlib.sha256(content).hexdigest() == digest else None


def _key(where: Queries) -> tuple[str, ...]:
    return where.file, where.values, where.ids, where.groups


def _file(folder: Path, where: Queries) -> RowFile:
    return RowFile(folder, f"queries-{slug('-'.join(_key(where)))}", _VERSION, _SCHEMA)
