"""How far a study is: states, time left, and the reasons of what went wrong."""

import json

import pytest
from synthetic import RATIOS, key_of

from workbench.answer.progress import next_step, progress
from workbench.answer.study_record import load
from workbench.tracking.run_dir import RunDir
from workbench.tracking.runs import load_runs

NOW = 1_800_000_000.0


def state_of(results):
    return progress(load(results, "ratios"), load_runs(results, "ratios"), NOW)


def set_status(results, cell, seed, **status):
    path = RunDir.of(results, "ratios", key_of(RATIOS[cell]), seed).file("status.json")
    path.write_text(json.dumps({"step": 0, "steps": 100, "attempt": 1, "updated": NOW} | status))


def test_every_cell_and_seed_is_told(ratios):
    results = ratios(seeds=(0, 1), skip={(5, 1)}, failed={(4, 0)})
    set_status(results, 0, 1, state="running", step=25, seconds=20.0)
    set_status(results, 1, 1, state="running", step=50, seconds=20.0, updated=NOW - 3600)
    set_status(results, 2, 1, state="interrupted", reason="stopped at step 10", step=10)
    RunDir.of(results, "ratios", key_of(RATIOS[3]), 1).file("run.json").write_text("{")
    found = state_of(results)
    assert found.counts == {
        "complete": 6, "running": 1, "silent": 1, "interrupted": 1, "failed": 1, "unreadable": 1,
        "missing": 1,
    }  # fmt: skip
    assert found.total == 12
    assert found.share == pytest.approx((6 + 0.25) / 12), "a run that is silent or stopped is no progress"
    assert found.unfinished
    assert found.table["cell"].to_list() == [f"video_ratio={c['video_ratio']} text_ratio={c['text_ratio']}"
                                             for c in RATIOS]  # fmt: skip
    assert found.table["seed 1"].to_list() == [
        "▶ 25 %", "▷ silent 50 %", "‖ stopped 10 %", "✗ unreadable", "✓ done", "· missing",
    ]  # fmt: skip
    reasons = dict(zip(found.troubles["state"], found.troubles["reason"], strict=True))
    assert reasons["failed"] == "not_finite: the loss vtc is not finite at step 5"
    assert reasons["interrupted"] == "stopped at step 10"
    assert reasons["silent"] == "no sign of life for 60 min"
    assert "run.json" in reasons["unreadable"]


def test_time_left_goes_by_what_the_cell_took_and_by_how_many_run(ratios):
    results = ratios(seeds=(0, 1), skip={(0, 1), (1, 1)})
    assert state_of(results).seconds_left == pytest.approx(180)
    assert state_of(results).sentence() == "12 runs: 10 done, 2 missing; about 3 min left."
    run = RunDir.of(results, "ratios", key_of(RATIOS[0]), 0)
    run.write_json("summary.json", run.summary() | {"speed/total_seconds": 300.0})
    assert state_of(results).seconds_left == pytest.approx(390)
    for cell in (2, 3):
        set_status(results, cell, 1, state="running", step=50, seconds=45.0)
    assert state_of(results).seconds_left == pytest.approx((300 + 90 + 45 + 45) / 2)


def test_a_first_run_tells_how_long_the_others_will_take(ratios):
    results = ratios(seeds=(0,), skip={(i, 0) for i in range(1, 6)})
    set_status(results, 0, 0, state="running", step=2, seconds=2.0)
    assert state_of(results).seconds_left is None
    set_status(results, 0, 0, state="running", step=50, seconds=50.0)
    assert state_of(results).seconds_left == pytest.approx(550)


def test_a_finished_study_has_nothing_left(ratios):
    found = state_of(ratios(seeds=(0,), failed={(1, 0)}))
    assert not found.unfinished
    assert found.seconds_left is None
    assert found.sentence() == "6 runs: 5 done, 1 failed."


def test_no_run_at_all(ratios):
    found = state_of(ratios(seeds=(0,), skip={(i, 0) for i in range(6)}))
    assert found.counts == {"missing": 6}
    assert found.sentence() == "6 runs: 6 missing."


def step_of(results):
    return next_step(load(results, "ratios"), state_of(results)).command


def test_what_comes_next_is_a_command(ratios):
    study = "python -m workbench.study ratios"
    assert (
        step_of(ratios(seeds=(0, 1), skip={(5, 1)}, arguments=["ratios", "--seeds", "2"]))
        == f"{study} --seeds 2"
    )
    assert step_of(ratios(seeds=(0, 1))) == "python -m workbench.report ratios"
    assert (
        step_of(ratios(seeds=(0, 1), plan="budget 2x"))
        == "python -m workbench.report ratios --asked 'budget 2x'"
    )


def test_one_seed_asks_for_more_and_a_smoke_test_for_the_real_study(ratios):
    study = "python -m workbench.study ratios"
    assert step_of(ratios(seeds=(0,), arguments=["ratios", "--quick"])) == study
    assert step_of(ratios(seeds=(0,), arguments=["ratios", "--seeds", "1"])) == f"{study} --seeds 3"
    assert step_of(ratios(seeds=(0,), smoke=True, plan="smoke", arguments=["ratios", "--smoke"])) == study
    unfinished = ratios(seeds=(0, 1), skip={(5, 1)}, smoke=True, arguments=["ratios", "--smoke"])
    assert step_of(unfinished) == f"{study} --smoke"
