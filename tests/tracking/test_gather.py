"""Run directories of several machines come together, once or again, and nothing is lost on the way."""

import json
import os
import shutil
import threading
from pathlib import Path

import pytest
from finished_runs import finish, train

from workbench.tracking.__main__ import main
from workbench.tracking.files import LOOKS_LOCK, wait_for_lock
from workbench.tracking.gather import WAITING, gather
from workbench.tracking.run_dir import RunDir
from workbench.tracking.runs import load_runs


@pytest.fixture
def machine(make_run, tmp_path):
    """Makes a run on another machine, whose results lie in a folder of its name."""

    def make(name, **facts):
        return make_run(results=tmp_path / name, **facts)

    return make


def files(folder: Path) -> dict[str, bytes]:
    names = (path for path in sorted(folder.rglob("*")) if path.is_file() and path.name != "lock")
    return {str(path.relative_to(folder)): path.read_bytes() for path in names}


def test_runs_of_two_machines_come_together_once(machine, tmp_path, capsys):
    machine("one", seed=0), machine("one", seed=1), machine("two", seed=2)
    command = ["gather", str(tmp_path / "one"), str(tmp_path / "two"), "--into", str(tmp_path / "all")]
    assert main(command) == 0
    assert capsys.readouterr().out == "3 runs: 3 copied\n"
    assert load_runs(tmp_path / "all")["seed"].sort().to_list() == [0, 1, 2]
    assert (tmp_path / "all/runs/mask/study.json").exists()
    assert not (tmp_path / "all" / WAITING).exists()
    before = files(tmp_path / "all")
    for name in ("one", "two"):
        gathered = {key: value for key, value in files(tmp_path / name).items() if not key.startswith(".")}
        assert gathered.items() <= before.items()
    assert main(command) == 0
    assert capsys.readouterr().out == "3 runs: 3 there already\n"
    assert {k: v for k, v in files(tmp_path / "all").items() if "cache" not in k} == {
        k: v for k, v in before.items() if "cache" not in k
    }


@pytest.mark.parametrize(
    ("here", "there", "outcome"),
    [
        ({"state": "interrupted", "steps": 20}, {"state": "complete", "token": "u"}, "replaced"),
        ({"state": "complete"}, {"state": "complete", "token": "u", "cell": "other"}, "kept"),
        ({"state": "complete"}, {"state": "interrupted"}, "kept"),
        ({"state": "interrupted"}, {"state": "failed", "token": "u"}, "kept"),
    ],
)
def test_of_two_records_of_a_run_the_finished_or_further_one_stays(machine, tmp_path, here, there, outcome):
    ours, theirs = machine("all", **here), machine("one", **there)
    mine, others = files(ours.path), files(theirs.path)
    (found,) = gather([tmp_path / "one"], tmp_path / "all")
    assert found.outcome == outcome
    assert files(ours.path) == (others if outcome == "replaced" else mine)


def test_of_two_interrupted_records_the_one_that_is_further_on_stays(machine, tmp_path):
    ours, theirs = machine("all", state="interrupted"), machine("one", state="interrupted")
    train(theirs, 21, 25)
    finish(theirs, 25, "interrupted")
    assert [found.outcome for found in gather([tmp_path / "one"], tmp_path / "all")] == ["replaced"]
    assert ours.status().step == 25
    theirs.write_json("run.json", theirs.identity() | {"attempt": 2})
    theirs.set_status("interrupted", attempt=2, step=3)  # began anew under the same lease
    assert [found.outcome for found in gather([tmp_path / "one"], tmp_path / "all")] == ["replaced"]
    assert ours.status().attempt == 2


def test_what_is_at_work_on_either_side_is_left_alone(machine, tmp_path, capsys):
    running = machine("one", seed=0, state="running")
    held, here = machine("one", seed=1), machine("all", seed=1, state="interrupted")
    command = ["gather", str(tmp_path / "one"), "--into", str(tmp_path / "all")]
    with here.lock():
        before = files(here.path)
        assert main(command) == 2
        assert files(here.path) == before
    said = capsys.readouterr()
    assert f"{running.path} is still running" in said.err
    assert f"{here.path} is being worked on; gather {held.path} later" in said.err
    assert said.out == "2 runs: 2 still at work\n"


