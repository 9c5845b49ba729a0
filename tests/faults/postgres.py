"""PostgreSQL servers of our own, as an unprivileged user, reached by a socket only."""

import os
import pwd
import shutil
import subprocess
import tempfile
from contextlib import contextmanager
from pathlib import Path


def programs():
    """Folder of initdb and pg_ctl (Debian keeps them off the path), None where there is no PostgreSQL."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    path = str(found[-1]) if found else shutil.which("initdb")
    return Path(path).parent if path else None


class Server:
    """One that can be stopped and started again at the same address."""

    def __init__(self, folder, call):
        self.address = f"postgresql+psycopg://tester@/postgres?host={folder}"
        self._folder, self._call = folder, call

    def start(self):
        options = f"-k {self._folder} -c listen_addresses='' -c fsync=off"
        self._call("pg_ctl", "-w", "-t", "240", "-l", self._folder / "log", "-o", options, "start")

    def stop(self):
        self._call("pg_ctl", "-w", "-t", "240", "-m", "immediate", "stop")


@contextmanager
def server(bin_folder):
    """Runs a server while the block lasts, which should leave it running."""
    folder = Path(tempfile.mkdtemp(prefix="wb-pg-"))  # short: a socket's path has a hundred characters
    user = None
    if os.getuid() == 0:  # PostgreSQL refuses to run as root
        user = "postgres"
        owner = pwd.getpwnam(user)
        os.chown(folder, owner.pw_uid, owner.pw_gid)

    def call(program, *words):
        subprocess.run(
            [bin_folder / program, "-D", folder / "data", *words],
            user=user, group=user, extra_groups=[] if user else None, cwd=folder,
            stdout=subprocess.DEVNULL, check=True, timeout=300,
        )  # fmt: skip

    try:
        call("initdb", "-U", "tester", "-A", "trust", "-N")
        found = Server(folder, call)
        found.start()
        try:
            yield found
        finally:
            found.stop()
    finally:
        shutil.rmtree(folder)
