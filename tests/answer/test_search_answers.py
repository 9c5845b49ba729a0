"""A search whose runs are not all there: what cannot be compared is left out and named, nothing breaks."""

import json

import pytest
from synthetic import grid, key_of, write_study

from workbench.report import pictures

CELLS = grid(ratio=[0.0, 0.5, 0.75, 0.9])
COST = "cost/train_gflops_per_clip"


@pytest.fixture
def search(results):
    """Four trials; the cheaper the worse, so that all are on the front."""
    write_study(
        results, "search", CELLS, (0,), trials=4, quality=lambda axes: 80 - 60 * axes["ratio"],
        cost=lambda axes: 1 - axes["ratio"],
    )  # fmt: skip
    path = results / "runs/search/study.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"cost": COST}))
    return results


def run_dir(results, number):
    return results / "runs/search" / f"{key_of(CELLS[number])}-s0"


def test_the_whole_search_is_on_the_front(search, answered):
    assert answered("search").front == tuple(key_of(axes) for axes in reversed(CELLS))


@pytest.mark.parametrize("torn", [True, False])
def test_a_trial_without_ranks_is_left_out_of_the_front_and_named(search, answered, report, torn):
    path = run_dir(search, 1) / "ranks.npz"
    path.write_bytes(b"PK torn") if torn else path.unlink()
    found = answered("search")
    assert found.front == tuple(key_of(CELLS[i]) for i in (3, 2, 0))
    why = "ratio=0.5 is left out of the front: ranks.npz of seed 0 is missing or damaged."
    assert why in found.caveats
    code, out, err = report("search")
    assert (code, err) == (0, "")
    assert "3 of 4 trials are on the Pareto front" in out
    assert report("search", "--check", search / "reports/search/answer.md")[0] == 0


def test_a_trial_without_test_or_cost_has_no_place_on_the_axis(search, answered):
    for number, name in ((1, COST), (2, "test/t2v_r1")):
        path = run_dir(search, number) / "summary.json"
        summary = json.loads(path.read_text())
        path.write_text(json.dumps({key: value for key, value in summary.items() if key != name}))
    (run_dir(search, 2) / "ranks.npz").unlink()
    found = answered("search")
    assert found.front == tuple(key_of(CELLS[i]) for i in (3, 0))
    assert set(pictures.pareto(found, COST)) == set(found.front)


def test_a_cell_of_which_some_runs_lack_a_cost_is_placed_by_the_others(ratios, answered, change):
    from synthetic import RATIOS

    ratios(seeds=(0, 1))
    change("ratios", key_of(RATIOS[2]), 0, "summary.json", {"speed/train_seconds": float("nan")})
    points = pictures.pareto(answered(), "speed/train_seconds")
    assert len(points) == len(RATIOS)
    assert points[key_of(RATIOS[2])].seeds == 1
