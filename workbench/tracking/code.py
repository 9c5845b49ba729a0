"""The code of a run, kept in its directory: uncommitted changes, and the user's own files.

`code/git.diff` is the output of `git diff HEAD` in each repository in question: that of the package, that of
the working folder and those of the user's own files; it leaves out files that git does not know. Of the
user's own files there are copies, `code/recipes/mine.py`. What an earlier attempt kept stays: where it
differs, the new file is called `git-2.diff`.
"""

from __future__ import annotations

import subprocess
from collections.abc import Iterable, Mapping
from pathlib import Path
from threading import Timer

from workbench.project_paths import PACKAGE
from workbench.tracking.files import write_atomic
from workbench.tracking.run_dir import RunDir

LIMIT = 1 << 20
"""Largest number of bytes kept of a diff or a file, because data in a repository may change by gigabytes."""
TIMEOUT = 20.0
"""Time limit of git in seconds."""


def keep(run: RunDir, own: Iterable[Mapping[str, str]]) -> dict[str, str]:
    """Writes both into `code/`; returns `code_diff`, the name of the diff, or nothing where none differs.

    own: what `run.json` records of the user's own files, see `workbench.extensions.record`.
    """
    paths = [Path(one["path"]) for one in own]
    # A name in a run directory begins with a letter; that of a helper, `_parts.py`, does not.
    files = {p: f"code/{p.parent.name}/{'helper' if p.name[0] == '_' else ''}{p.name}" for p in paths}
    for path, name in files.items():
        _kept(run, name, path.read_bytes()[:LIMIT])
    found = b"".join(_diff(root) for root in _roots([PACKAGE, Path.cwd(), *(path.parent for path in files)]))
    return {"code_diff": _kept(run, "code/git.diff", found)} if found else {}


def _roots(folders: Iterable[Path]) -> list[Path]:
    """The repositories in which these folders lie, each once; none where git is not there."""
    found = (
        _git(folder, "rev-parse", "--show-toplevel").decode(errors="replace").strip() for folder in folders
    )
    return [Path(root) for root in dict.fromkeys(found) if root]


def _diff(root: Path) -> bytes:
    """What was changed since the last commit, under a line with that commit; empty where nothing was."""
    changed = _git(root, "diff", "--no-ext-diff", "--no-textconv", "--no-color", "HEAD", limit=LIMIT + 1)
    if not changed:
        return b""
    commit = _git(root, "rev-parse", "HEAD").decode(errors="replace").strip()
    if len(changed) > LIMIT:
        whole = changed[:LIMIT].rpartition(b"\n")[0]
        changed = whole + f"\n# cut here: only the first {LIMIT} bytes are kept\n".encode()
    return f"# {root.name}, changed since {commit}\n".encode() + changed


def _git(folder: Path, *words: str, limit: int = 1 << 12) -> bytes:
    """Up to so many bytes of what git prints; nothing where it fails, as in a folder of no repository."""
    command = ["git", "--no-optional-locks", "-C", str(folder), *words]
    try:
        with subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
        ) as process:
            assert process.stdout is not None
            watch = Timer(TIMEOUT, process.kill)
            watch.start()
            found = process.stdout.read(limit)
            watch.cancel()
            if len(found) == limit:  # it would wait for somebody to read the rest
                process.kill()
                return found
            return found if process.wait() == 0 else b""
    except FileNotFoundError:  # no git
        return b""


def _kept(run: RunDir, name: str, content: bytes) -> str:
    """Writes a file unless it is there with this content, under a further name where it has another."""
    stem, dot, ending = name.rpartition(".")
    number, path = 1, run.file(name)
    while path.exists() and path.read_bytes() != content:
        number += 1
        name = f"{stem}-{number}{dot}{ending}"
        path = run.file(name)
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomic(path, content)
    return name
