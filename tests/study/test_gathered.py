"""Runs that were made on several machines answer together, and none of them is made again."""

from pathlib import Path

import pytest
from support import starts

from workbench.addresses import network_file_system
from workbench.tracking.__main__ import main as tracking

MOUNTS = """\
22 1 0:20 / / rw,relatime - ext4 /dev/root rw
30 22 0:40 / /group rw,relatime shared:1 - nfs4 server:/group rw
31 30 0:41 / /group/local\\040disk rw - xfs /dev/sdb rw
32 22 0:42 / /scratch rw - fuse.sshfs host: rw
33 22 0:43 / /mnt/wide rw - lustre a@tcp:/wide rw
"""


def test_the_study_goes_on_from_what_was_gathered(write_study, study, capsys):
    name = write_study()
    assert study(name, "--seeds", "1", "--results", "one") == 0
    assert study(name, "--seeds", "1,2", "--results", "two") == 0
    before = len(starts())
    assert tracking(["gather", "one", "two", "--into", "all"]) == 0
    assert "12 runs: 12 copied" in capsys.readouterr().out
    assert study(name, "--seeds", "3", "--results", "all") == 0
    assert capsys.readouterr().out.count("was complete, now entered") == 12
    assert len(starts()) == before, "no run is made again"


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/srv/results", ""),
        ("/group/me/results", "nfs4"),
        ("/group/local disk/results", ""),
        ("/groupless", ""),
        ("/scratch", "sshfs"),
        ("/mnt/wide/results", "lustre"),
    ],
)
def test_network_file_systems_are_known_by_their_mounts(path, kind):
    assert network_file_system(Path(path), MOUNTS) == kind


def test_an_sqlite_ledger_on_a_network_file_system_is_refused(write_study, study, monkeypatch, capsys):
    monkeypatch.setattr("workbench.addresses.mounts", lambda: "22 1 0:20 / / rw - nfs4 server:/ rw\n")
    name = write_study()
    assert study(name, mlflow="") == 2
    err = capsys.readouterr().err
    assert "lies on a network file system (nfs4), where SQLite" in err
    assert "--storage postgresql://" in err
    assert err.count("\n") == 1
    assert not Path("results").exists()
    assert study(name, "--plan") == 0, "looking does not lock"