@pytest.mark.parametrize("known", [True, False])
def test_a_worker_that_comes_while_files_are_copied_keeps_its_directory(
    machine, tmp_path, monkeypatch, known
):
    """Its run is leased by nobody until the copy is in place, or stays with the worker who began it."""
    source = machine("one")
    ours = RunDir.of(tmp_path / "all", "mask", source.identity()["key"], source.identity()["seed"])
    if known:
        machine("all", state="interrupted")
    leases, copied = [], shutil.copyfile

    def copy(*paths):
        if not leases:
            leases.append(ours.try_lock())
        return copied(*paths)

    monkeypatch.setattr(shutil, "copyfile", copy)
    [found] = gather([tmp_path / "one"], tmp_path / "all")
    if known:
        assert leases == [None]
        assert found.outcome == "replaced"
        assert ours.status().state == "complete"
        assert not ours.alive(), "whoever comes now may have it"
    else:
        assert found.outcome == "refused"
        assert f"{ours.path} was begun while {source.path} was copied; repeat the command" in found.said
        assert [path.name for path in ours.path.iterdir()] == ["lock"]
        assert ours.alive(), "the lock that the worker holds is that of the directory"
        leases[0].release()
        assert [one.outcome for one in gather([tmp_path / "one"], tmp_path / "all")] == ["copied"]


def test_a_directory_that_a_worker_has_just_begun_is_left_alone(machine, tmp_path):
    source = machine("one")
    ours = RunDir.of(tmp_path / "all", "mask", source.identity()["key"], source.identity()["seed"])
    with ours.lock():  # and has written nothing yet
        assert [found.outcome for found in gather([tmp_path / "one"], tmp_path / "all")] == ["busy"]
        assert ours.alive()


def test_the_lock_of_a_directory_that_was_replaced_counts_for_nobody(machine, tmp_path):
    run = machine("one")
    with run.lock():
        opened = os.open
        fd = opened(run.file("lock"), os.O_RDWR)
        run.path.rename(tmp_path / "former")
        run.create()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "open", lambda *arguments: fd)  # of a worker who had opened it before
        assert run.try_lock() is None
    with run.lock():
        pass


def test_a_copy_that_was_broken_off_is_made_again(machine, tmp_path):
    machine("one")
    left = tmp_path / "all" / WAITING / "mask.left"
    left.mkdir(parents=True)
    (left / "run.json").write_text("{")
    assert [found.outcome for found in gather([tmp_path / "one"], tmp_path / "all")] == ["copied"]
    assert load_runs(tmp_path / "all").height == 1


def test_looks_at_claims_are_added(machine, tmp_path):
    for name, seeds in (("all", [0]), ("one", [0, 1])):
        run = machine(name, seed=len(seeds))
        (run.path.parent / "looks.json").write_text(json.dumps([{"seeds": seeds, "plan": "p"}]))
    folder = tmp_path / "all/runs/mask"
    with wait_for_lock(folder / LOOKS_LOCK):
        copying = threading.Thread(target=gather, args=([tmp_path / "one"], tmp_path / "all"))
        copying.start()
        copying.join(0.5)
        assert copying.is_alive(), "an answer is being noted"
    copying.join(10)
    looks = json.loads((folder / "looks.json").read_text())
    assert [look["seeds"] for look in looks] == [[0], [0, 1]]


def test_five_wrong_inputs_are_one_sentence_each(machine, tmp_path, capsys):
    run = machine("one")
    machine("all")
    (tmp_path / "file").write_text("")
    run.file("train.log").symlink_to("/etc/hostname")
    damaged = machine("damaged", seed=3)
    damaged.file("run.json").write_text("{")
    climbing = machine("climbing", seed=4)
    climbing.write_json("run.json", climbing.identity() | {"study": "../../elsewhere"})
    for source, target, said in (
        ("nowhere", "all", f"there is no run directory at or below {tmp_path / 'nowhere'}"),
        ("all", "all", f"{tmp_path / 'all'} is the folder into which runs are gathered; name another"),
        ("one", "file", f"--into must be a folder, but {tmp_path / 'file'} is a file"),
        ("one", "all", "is a link that leads out of"),
        ("damaged", "all", "run.json is not readable JSON"),
        ("climbing", "all", "is not a valid study name"),
    ):
        assert main(["gather", str(tmp_path / source), "--into", str(tmp_path / target)]) == 2
        err = capsys.readouterr().err
        assert said in err, source
        assert err.count("\n") == 1, err
    assert sorted(path.name for path in tmp_path.iterdir()) == ["all", "climbing", "damaged", "file", "one"]
    assert RunDir(run.path).status().state == "complete"
