"""What the page says of itself while runs go on: older numbers, new studies, and that a smoke test is one."""

import json
import shutil

import pytest
from reading import said
from synthetic import BASE, RATIOS, grid, key_of, write_run, write_study

from app import dashboard
from app.runs import Runs
from app.store import Store
from workbench.answer.study_record import smoke_cells
from workbench.tracking.archive import archive, unpack

SMALL = grid(video_ratio=[0.0, 0.9], steps=[3])


@pytest.fixture
def looked(monkeypatch, results):
    """Looks at the study `ratios` anew at each call, always with the same store."""
    monkeypatch.setattr("app.store.REFRESH", 0.0)
    store = Store(results)
    return lambda: Runs.of(store, "ratios", ("ratios",))


def grow(results, seed, state="complete"):
    for axes in RATIOS:
        cell = {"key": key_of(axes), "cell": "one more", "axes": axes}
        write_run(results, "ratios", cell, seed, 40, 1, state=state)


def test_a_page_says_how_much_more_has_ended_and_which_studies_have_begun(ratios, looked):
    results = ratios()
    before = looked()
    grow(results, 3)
    assert looked().version != before.version
    text = dashboard._since(before, looked(), ["other"])
    assert "6 more runs have ended since it was opened." in text
    assert "A study has begun since: other." in text
    path = results / "runs/ratios/study.json"
    before = looked()
    path.write_text(path.read_text().replace("How much", "How little"))
    assert "the plan or its runs have changed" in dashboard._since(before, looked(), [])


def test_a_run_that_begins_changes_what_runs_lists_and_no_answer(ratios, looked):
    results = ratios()
    before = looked()
    grow(results, 3, state="running")
    assert looked().version == before.version
    assert len(looked().standing - before.standing) == len(RATIOS)


def test_looking_takes_a_small_share_of_the_time(ratios, looked, monkeypatch):
    ratios()
    seen = looked().store.study("ratios")
    monkeypatch.setattr("app.store.REFRESH", 2.0)
    object.__setattr__(seen, "took", 1.0)
    assert seen.stale_at - seen.at == pytest.approx(20.0)
    object.__setattr__(seen, "took", 0.001)
    assert seen.stale_at - seen.at == pytest.approx(2.0)


@pytest.mark.parametrize("smoke", [True, False])
@pytest.mark.parametrize("view", ["study", "effects", "runs"])
def test_a_smoke_test_and_no_other_study_carries_a_badge(ratios, opened, view, smoke):
    ratios(smoke=smoke, plan="smoke" if smoke else "as the study asks")
    assert ("Smoke test" in said(opened(view=view))) == smoke


def test_smoke_runs_beside_real_ones_say_so_wherever_they_are_listed(ratios, results, opened):
    ratios()
    real = (results / "runs/ratios/study.json").read_text()
    write_study(results, "ratios", SMALL, (0,), baseline=SMALL[0], smoke=True, plan="smoke")
    (results / "runs/ratios/study.json").rename(results / "runs/ratios/asked-smoke.json")
    (results / "runs/ratios/study.json").write_text(real)
    assert smoke_cells(results, "ratios") == {key_of(axes) for axes in SMALL}
    cells = opened(view="runs").dataframe[0].value["cell"].tolist()
    assert [cell.endswith("(smoke test)") for cell in cells] == [False] * 18 + [True] * 2
    assert "Smoke test" not in said(opened(view="runs"))
    (results / "runs/ratios/asked-smoke.json").write_text("{")
    assert smoke_cells(results, "ratios") == frozenset()


@pytest.mark.parametrize(
    ("seeds", "metric", "offered", "why"),
    [
        ((0, 1), "t2v_r1", ["seeds", "queries", "seeds+queries"], ""),
        ((0,), "t2v_r1", ["queries"], "every cell has one seed so far"),
        ((0, 1), "stage0_t2v_r1", ["seeds"], "is not a mean over queries"),
        ((0,), "stage0_t2v_r1", [], "No error bar: every cell has one seed so far"),
    ],
)
def test_an_error_bar_that_does_not_exist_is_not_offered(ratios, opened, seeds, metric, offered, why):
    ratios(seeds=seeds)
    page = opened(view="effects", metric=metric)
    assert not page.exception, page.exception[0].value
    controls = [group for group in page.button_group if group.label == "Error bar"]
    words = {"seeds": "seeds", "queries": "queries", "seeds+queries": "both"}
    assert [option for group in controls for option in group.options] == [words[kind] for kind in offered]
    assert why in said(page).replace("\\", "")


