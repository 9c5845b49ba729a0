"""The Runs view: what the table lists, what a run's page tells, and what hostile words do there."""

import json
import os
import time

import pytest
from reading import said
from synthetic import BASE, RATIOS, grid, key_of, write_study

from app.markdown import escaped
from workbench.tracking.run_dir import RunDir

RUN = f"{key_of(BASE)}-s0"
HOSTILE = '<script>alert(1)</script> ![x](http://evil/x.png) $\\frac{1}{2}$ =cmd()|"A1"'


def listed(page):
    return page.dataframe[0].value


def test_the_table_lists_all_runs_and_filters_by_words(ratios, opened):
    ratios(failed={(3, 1)})
    page = opened(view="runs")
    table = listed(page)
    assert len(table) == 18
    assert {"cell", "seed", "state", "reason", "text-to-video R@1 (%)"} <= set(table.columns)
    assert "started from" not in table.columns, "where all start from random weights it says nothing"
    page.text_input(key="address: filter").set_value("FAILED 0.5").run()
    assert page.query_params["filter"] == "FAILED 0.5"
    assert listed(page)["reason"].tolist() == ["the loss vtc is not finite at step 5"]
    assert "1 of 18 runs" in said(page)


def test_runs_stand_in_the_order_of_the_plan(ratios, opened):
    ratios(seeds=(1, 0))
    table = listed(opened(view="runs"))
    plan = [f"video_ratio={c['video_ratio']} text_ratio={c['text_ratio']}" for c in RATIOS for _ in range(2)]
    assert table["cell"].tolist() == plan
    assert table["seed"].tolist() == [0, 1] * 6


def test_the_address_chooses_columns_and_filter(ratios, opened):
    ratios()
    page = opened(view="runs", columns=["seed", "env.torch"], filter="text_ratio=0.25")
    assert listed(page).columns.tolist() == ["seed", "env.torch"]
    assert len(listed(page)) == 9
    assert not page.warning


def test_weights_that_runs_started_from_are_a_column_and_on_the_page(ratios, opened):
    results = ratios(seeds=(0,))
    run = RunDir.of(results, "ratios", key_of(BASE), 0)
    start = "video: vit_small.lvd142m (sha256 0123456789ab), text: random init"
    run.write_json("environment.json", run.read_json("environment.json") | {"start": start})
    page = opened(view="runs", run=RUN)
    assert listed(page)["started from"].tolist().count(start) == 1
    assert escaped(f"Started from {start}") in said(page)


def test_a_link_to_a_run_shows_its_page_whatever_the_filter_says(ratios, opened):
    ratios()
    page = opened(view="runs", run=RUN, filter="nothing has this word")
    assert not page.exception
    assert page.subheader[0].value == escaped("video_ratio=0.0 text_ratio=0.0 seed 0")
    assert page.selectbox(key="address: run").value == RUN
    assert page.get("plotly_chart")


@pytest.mark.parametrize("part", ["curves", "masks", "config", "environment", "cost", "log"])
@pytest.mark.parametrize("bare", [True, False])
def test_every_part_of_a_page_opens_with_and_without_its_files(ratios, opened, part, bare):
    results = ratios(seeds=(0,))
    if bare:
        run = RunDir.of(results, "ratios", key_of(BASE), 0)
        for name in ("metrics.jsonl", "config.json", "environment.json", "summary.json"):
            run.file(name).unlink()
    page = opened(view="runs", run=RUN, part=part)
    assert not page.exception, page.exception[0].value
    assert bool(page.info) == (bare or part in ("masks", "log"))


def test_a_failed_run_says_why_and_shows_the_end_of_its_log(ratios, opened):
    results = ratios(failed={(0, 0)})
    log = RunDir.of(results, "ratios", key_of(BASE), 0).file("train.log")
    log.write_text("".join(f"line {i}\n" for i in range(5000)) + "Traceback: \x1b[31mit broke\n")
    page = opened(view="runs", run=RUN, part="log")
    assert any("not\\_finite\\: the loss vtc is not finite" in error.value for error in page.error)
    assert "it broke" in page.code[0].value
    assert "\x1b" not in page.code[0].value
    assert "line 1\n" not in page.code[0].value


def test_a_running_run_shows_how_far_it_is(ratios, opened):
    results = ratios()
    status = {"state": "running", "step": 30, "steps": 90, "seconds": 12.0, "updated": time.time()}
    run = RunDir.of(results, "ratios", key_of(BASE), 0)
    run.file("status.json").write_text(json.dumps(status))
    page = opened(view="runs", run=RUN)
    assert not page.exception
    assert "30 of 90" in said(page)
    assert page.get("progress")


def test_the_link_into_mlflow_needs_a_server(ratios, opened, monkeypatch):
    run = RunDir.of(ratios(), "ratios", key_of(BASE), 0)
    run.write_json("mlflow.json", {"address": "sqlite:////there/mlflow.db", "run_id": "abc123"})
    page = opened(view="runs", run=RUN)
    assert not page.get("link_button")
    assert page.code[0].value == "mlflow ui --host 127.0.0.1 --backend-store-uri sqlite:////there/mlflow.db"
    assert f"{RUN}, id abc123" in said(page)
    monkeypatch.setenv("WORKBENCH_MLFLOW_UI", "http://127.0.0.1:5000/")
    (button,) = opened(view="runs", run=RUN).get("link_button")
    assert button.url == "http://127.0.0.1:5000/#/runs/abc123"
    monkeypatch.setenv("WORKBENCH_MLFLOW_UI", "javascript:alert(1)")
    assert not opened(view="runs", run=RUN).get("link_button")


