"""Archives of runs: the files that answers and reports read, without weights, embeddings and images.

The file is a zip archive of `runs/STUDY/` from a folder of results. It has the same bytes for the same runs:
names are sorted, times are fixed, and properties of the machine (its system, process numbers) are left out,
or replaced by a digest (its name). It keeps the rows of `metrics.jsonl` with evaluations.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import tempfile
import zipfile
import zlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from workbench.errors import UserError
from workbench.tracking.files import check_name, write_atomic
from workbench.tracking.run_dir import MAX_UNPACKED_BYTES, RunDir

RECORDS = ("config.json", "environment.json", "run.json", "status.json", "summary.json")
DESCRIPTIONS = ("study.json", "looks.json", "asked-*.json", "asked-*.py")
LARGE = "embeddings.npz"
"""Suffix of the arrays that are left out, because reports do not use them."""
METRICS = "metrics.jsonl"
_TIME = (1980, 1, 1, 0, 0, 0)
"""The earliest time of a zip archive."""


def archive(results: Path, studies: Sequence[str], file: Path) -> tuple[int, int]:
    """Puts the runs of some studies into an archive, which keeps those of other studies that it has.

    Returns the number of their runs, and the size of the archive in bytes. Raises `UserError` for a study
    without runs, for a run that is under way, and for a file that is there and is no such archive.
    """
    content = _read(file) if file.exists() else {}
    count = 0
    for study in studies:
        folder = results / "runs" / check_name(study, "study name")
        runs = [RunDir(path.parent) for path in sorted(folder.glob("*/run.json"))]
        if not runs:
            raise UserError(f"there are no runs of {study!r} in {results}")
        prefix = f"runs/{study}/"
        content = {name: data for name, data in content.items() if not name.startswith(prefix)}
        for pattern in DESCRIPTIONS:
            content |= {f"{prefix}{path.name}": path.read_bytes() for path in folder.glob(pattern)}
        for run in runs:
            status = run.status()
            if status is None or status.state == "running":
                raise UserError(f"{run.path} is still under way; archive the study when its runs have ended")
            content |= {f"{prefix}{run.path.name}/{name}": d for name, d in _record(run).items()}
        count += len(runs)
    for name in content:
        _check(file, name)
    packed = _packed(content)
    file.parent.mkdir(parents=True, exist_ok=True)
    write_atomic(file, packed)
    return count, len(packed)


def unpack(file: Path, folder: Path) -> None:
    """Writes what an archive holds below a folder; `UserError` for a file that is none, or is damaged.

    The archive stays what it was, so nothing waits here until the disk has each of a thousand small files.
    """
    for name, data in _read(file).items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)


@contextlib.contextmanager
def opened(place: Path) -> Iterator[Path]:
    """A folder of results; for an archive a temporary folder, which is removed afterwards."""
    if not place.is_file():
        yield place
        return
    with tempfile.TemporaryDirectory() as folder:
        unpack(place, Path(folder))
        yield Path(folder)


def _record(run: RunDir) -> dict[str, bytes]:
    """File of a run -> its content, without facts of the machine but whether it is the same as another's."""
    found: dict[str, Mapping[str, Any]] = {name: run.read_json(name) for name in RECORDS}
    environment = {name: value for name, value in found["environment.json"].items() if name != "platform"}
    if host := environment.get("hostname"):
        environment["hostname"] = f"machine {hashlib.sha256(str(host).encode()).hexdigest()[:6]}"
    changed = {"environment.json": environment, "status.json": {**found["status.json"], "pid": 0}}
    content = {name: _json(one) for name, one in (found | changed).items() if one}
    rows = [row for row in run.read_metrics().rows if any(name.startswith(("val/", "test/")) for name in row)]
    if rows:
        content[METRICS] = "".join(f"{json.dumps(row)}\n" for row in rows).encode()
    for path in sorted(run.path.glob("*.npz")):
        if not path.name.endswith(LARGE):
            content[path.name] = run.file(path.name).read_bytes()
    return content


def _json(value: Mapping[str, Any]) -> bytes:
    return (json.dumps(value, indent=2) + "\n").encode()


def _packed(content: Mapping[str, bytes]) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as packed:
        for name in sorted(content):
            entry = zipfile.ZipInfo(name, _TIME)
            entry.compress_type, entry.create_system, entry.external_attr = (
                zipfile.ZIP_DEFLATED,
                3,
                0o644 << 16,
            )
            packed.writestr(entry, content[name], compresslevel=9)
    return out.getvalue()


def _read(file: Path) -> dict[str, bytes]:
    """Name -> content of an archive."""
    try:
        with zipfile.ZipFile(file) as packed:
            entries = packed.infolist()
            if (size := sum(entry.file_size for entry in entries)) > MAX_UNPACKED_BYTES:
                raise UserError(f"{file} would unpack to {size} bytes; an archive of runs holds less")
            for entry in entries:
                _check(file, entry.filename)
            return {entry.filename: packed.read(entry) for entry in entries}
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError, ValueError) as error:
        raise UserError(f"{file} is not an archive of runs, or is damaged: {error}") from error


def _check(file: Path, name: str) -> None:
    """Raises `UserError` for a name that is not `runs/STUDY/FILE` or `runs/STUDY/RUN/FILE`."""
    first, *rest = name.split("/")
    if first != "runs" or len(rest) not in (2, 3):
        raise UserError(f"{file} is not an archive of runs: it holds {name[:80]!r}")
    for part in rest:
        check_name(part, "name in an archive")
