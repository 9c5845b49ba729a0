"""A task of somebody's own: its queries lie in a file of its own, and its metrics say which way is better."""

from dataclasses import replace

import numpy as np
import pytest
from synthetic import BASE, QUERIES, RATIOS, key_of, write_study

from app.runs import Runs
from app.store import Store
from workbench import tasks
from workbench.figures.style import label
from workbench.metrics import Metric, Queries
from workbench.report import latex, pictures, rows
from workbench.report.page import page
from workbench.tasks import queries_of

FILE = "shuffling.npz"
WHERE = {"file": FILE, "ids": "t2v_id", "groups": "t2v_group"}
ACCURACY = Metric(
    name="order_acc", label="order of shuffled frames", unit="%", difference="points of order accuracy",
    low=0.0, high=100.0, queries=Queries(values="t2v_right", **WHERE),
)  # fmt: skip
DROP = Metric(
    name="order_drop", label="drop when shuffled", unit="points", direction="minimize",
    queries=Queries(values="t2v_drop", **WHERE),
)  # fmt: skip
COST = "cost/train_gflops_per_clip"


@pytest.fixture(autouse=True)
def toy(monkeypatch):
    """The metrics of the toy task beside those that there are."""
    known = tasks.metrics() | {metric.name: metric for metric in (ACCURACY, DROP)}
    monkeypatch.setattr(tasks, "metrics", lambda: known)


@pytest.fixture
def shuffled(results, change):
    """Writes the study `shuffled`: the more of the video is hidden, the better and the cheaper."""

    def write(metric, direction, seeds=(0, 1, 2)):
        write_study(
            results, "shuffled", RATIOS, seeds, baseline=BASE, metric=metric, direction=direction,
            cost=lambda axes: 1.0 - axes["video_ratio"],
        )  # fmt: skip
        for axes in RATIOS:
            for seed in seeds:
                rng = np.random.default_rng([int(key_of(axes), 16), seed])
                right = np.where(rng.random(QUERIES) < 0.3 + 0.5 * axes["video_ratio"], 100.0, 0.0)
                drop = 10.0 - 8.0 * axes["video_ratio"] + rng.standard_normal(QUERIES)
                means = {"order_acc": right.mean(), "order_drop": drop.mean()}
                scores = {f"{at}/{name}": value for at in ("val", "test") for name, value in means.items()}
                path = change("shuffled", key_of(axes), seed, "summary.json", scores)
                ids = [f"q{i}" for i in range(QUERIES)]
                clips = [f"c{i // 2}" for i in range(QUERIES)]
                np.savez(path.with_name(FILE), t2v_right=right, t2v_drop=drop, t2v_id=ids, t2v_group=clips)
        return results

    return write


HIDING = key_of(RATIOS[-1])


def file_of(results, key, seed):
    return results / "runs/shuffled" / f"{key}-s{seed}" / FILE


def best(found):
    """Axes of the cell that was selected."""
    return found.asked.cells[found.best]


def test_an_accuracy_of_another_task_is_compared_query_by_query(shuffled, answered):
    results = shuffled("order_acc", "maximize")
    found = answered("shuffled")
    c = found.comparisons[HIDING]
    assert (c.interval.kind, c.clusters, c.unit) == (
        "seeds+queries",
        QUERIES // 2,
        "points of order accuracy",
    )
    assert found.standing(HIDING) == "better"
    assert best(found)["video_ratio"] == 0.9
    means = [
        np.mean([np.load(file_of(results, key, seed))["t2v_right"] for seed in range(3)])
        for key in (HIDING, key_of(BASE))
    ]
    assert c.effect == pytest.approx(means[0] - means[1])
    level = 100 * c.claimed_interval.level
    assert f"points of order accuracy ({level:.3g} % interval" in found.sentence
    assert "in points of order accuracy" in page(found, [])
    assert "no difference between" not in " ".join(found.caveats)


def test_its_pictures_and_tables_carry_its_unit(shuffled, answered):
    shuffled("order_acc", "maximize")
    found = answered("shuffled")
    assert label(found.metric) == "order of shuffled frames (%)"
    assert pictures.sweep(found).moving.layout.yaxis.title.text == "order of shuffled frames (%)"
    title = pictures.differences(found).moving.layout.xaxis.title.text
    assert "(points of order accuracy)" in title.replace("<br>", " "), "a long title has several lines"
    assert latex.table(found, ()).count(r"\textbf{") == 1


def dashed(found):
    """Where its picture has a line of chance, and what the words below it say of that."""
    picture = pictures.sweep(found)
    lines = [shape.y0 for shape in picture.moving.layout.shapes]
    return lines, "The dashed line is the chance level." in picture.caption