@pytest.mark.parametrize(
    "content", [b"", b"not a picture", b"\x89PNG\r\n\x1a\n broken"], ids=["empty", "words", "torn"]
)
def test_a_damaged_preview_is_no_end_of_the_page(ratios, opened, content):
    RunDir.of(ratios(), "ratios", key_of(BASE), 0).file("mask_preview.png").write_bytes(content)
    page = opened(view="runs", run=RUN, part="masks")
    assert not page.exception, page.exception[0].value
    assert page.error or page.info


def test_hostile_words_are_shown_as_words(results, opened):
    cells = grid(**{HOSTILE[:25]: [HOSTILE, "b"]})
    write_study(results, "ratios", cells, (0,), baseline=cells[1], steps=8)
    run = RunDir.of(results, "ratios", key_of(cells[0]), 0)
    run.write_json("status.json", {"state": "failed", "failure": "error", "reason": HOSTILE})
    page = opened(view="runs", run=f"{key_of(cells[0])}-s0")
    assert not page.exception
    shown = said(page)
    assert "<script>" not in shown
    assert "![x](" not in shown
    assert "$\\frac" not in shown
    assert any(HOSTILE in cell for cell in listed(page)["cell"])


def test_an_unreadable_run_is_listed_with_its_reason(ratios, opened):
    results = ratios()
    run = RunDir.of(results, "ratios", key_of(BASE), 0)
    run.file("run.json").write_text("{")
    os.utime(run.file("run.json"))
    page = opened(view="runs", run=RUN)
    assert not page.exception, page.exception[0].value
    assert "unreadable" in listed(page)["state"].tolist()


def test_a_page_starts_with_the_result_and_what_it_costs(ratios, opened):
    ratios(seeds=(0,))
    page = opened(view="runs", run=RUN)
    labels = [metric.label for metric in page.metric]
    assert labels == ["text-to-video R@1 (%)", "training GFLOPs per clip", "clips per second"]
    assert float(page.metric[0].value) == pytest.approx(30, abs=10)
    assert "Last update" in said(page)


def test_sorting_keeps_blanks_last_either_way(ratios, opened):
    ratios(failed={(0, 0)})
    for order in ("down", "up"):
        page = opened(view="runs", sort="metric.test/t2v_r1", order=order)
        column = listed(page)["text-to-video R@1 (%)"].tolist()
        assert column[-1] != column[-1]
        assert column[:-1] == sorted(column[:-1], reverse=order == "down")
    page.selectbox(key="address: sort").set_value("").run()
    assert listed(page)["seed"].tolist()[:3] == [0, 1, 2]


def test_the_best_cell_and_the_baseline_are_marked_beside_their_names(ratios, opened):
    ratios()
    table = listed(opened(view="runs"))
    assert table.columns[:4].tolist() == ["cell", "mark", "seed", "state"]
    assert table.columns[4] == "text-to-video R@1 (%)"
    assert table["mark"].tolist()[:3] == ["baseline"] * 3
    assert table["mark"].tolist().count("★ best by val") == 3


def test_a_baseline_that_is_best_itself_is_marked_as_both(ratios, opened):
    ratios(quality=lambda axes: 60 - 30 * (axes["video_ratio"] > 0) - 20 * (axes["text_ratio"] > 0))
    table = listed(opened(view="runs"))
    assert table["mark"].tolist() == ["★ best by val, baseline"] * 3 + [""] * 15


def test_the_best_cell_and_the_baseline_of_each_stratum_are_marked(ratios, opened):
    ratios(within=["text_ratio"])
    table = listed(opened(view="runs"))
    marks = dict(zip(table["cell"], table["mark"], strict=True))
    assert {cell: marks[cell] for cell in marks if "video_ratio=0.0" in cell} == {
        "video_ratio=0.0 text_ratio=0.0": "baseline",
        "video_ratio=0.0 text_ratio=0.25": "baseline",
    }
    best = [cell for cell, mark in marks.items() if mark == "★ best by val"]
    assert [cell.rpartition("=")[2] for cell in best].count("0.0") == 1
    assert [cell.rpartition("=")[2] for cell in best].count("0.25") == 1


def test_half_a_condition_says_so(ratios, opened):
    ratios()
    page = opened(view="runs", filter="r1 >")
    assert "r1 \\> is not a complete condition" in said(page)
    assert len(listed(page)) == 18


def test_a_note_is_kept_in_the_run_directory_and_a_pinned_run_comes_first(ratios, opened):
    results = ratios()
    run = f"{key_of(RATIOS[3])}-s1"
    page = opened(view="runs", run=run)
    page.text_area[0].set_value("odd <b>curve</b>")
    page.checkbox[0].set_value(True)
    next(button for button in page.button if button.label == "Save").click().run()
    assert not page.exception
    kept = json.loads(RunDir.of(results, "ratios", key_of(RATIOS[3]), 1).file("notes.json").read_text())
    assert (kept["note"], kept["pinned"]) == ("odd <b>curve</b>", True)
    assert listed(page)["note"].tolist()[0] == "pinned odd <b>curve</b>"
    assert listed(page)["seed"].tolist()[0] == 1
    assert len(listed(opened(view="runs", filter="odd"))) == 1
