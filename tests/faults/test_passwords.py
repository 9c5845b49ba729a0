"""Passwords in the addresses of stores stay out of logs, records, databases and messages."""

import os
import pwd
import shutil
import subprocess
import tempfile
from pathlib import Path

import pytest
from quick import QuickStudy
from servers import PASSWORD, free_port

from workbench.addresses import masked

pytestmark = pytest.mark.timeout(900)
WRONG = "Wrong-Battery-43"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("postgresql://me:a@b@host/db", "postgresql://me:***@host/db"),
        ("postgresql://me:a/b@host/db", "postgresql://me:***@host/db"),
        ("postgresql+psycopg://me:a:b@[::1]:5432/db", "postgresql+psycopg://me:***@[::1]:5432/db"),
        ("at http://:only@host, and http://b:two@host!", "at http://:***@host, and http://b:***@host!"),
        ("https://h/?access_token=abc&x=1", "https://h/?access_token=***&x=1"),
        ("postgresql://h/db?user=me&password=a%20b", "postgresql://h/db?user=me&password=***"),
        ("https://h/?api_key=abc", "https://h/?api_key=***"),
        ("max_tokens=5 tokens=7 http://127.0.0.1:5000/a", "max_tokens=5 tokens=7 http://127.0.0.1:5000/a"),
        ("sqlite:////a/me:x/b.db", "sqlite:////a/me:x/b.db"),
    ],
)
def test_every_spelling_of_a_password_is_masked_and_nothing_else(text, shown):
    assert masked(text) == shown


class Postgres:
    """A PostgreSQL server that wants a password, reached over TCP, run by an unprivileged user."""

    def __init__(self, programs):
        self.programs, self.port = programs, free_port()
        self.folder = Path(tempfile.mkdtemp(prefix="wb-pg-"))
        self.user = "postgres" if os.getuid() == 0 else None  # PostgreSQL refuses to run as root
        (self.folder / "password").write_text(PASSWORD)
        if self.user:
            owner = pwd.getpwnam(self.user)
            for path in (self.folder, self.folder / "password"):
                os.chown(path, owner.pw_uid, owner.pw_gid)
        self.call("initdb", "-U", "me", "-A", "scram-sha-256", f"--pwfile={self.folder}/password", "-N")
        options = f"-p {self.port} -k {self.folder} -c listen_addresses=127.0.0.1 -c fsync=off"
        self.call("pg_ctl", "-w", "-t", "240", "-l", str(self.folder / "log"), "-o", options, "start")

    def call(self, program, *words):
        subprocess.run(
            [self.programs / program, "-D", self.folder / "data", *words],
            user=self.user, group=self.user, extra_groups=[] if self.user else None, cwd=self.folder,
            stdout=subprocess.DEVNULL, check=True, timeout=300,
        )  # fmt: skip

    def address(self, password):
        return f"postgresql+psycopg://me:{password}@127.0.0.1:{self.port}/postgres"

    def dump(self):
        words = [self.programs / "pg_dump", "-h", "127.0.0.1", "-p", str(self.port), "-U", "me", "postgres"]
        done = subprocess.run(
            words, env=os.environ | {"PGPASSWORD": PASSWORD}, capture_output=True, text=True, check=True
        )
        return done.stdout

    def close(self):
        self.call("pg_ctl", "-w", "-t", "240", "-m", "immediate", "stop")
        shutil.rmtree(self.folder)


@pytest.fixture(scope="module")
def postgres():
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    path = str(found[-1]) if found else shutil.which("initdb")
    if path is None:
        pytest.skip("there is no PostgreSQL here")
    server = Postgres(Path(path).parent)
    yield server
    server.close()


def leaks(study):
    """Everything in which a password stands: files of the results, and what was printed."""
    places = [study.logfile, *study.results.rglob("*")]
    words = (PASSWORD.encode(), WRONG.encode())
    return [p for p in places if p.is_file() and any(word in p.read_bytes() for word in words)]


def test_a_whole_study_on_postgresql_leaves_no_trace_of_its_password(postgres, tmp_path):
    study = QuickStudy(tmp_path / "results", WORKBENCH_STORAGE=postgres.address(PASSWORD))
    study.variables["WORKBENCH_MLFLOW"] = f"http://me:{PASSWORD}@127.0.0.1:{free_port()}"
    assert study.run() == 0, study.log
    assert study.whole() == 4
    assert "4 runs are not in MLflow at http://me:***@127.0.0.1" in study.log
    assert leaks(study) == []
    dump = postgres.dump()
    assert "decay=0.3" in dump, "the study lies there"
    assert PASSWORD not in dump


@pytest.mark.parametrize("kind", ["password", "port", "driver", "address", "slash", "bracket"])
def test_a_storage_that_cannot_be_opened_is_named_without_its_password(kind, postgres, tmp_path):
    address = {
        "password": postgres.address(WRONG),
        "port": f"postgresql+psycopg://me:{WRONG}@127.0.0.1:{free_port()}/postgres",
        "driver": f"postgresql+nothing://me:{WRONG}@127.0.0.1/postgres",
        "address": f"postgresql+psycopg://me:{WRONG}@127.0.0.1:port/postgres",
        "slash": f"postgresql+psycopg://me:{WRONG}/x@127.0.0.1/postgres",
        "bracket": f"postgresql+psycopg://me:{WRONG}[x@127.0.0.1/postgres",
    }[kind]
    study = QuickStudy(tmp_path / "results")
    assert study.run("--storage", address, "--mlflow", "none") == 2, study.log
    assert study.log.startswith("error: ")
    assert study.log.count("\n") == 1, "one sentence, no traceback"
    assert "***" in study.log
    assert leaks(study) == []


def test_a_tracker_on_postgresql_with_a_wrong_password_is_a_warning(postgres, tmp_path):
    study = QuickStudy(tmp_path / "results")
    assert study.run("--mlflow", postgres.address(WRONG)) == 0, study.log
    assert study.whole() == 4
    assert "password authentication failed" in study.log
    assert "4 runs are not in MLflow at postgresql+psycopg://me:***@127.0.0.1" in study.log
    assert leaks(study) == []