@pytest.mark.parametrize("known", [None, "constant", "measured"])
def test_a_guess_is_shown_whether_the_metric_knows_it_or_the_runs_have_measured_it(
    shuffled, answered, change, monkeypatch, known
):
    shuffled("order_acc", "maximize")
    if known == "constant":
        mine = tasks.metrics() | {"order_acc": replace(ACCURACY, chance=50.0)}
        monkeypatch.setattr(tasks, "metrics", lambda: mine)
    elif known == "measured":
        for axes in RATIOS:
            for seed in range(3):
                change("shuffled", key_of(axes), seed, "summary.json", {"test/order_acc_chance": 12.5})
    wanted = {None: ([], False), "constant": ([50.0], True), "measured": ([12.5], True)}
    assert dashed(answered("shuffled")) == wanted[known]


def test_where_less_is_better_tables_and_fronts_are_the_right_way_up(shuffled, answered):
    shuffled("order_drop", "minimize")
    found = answered("shuffled")
    assert best(found)["video_ratio"] == 0.9
    assert found.comparisons[HIDING].effect < 0
    assert found.standing(HIDING) == "better"
    table = rows.exact(found)
    hiding = [axes["video_ratio"] for axes in RATIOS]
    assert table["standing"].to_list() == ["better" if ratio else "" for ratio in hiding]
    shown = pictures.differences(found).moving.data
    assert [trace.name for trace in shown] == ["better, after Holm", "no claim"]
    assert "video_ratio=0.9" in shown[0].text[0]  # the best on top
    points = pictures.pareto(found, COST)
    on_front = {found.asked.cells[key]["video_ratio"] for key, point in points.items() if point.on_front}
    assert on_front == {0.9}  # the cheapest loses least
    fast = pictures.pareto(found, "speed/clips_per_s")
    assert {found.asked.cells[key]["video_ratio"] for key, point in fast.items() if point.on_front} == {0.9}


def test_the_dashboard_ranks_a_metric_of_another_direction_than_the_study_asks(shuffled, answered):
    results = shuffled("order_acc", "maximize")
    runs = Runs.of(Store(results), "shuffled", ("shuffled",))
    assert runs.metrics()[0] == "order_acc"
    found = runs.answer(metric="order_drop")
    assert not found.asked.maximize
    assert best(found)["video_ratio"] == 0.9
    assert found.standing(HIDING) == "better"


@pytest.mark.parametrize("values", [None, [], [1.0], [np.nan] * QUERIES, ["x"] * QUERIES])
def test_a_file_that_holds_no_number_a_query_takes_its_cell_out(shuffled, answered, values):
    path = file_of(shuffled("order_acc", "maximize"), HIDING, 1)
    if values is None:
        path.write_bytes(b"PK torn")
    else:
        arrays = dict(np.load(path))
        np.savez(path, **(arrays | {"t2v_right": values}))
    found = answered("shuffled")
    assert found.refused[HIDING] == f"{FILE} of seed 1 is missing or damaged"


@pytest.mark.parametrize(
    "name", ["stage0_t2v_r1", "msrvtt:stage0_t2v_r1", "t2v_medr", "loss", "t2v_r", "xt2v_r1"]
)
def test_a_metric_whose_queries_no_file_holds_is_one_number_a_run(name):
    assert queries_of(name) is None


def test_queries_on_other_data_lie_in_files_that_name_it():
    own, other = queries_of("t2v_r1"), queries_of("msrvtt:t2v_r1")
    assert (own.file, other.file) == ("ranks.npz", "msrvtt-ranks.npz")
    assert other.at_most == own.at_most == 1


def test_ranks_are_read_for_every_metric_of_them():
    assert queries_of("t2v_r5").contributions([1, 2, 5, 6]).tolist() == [100, 100, 100, 0]
    assert queries_of("v2t_r1").contributions([1, 2, 5, 6]).mean() == 25.0
    assert queries_of("t2v_meanr").contributions([1, 2, 5, 6]).mean() == 3.5


def test_what_differences_are_in():
    said = {
        "t2v_r1": "points of R@1",
        "test/t2v_r5": "points of R@5",
        "v2t_r10": "points of video-to-text R@10",
        "t2v_medr": "in text-to-video median rank",
        "grounding_miou": "points of mIoU",
        "caption_cider": "points of CIDEr-D",
        "caption_rouge_l": "points of ROUGE-L",
        "cost/peak_memory_gb": "GB of peak memory",
    }
    assert {name: tasks.metric(name).in_units for name in said} == said
    mine = [metric.in_units for metric in tasks.metrics().values() if "_" in metric.in_units]
    assert not mine, "a name as it stands in a file is no word"
