"""The Study view: how far it is, what went wrong, and that it follows a study that runs."""

import json
import re

from reading import said
from synthetic import RATIOS, grid, key_of

from workbench.tracking.run_dir import RunDir


def words(page):
    bars = " ".join(bar.text for bar in page.get("progress"))
    return (said(page) + bars).replace("\\", "")


def test_an_unfinished_study_says_how_far_it_is_and_what_went_wrong(ratios, opened):
    page = opened_at(ratios, opened, failed={(1, 2)}, skip={(2, 1), (5, 0)})
    assert "18 runs: 15 done, 1 failed, 2 missing; about 3 min left." in words(page)
    troubles, states, answer = (frame.value for frame in page.dataframe)
    assert troubles["reason"].tolist() == ["not_finite: the loss vtc is not finite at step 5"]
    assert states["seed 1"].tolist().count("· missing") == 1
    assert "text-to-video" not in answer.columns[0]
    assert len(answer) == 6


def opened_at(ratios, opened, **options):
    ratios(**options)
    page = opened(["Every cell and seed"], view="study")
    assert not page.exception
    return page


def test_a_finished_study_has_its_answer_first(ratios, opened):
    page = opened_at(ratios, opened)
    answer, states = (frame.value for frame in page.dataframe)
    assert "text-to-video R@1 (%)" in answer.columns
    assert set(states["seed 0"]) == {"✓ done"}
    assert "18 runs: 18 done." in words(page)
    lines = [element.value.replace("\\", "") for element in page.markdown]
    (paid,) = [line for line in lines if line.startswith("Training GFLOPs per clip: ")]
    assert re.fullmatch(r"[\w ]+: \S+ against \S+ of the baseline; clips per second: \S+ against \S+", paid)
    assert f"({paid[0].lower()}{paid[1:]})" in words(page), "as the sentence has it"


def test_without_a_complete_run_the_states_are_told_with_the_command(ratios, opened):
    page = opened_at(ratios, opened, skip={(i, s) for i in range(6) for s in range(3)})
    assert "18 runs: 18 missing." in words(page)
    assert "python -m workbench.study ratios" in said(page)


def test_the_next_look_finds_what_has_changed(ratios, opened, monkeypatch):
    monkeypatch.setattr("app.store.REFRESH", 0.0)
    results = ratios(skip={(5, 0)})
    page = opened(view="study")
    assert "17 done, 1 missing" in words(page)
    source = RunDir.of(results, "ratios", key_of(RATIOS[4]), 0)
    new = RunDir.of(results, "ratios", key_of(RATIOS[5]), 0)
    new.create()
    for name in ("config.json", "environment.json"):
        new.file(name).write_text(source.file(name).read_text())
    axes = RATIOS[5]
    new.write_json("run.json", {"study": "ratios", "key": key_of(axes), "seed": 0, "axes": axes,
                                "cell": "video_ratio=0.9 text_ratio=0.25", "attempt": 1})  # fmt: skip
    status = {"state": "running", "step": 30, "steps": 90, "updated": 9e9, "seconds": 9.0}
    new.file("status.json").write_text(json.dumps(status))
    page.run()
    assert not page.exception
    assert "17 done, 1 running" in words(page)


def test_registered_contrasts_are_told_in_their_order(ratios, opened):
    def side(*ratio):
        cells = [key_of(axes) for axes in RATIOS if axes["video_ratio"] in ratio]
        return {"cells": cells, "axes": {"video_ratio": list(ratio)}}

    listed = [
        {"text": "hiding video helps", "of": side(0.5, 0.9), "against": side(0.0)},
        {"text": "more is better", "of": side(0.9), "against": side(0.5)},
    ]
    page = opened_at(ratios, opened, contrasts=listed, seeds=range(5), spread=1.0)
    table = page.dataframe[0].value
    assert table["contrast"].tolist() == ["hiding video helps", "more is better"]
    assert table.columns[1].startswith("difference"), "in sight, beside the contrast"
    assert table.columns[-2:].tolist() == ["of", "against"]
    assert table["result"].tolist() == ["significant: video_ratio=0.5 or 0.9 is better", "not significant"]
    assert "tested in their order, 1 may be claimed" in words(page)


def test_curves_over_budgets_are_the_picture_and_their_sentences_are_told(ratios, opened):
    cells = grid(pflops=[0.01, 0.02, 0.04], ratio=[0.5, 0.9])
    rise = {0.5: (10, 40, 70), 0.9: (40, 45, 50)}
    page = opened_at(
        ratios, opened, cells=cells, baseline=cells[0], within=["pflops"], over="pflops",
        quality=lambda axes: rise[axes["ratio"]][[0.01, 0.02, 0.04].index(axes["pflops"])],
    )  # fmt: skip
    assert re.search(r"the curves of ratio=0\.5 and ratio=0\.9 cross at pflops=0\.0(19|20?\b)", words(page))
    assert "may be the best" in page.dataframe[0].value.columns
