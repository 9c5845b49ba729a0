"""Runs that were made on several machines answer together, and none of them is made again."""

from pathlib import Path

import pytest
from support import run_dirs, starts

from workbench.addresses import network_file_system
from workbench.report.__main__ import main as report
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


def test_gathered_runs_are_known_before_the_study_goes_on(write_study, study, capsys):
    name = write_study()
    assert study(name, "--seeds", "1", "--results", "one") == 0
    assert tracking(["gather", "one", "--into", "all"]) == 0
    capsys.readouterr()
    assert study(name, "--seeds", "2", "--status", "--results", "all") == 0
    assert "8 runs expected: 4 complete, 4 missing." in capsys.readouterr().out
    assert study(name, "--seeds", "1", "--plan", "--results", "all") == 0
    assert "nothing is left to do" in capsys.readouterr().out
    assert not Path("all/optuna.db").exists(), "looking writes nothing"


def test_a_run_whose_record_says_not_whose_it_is_has_failed_for_status_and_report(write_study, study, capsys):
    name = write_study()
    assert study(name, "--seeds", "2") == 0
    damaged = run_dirs()[0]
    damaged.file("run.json").write_text('{"study": "fa')
    capsys.readouterr()
    assert study(name, "--seeds", "2", "--status") == 0
    status = capsys.readouterr().out
    assert "7 complete, 1 failed" in status
    (told,) = (line.strip() for line in status.splitlines() if "not readable JSON" in line)
    assert str(damaged.file("run.json")) in told
    assert told.endswith("; mend it, or delete its folder to run it again")
    assert report([name]) == 0
    assert f"{told}.\n" in capsys.readouterr().out


@pytest.mark.parametrize("gathered", [False, True])
def test_settings_that_are_not_known_are_told_by_status_and_report(write_study, study, capsys, gathered):
    name = write_study()
    assert study(name, "--seeds", "1") == 0
    odd = run_dirs()[0]
    config = odd.read_json("config.json")
    config["optim"]["of_tomorrow"] = 1
    odd.write_json("config.json", config | {"from_tomorrow": {"a": 1}})
    for kept in Path("results/runs", name).glob(".table*"):  # a foreign run comes without what was read of it
        kept.unlink()
    if gathered:
        Path("results/optuna.db").unlink()
    capsys.readouterr()
    assert study(name, "--seeds", "1", "--status") == 0
    status = capsys.readouterr().out
    assert "4 complete" in status
    (told,) = (line.strip() for line in status.splitlines() if "config.json" in line)
    assert "seed 0: its config.json has optim.of_tomorrow, from_tomorrow, which this version" in told
    assert report([name]) == 0
    assert f"{told}.\n" in capsys.readouterr().out
    assert told in Path(f"results/reports/{name}/answer.md").read_text()


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
