"""A study that is killed again and again ends with the same record as one that was left alone."""

import os
import random
import signal
import time

import pytest
from real import FULL, Study, identities, in_mlflow, record, trials, until
from studies.tiny import STEPS

KILLS = 20 if FULL else 3
VICTIMS = [("runner",), ("run",), ("runner", "run"), ("run",), ("runner", "fork_server", "run")]
"""In turn. A run that is killed thrice under one runner is given up by rule, so runners die in between."""
WORKERS_KILLED = 10 if FULL else 2
FREQUENT = ("--save-every", "0.2", "--retry")


@pytest.mark.timeout(3600)
def test_a_study_killed_at_random_moments_ends_like_an_undisturbed_one(tiny, undisturbed):
    rng = random.Random(20)
    work = STEPS * len(undisturbed.directories())
    moments = sorted(rng.randrange(int(0.95 * work)) for _ in range(KILLS))
    hits = []
    tiny.start(*FREQUENT)
    for number, moment in enumerate(moments):
        if number % 5 == 4:  # soon after the start: while it imports, repairs, migrates
            time.sleep(rng.uniform(0, 8))
        else:
            until(lambda m=moment: tiny.steps() >= m or tiny.process.poll() is not None)
            time.sleep(rng.uniform(0, 0.1))
        assert tiny.process.poll() is None, tiny.log
        hit = tiny.kill(*VICTIMS[number % len(VICTIMS)]) or tiny.kill("runner")  # no run at this moment
        hits.append("+".join(hit))
        if tiny.process.poll() is not None:
            tiny.start(*FREQUENT)
    assert tiny.process.wait(1200) == 0, tiny.log
    print(f"kills: {', '.join(hits)}")
    assert all(hits)
    assert len(hits) == KILLS
    complete_and_equal(tiny, undisturbed)


@pytest.fixture
def pair(tmp_path, request):
    """A study for two workers, its options, and the same study left alone.

    `mask_ratio` with three seeds, so that three of its fifteen runs are still to be done at the last kill:
    with one seed the last two of five are over within seconds.
    """
    if not FULL:
        yield request.getfixturevalue("tiny"), (), request.getfixturevalue("undisturbed")
        return
    options = ("--smoke", "--seeds", "3", "--workers", "2")
    alone, killed = (Study(tmp_path / name, tmp_path / "data", "mask_ratio") for name in ("alone", "killed"))
    assert alone.run(*options) == 0, alone.log
    yield killed, options[:3], alone
    if killed.process is not None and killed.process.poll() is None:
        os.kill(killed.process.pid, signal.SIGTERM)
        killed.process.wait(120)


@pytest.mark.timeout(3600)
def test_two_workers_do_each_run_once_though_one_is_killed_again_and_again(pair):
    """In turn a worker whose runs the other one takes over, and the one that is left, with the command."""
    study, options, alone = pair
    rng = random.Random(16)
    work = alone.steps()
    moments = sorted(rng.randrange(int(0.8 * work)) for _ in range(WORKERS_KILLED))
    study.start(*options, "--workers", "2", *FREQUENT)
    for number, moment in enumerate(moments):
        wanted = 1 if number % 2 else 2
        until(lambda m=moment: study.steps() >= m or study.process.poll() is not None)
        until(lambda n=wanted: len(study.workers()) == n or study.process.poll() is not None)
        assert study.process.poll() is None, study.log
        time.sleep(rng.uniform(0, 0.1))
        os.kill(rng.choice(study.workers()), signal.SIGKILL)
        if wanted == 1:
            study.kill("runner")
            study.start(*options, "--workers", "2", *FREQUENT)
    assert study.process.wait(1200) == 0, study.log
    complete_and_equal(study, alone)


def complete_and_equal(study, undisturbed):
    """Every cell and seed once, bit-equal, the same in MLflow, nothing left RUNNING."""
    done = [(key, seed) for key, seed, state in trials(study) if state == "COMPLETE"]
    assert sorted(done) == sorted(identities(undisturbed)), "each cell and seed exactly once"
    assert {state for *_, state in trials(study)} <= {"COMPLETE", "FAIL"}
    assert identities(study) == identities(undisturbed)
    for one, other in zip(study.directories(), undisturbed.directories(), strict=True):
        assert record(one) == record(other)
    mirrored = in_mlflow(study)
    assert {status for status, _ in mirrored.values()} == {"FINISHED"}
    assert mirrored == in_mlflow(undisturbed)