def test_intervals_stay_where_the_metric_can_be(ratios, opened):
    ratios(seeds=(0, 1), quality=lambda axes: 1.0, spread=3.0)
    page = opened(["The numbers"], view="effects")
    cells = page.dataframe[0].value
    limits = [json.loads(limit) for limit in cells["text-to-video R@1 (%): interval"]]
    assert all(0 <= low <= high <= 100 for low, high in limits)
    assert any(low == 0 for low, _ in limits)


def test_curves_of_several_cells_are_means_with_bands_and_runs_under_way_are_dotted(ratios, opened):
    results = ratios(skip={(5, 2)})
    cell = {"key": key_of(RATIOS[5]), "cell": "the last", "axes": RATIOS[5]}
    write_run(results, "ratios", cell, 2, 40, 1, steps=12, state="running")
    page = opened(view="curves")
    assert not page.exception, page.exception[0].value
    text = said(page).replace("\\", "")
    assert "means over complete runs of up to 3 seeds; bands span the minimum to the maximum" in text
    assert "Smoothed with a weight of 0.9. Dotted lines are runs that are not complete." in text
    (chart,) = page.get("plotly_chart")
    spec = json.loads(chart.proto.spec)["data"]
    lines = [trace for trace in spec if trace.get("fill") != "toself"]
    assert len(lines) == len(RATIOS) + 1
    assert [trace["line"]["dash"] for trace in lines].count("dot") == 1


def test_evaluations_are_points_and_are_not_smoothed(ratios, opened):
    ratios()
    page = opened(view="curves", curve="val/t2v_r1", clock="pflops", cells=[key_of(BASE), key_of(RATIOS[1])])
    assert not page.exception
    assert page.slider(key="address: smoothing_eval").value == 0
    spec = json.loads(page.get("plotly_chart")[0].proto.spec)["data"]
    assert [trace["mode"] for trace in spec] == ["lines+markers"] * 2
    assert "error bars span the minimum to the maximum" in said(page)


def gathered(results, without=()):
    """The study as it comes out of an archive; without: numbers of cells of which no row has a loss."""
    file = results.parent / "ratios.zip"
    for i, axes in enumerate(RATIOS):
        for path in results.glob(f"runs/ratios/{key_of(axes)}-s*/metrics.jsonl"):
            if i in without:
                lines = map(json.loads, path.read_text().splitlines())
                rows = [{k: v for k, v in line.items() if k != "train/loss"} for line in lines]
                path.write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    archive(results, ["ratios"], file)
    shutil.rmtree(results)
    unpack(file, results)


def test_curves_of_gathered_runs_begin_with_val_and_name_the_cells_that_have_no_loss(ratios, opened):
    gathered(ratios(), without=(1, 3))
    page = opened(view="curves")
    assert not page.exception, page.exception[0].value
    assert page.selectbox(key="address: curve").value == "val/t2v_r1"
    assert "Without a curve" not in said(page)
    chosen = [key_of(RATIOS[i]) for i in (0, 1, 3)]
    page = opened(view="curves", curve="train/loss", cells=chosen)
    assert page.slider(key="address: smoothing_train").value == 0
    text = said(page).replace("\\", "")
    assert (
        "Without a curve, since no run has recorded training loss over steps: video_ratio=0.0 "
        "text_ratio=0.25 (3 runs); video_ratio=0.5 text_ratio=0.25 (3 runs)."
    ) in text
    assert "Runs from an archive have only what was recorded together with an evaluation." in text
    assert "Smoothed" not in text


def test_a_chosen_cell_without_a_run_is_named_beside_the_curves(ratios, opened):
    ratios(skip={(1, 0), (1, 1), (1, 2)})
    page = opened(view="curves", cells=[key_of(BASE), key_of(RATIOS[1])])
    assert page.selectbox(key="address: curve").value == "train/loss"
    assert "video_ratio=0.0 text_ratio=0.25 (no run yet)." in said(page).replace("\\", "")


def test_the_study_view_shows_its_answer_as_one_number_and_a_picture(ratios, opened):
    ratios()
    page = opened(view="study")
    assert not page.exception, page.exception[0].value
    (number,) = page.metric
    assert number.value.endswith(" %")
    assert "against" in number.delta
    assert "chance level 0.2" in said(page).replace("\\", "")
    chance = json.loads(page.get("plotly_chart")[0].proto.spec)["layout"]["shapes"][0]
    assert chance["y0"] == pytest.approx(0.2)
    words = said(page)
    assert words.index("May be claimed") < words.index("Not claimed")
    assert "python -m workbench.report ratios" in words
