"""Small disks: a tmpfs of a given size where one may mount it, or a limit on the size of files."""

import errno
import os
import resource
import signal
import subprocess
from contextlib import contextmanager


def may_mount(folder):
    """Whether this process may mount file systems (root in most containers may not, root elsewhere may)."""
    folder.mkdir(parents=True)
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", folder], capture_output=True)
    if done.returncode == 0:
        subprocess.run(["umount", folder], check=True)
    return done.returncode == 0


class SmallDisk:
    """A tmpfs, and a file on it that takes what is left until it is freed."""

    def __init__(self, path, size):
        self.path, self.size = path, size
        self.filler = path / "filler"

    def fill(self, leave=0):
        """Leaves so many bytes free, also while other processes take and give back space on the same disk."""
        with open(self.filler, "ab") as file:
            while (more := self._free() - leave) > 0:
                try:
                    os.posix_fallocate(file.fileno(), 0, os.fstat(file.fileno()).st_size + more)
                except OSError as error:
                    if error.errno != errno.ENOSPC:
                        raise  # otherwise somebody took some of it first: what is left now is asked for

    def _free(self):
        left = os.statvfs(self.path)
        return left.f_bavail * left.f_frsize

    def free(self):
        self.filler.unlink()


@contextmanager
def small_disk(path, size="8m"):
    path.mkdir(parents=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", path], check=True)
    try:
        yield SmallDisk(path, size)
    finally:
        subprocess.run(["umount", "--lazy", path], check=True)


@contextmanager
def largest_file(size):
    """No file may grow beyond `size` bytes while the block runs: writing fails as on a full disk."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, ignored)
