"""Files that survive crashes: safe names, atomic replacement, locks that children keep.

Standard library only.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
import re
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Self

from workbench.errors import UserError

LOCK_FD = "WORKBENCH_LOCK_FD"
"""Environment variable: descriptor of a lock that the starting process handed down."""

LOOKS_LOCK = ".looks.lock"
"""In the folder of a study: held while `looks.json` is read and written, which several commands may do."""

_DISK = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EFBIG)

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.=-]{0,99}")
_RESERVED = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\..*)?", re.IGNORECASE)


def _read_umask() -> int:
    """The process's umask; there is no way to read it without setting it for a moment."""
    mask = os.umask(0o077)
    os.umask(mask)
    return mask


_UMASK = _read_umask()


def check_name(name: str, what: str = "name") -> str:
    """`name` unchanged if it is safe as one component of a path on any system, else `UserError`."""
    if not _NAME.fullmatch(name) or _RESERVED.fullmatch(name):
        shown = name if len(name) <= 40 else name[:40] + "..."
        raise UserError(
            f"{shown!r} is not a valid {what}: it must have up to 100 letters, digits, '_', '-', '.' or '=', "
            "and start with a letter or digit"
        )
    return name


def check_link(path: Path, inside: Path) -> None:
    """Refuses a symbolic link that leads out of the folder `inside`; what is no link passes."""
    if path.is_symlink() and not path.resolve().is_relative_to(inside.resolve()):
        raise UserError(f"{path} is a link that leads out of {inside}; replace it by what it stands for")


def check_folder(path: Path, what: str, *, writable: bool = True) -> None:
    """Refuses what is no folder and cannot become one, before any work is done for it.

    Args:
        what: the option that named it.
        writable: whether files are to be made there.
    """
    here = path.absolute()
    while not os.path.exists(here):  # also where one may not look
        here = here.parent
    if not here.is_dir():
        raise UserError(f"{what} must be a folder, but {here} is a file")
    if writable and not os.access(here, os.W_OK | os.X_OK):
        raise UserError(f"{what}: {here} is not writable")


def disk_full(error: BaseException) -> bool:
    """Whether an error says that nothing more can be written: full, over quota, read-only, file too large."""
    return isinstance(error, OSError) and error.errno in _DISK


@contextmanager
def naming(path: Path) -> Iterator[None]:
    """Adds the path to an `OSError` that names none, as those of writing to an open file."""
    try:
        yield
    except OSError as error:
        error.filename = error.filename or str(path)
        raise


def write_atomic(path: Path, content: str | bytes) -> None:
    """Replaces `path` in one step: after a crash or a full disk it holds the old or the new content.

    The temporary file lies beside it and is removed when writing fails; `OSError` names the path.
    """
    data = content.encode() if isinstance(content, str) else content
    with replacing(path) as temporary, open(temporary, "wb") as file:
        file.write(data)


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A temporary path beside `path` that replaces it, flushed to disk, when the block succeeds.

    For writers that want a file name of their own: `with replacing(p) as t: save_file(tensors, t)`.
    """
    descriptor, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    os.close(descriptor)
    temporary = Path(name)
    try:
        with naming(path):
            yield temporary
            # mkstemp makes files private; a record is as readable as any other file of the user.
            temporary.chmod(0o666 & ~_UMASK)
            _fsync(temporary)
            os.replace(temporary, path)
            _fsync(path.parent)
    finally:
        temporary.unlink(missing_ok=True)


class Lock:
    """The right to write a run directory, held until every process that shares it has let go.

    The lock belongs to the open file, so a child that inherits the descriptor keeps it alive when its
    parent dies, and the system frees it when the last holder dies. On one machine it is therefore the
    authority on whether a run is alive.
    """

    def __init__(self, fd: int) -> None:
        self.fd = fd

    def release(self) -> None:
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.release()


def try_lock(path: Path) -> Lock | None:
    """An exclusive lock on `path` (created when missing), or None while another process holds it.

    Several short attempts, so that somebody who merely looks whether it is taken is not in the way.
    """
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
    for attempt in range(5):
        if attempt:
            time.sleep(0.02)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            continue
        if _is_file(fd, path):
            return Lock(fd)
        break  # its directory was replaced meanwhile, by somebody who held the lock
    os.close(fd)
    return None


def wait_for_lock(path: Path) -> Lock:
    """An exclusive lock on `path`, once every other process has let go of it."""
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
    fcntl.flock(fd, fcntl.LOCK_EX)
    return Lock(fd)


def inherited_lock(path: Path) -> Lock | None:
    """The lock on `path` that the starting process handed down, if it did."""
    text = os.environ.get(LOCK_FD, "")
    if not text.isdigit():
        return None
    return Lock(int(text)) if _is_file(int(text), path) else None


def _is_file(fd: int, path: Path) -> bool:
    """Whether a descriptor is open, of the file that is at `path` now."""
    try:
        ours, wanted = os.fstat(fd), path.stat()
    except OSError:  # closed, or the file of a directory that is gone
        return False
    return (ours.st_dev, ours.st_ino) == (wanted.st_dev, wanted.st_ino)


def _fsync(path: Path) -> None:
    fd = os.open(path, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def slug(text: str) -> str:
    """A text as part of a file name, another one for another text: `budget 2x` becomes `budget-2x`."""
    found = re.sub("-+", "-", re.sub(r"[^A-Za-z0-9._=-]", "-", text)).strip("-.")
    readable = found.replace("-", " ") == text.replace(",", "") and len(found) <= 80
    return found if readable else f"{found[:60]}-{hashlib.sha256(text.encode()).hexdigest()[:8]}"


def kept_file(folder: Path, plan: str) -> Path:
    """Where a study's folder keeps the description of one of its plans, whatever is asked after it."""
    return folder / f"asked-{slug(plan)}.json"
