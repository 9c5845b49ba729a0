"""Every study can be planned, says what it asks, and is fair by its own rules."""

import ast
import re
from dataclasses import replace
from itertools import pairwise

import pytest

from workbench import recipes
from workbench.config import DataConfig, OptimConfig
from workbench.data import describe
from workbench.errors import UserError
from workbench.serial import to_dict
from workbench.study import spec
from workbench.study.plan import Options, make_plan
from workbench.study.stages import CHOSEN, RATES
from workbench.tasks import refusal, task_of, unknown

NAMES = list(spec.find())
SEARCHES = ["pareto"]
ABLATIONS = [name for name in NAMES if name not in SEARCHES]
EXPECTED = {
    "align_or_predict": 3,
    "budget": 6,
    "flip_curve": 9,
    "mac_claims": 2,
    "mac_trend": 6,
    "mask_ratio": 5,
    "mask_strategy": 6,
    "promises": 4,
    "scaling": 12,
    "text_masking": 5,
    "text_start": 4,
    "transfer": 4,
    "unmasked_tuning": 3,
}


def objectives(recipe):
    return recipes.load(recipe).Recipe.objectives()


def known_of(data):
    return describe(DataConfig(name=data, clips=8)).known


@pytest.fixture(scope="module")
def plans(tmp_path_factory):
    """Each study's plan, made once."""
    root = tmp_path_factory.mktemp("data")
    return {name: make_plan(spec.load(name), Options(), root) for name in NAMES}


def test_the_studies_are_those_that_were_promised():
    assert {*EXPECTED, *SEARCHES} <= set(NAMES)


@pytest.mark.parametrize("name", EXPECTED)
def test_a_study_has_its_cells_and_a_baseline(plans, name):
    plan = plans[name]
    assert len(plan.cells) == EXPECTED[name]
    assert plan.baseline is not None
    assert len({cell.key for cell in plan.cells}) == len(plan.cells)


@pytest.mark.parametrize("name", NAMES)
def test_a_study_says_what_it_asks_and_what_to_read(name):
    text = spec.find()[name].read_text()
    documentation = ast.get_docstring(ast.parse(text))
    assert spec.questions()[name].endswith("?")
    assert f"python -m workbench.study {name}" in documentation
    assert f"{EXPECTED.get(name, '')} cells" in documentation
    assert "t2v_r1" in documentation or name == "mask_ratio"


@pytest.mark.parametrize("name", NAMES)
def test_the_smoke_test_of_a_study_keeps_its_baseline(name, tmp_path):
    plan = make_plan(spec.load(name), Options(smoke=True), tmp_path)
    assert (plan.baseline is not None) == (name in ABLATIONS)
    assert plan.expected <= max(36, len(RATES) * len(recipes.names()))  # those of `systems_rates`
    stages = [stage for cell in plan.samples for stage in cell.config.stages]
    assert all(str(stage.budget) == "12 steps" for stage in stages)


@pytest.mark.parametrize(
    "name", ["align_or_predict", "mask_ratio", "mask_strategy", "text_masking", "unmasked_tuning"]
)
def test_all_arms_spend_the_same_flops(plans, name):
    for cell in plans[name].cells:
        assert {stage.budget.unit for stage in cell.config.stages} == {"pflops"}
        amount = sum(stage.budget.amount for stage in cell.config.stages)
        assert amount == pytest.approx(0.01 if name == "mask_ratio" else 0.015)


def test_every_strategy_has_slots_enough_to_hide(plans):
    from workbench.masking.video import Grid

    for cell in plans["mask_strategy"].cells:
        video, data = cell.config.recipe.video, cell.config.data
        side = data.size // video.patch
        grid = Grid(data.frames // video.tubelet, side, side)
        assert cell.config.recipe.video_masking.hidden(grid) >= grid.tokens // 2


def test_align_or_predict_differs_in_what_is_learnt_not_in_the_core(plans):
    cells = {cell.axes["arm"]: cell.config for cell in plans["align_or_predict"].cells}
    assert len({config.recipe.video for config in cells.values()}) == 1
    assert all(config.stages[-1].objective == "align" for config in cells.values())
    assert not any(config.stages[-1].masked for config in cells.values())
    weights = cells["predict"].recipe.weights
    assert (weights.vtc, weights.vtm) == (0, 0)
    assert weights.mvm
    assert weights.mlm


def test_the_claims_name_cells_and_metrics_that_exist(plans):
    plan = plans["mac_claims"]
    for claim in plan.study.claims:
        assert dict(claim.arm) in [cell.axes for cell in plan.cells]
        assert claim.metric == plan.study.metric or claim.metric in plan.study.reads
    assert {stage.budget.unit for cell in plan.cells for stage in cell.config.stages} == {"epochs"}
    assert len({str(cell.config.stages) for cell in plan.cells}) == 1


def test_every_budget_has_a_baseline_of_its_own(plans):
    plan = plans["budget"]
    assert [cell.axes["ratio"] for cell in plan.baselines] == [0.0] * 3
    assert len({cell.axes["unit"] for cell in plan.baselines}) == 3
    several = {"budget": 3, "mac_trend": 3, "scaling": 4, "text_start": 2, "transfer": 2}
    assert {name: len(plans[name].baselines) for name in several} == several
    others = set(EXPECTED) - set(several)
    assert all(len(plans[name].baselines) == 1 for name in others)


def test_a_baseline_that_some_places_lack_and_axes_on_both_sides_are_refused(tmp_path):
    study = spec.load("budget")
    with pytest.raises(UserError, match="is not one of its cells for every choice of unit"):
        make_plan(replace(study, baseline={"ratio": 0.3}), Options(), tmp_path)
    for wrong in ({"baseline": {}}, {"within": ("ratio",)}):
        with pytest.raises(UserError, match="must name axes that are not in within"):
            replace(study, **wrong)


def test_an_axis_may_exist_only_where_something_is_hidden(plans):
    lone = [cell.axes for cell in plans["text_masking"].cells if len(cell.axes) == 1]
    assert lone == [{"ratio": 0.0}]


@pytest.mark.parametrize("name", ABLATIONS)
def test_reports_find_all_they_need_in_the_description(plans, name):
    import json

    from workbench.answer.study_record import StudyRecord

    asked = StudyRecord.of(json.loads(json.dumps(plans[name].description())))
    assert list(asked.cells) == [cell.key for cell in plans[name].cells]
    assert asked.baseline in asked.cells
    assert asked.bases == tuple(cell.key for cell in plans[name].baselines)
    assert re.fullmatch(r"[a-z_]+", asked.name)


@pytest.mark.parametrize(("name", "cells"), [("mask_ratio", 4), ("mask_strategy", 6)])
def test_under_mask_then_predict_every_arm_ends_with_the_same_alignment(plans, name, cells, tmp_path):
    plan = make_plan(spec.load(name), Options(recipe="simvtp"), tmp_path)
    assert plan.study.name == f"{name}-simvtp"
    assert plan.baseline is not None
    assert len(plan.cells) == cells
    assert not {cell.key for cell in plan.cells} & {cell.key for cell in plans[name].cells}
    for cell in plan.cells:
        assert cell.config.recipe_name == "simvtp"
        assert [(s.objective, s.masked, str(s.budget)) for s in cell.config.stages] == [
            ("recipe", True, "0.01 pflops"),
            ("align", False, "0.005 pflops"),
        ]
        assert cell.config.recipe.weights.mvm == cell.config.recipe.weights.mlm == 1


def test_pareto_trades_flops_for_quality_and_alone_spends_the_same_flops(plans, tmp_path):
    plan = plans["pareto"]
    assert list(plan.axes) == ["size", "strategy", "video_ratio", "text_ratio", "lr"]
    assert {str(stage.budget) for cell in plan.samples for stage in cell.config.stages} == {"4 epochs"}
    assert all(("video_ratio" in c.axes) == (c.axes["strategy"] != "none") for c in plan.samples)
    single = make_plan(spec.load("pareto"), Options(single=True), tmp_path)
    assert single.study.name == "pareto-single"
    assert single.study.cost == ""
    assert {str(stage.budget) for cell in single.samples for stage in cell.config.stages} == {"0.015 pflops"}


def test_every_recipe_is_a_system_at_the_same_flops_and_only_its_learning_rate_is_its_own(plans):
    cells = {cell.axes["system"]: cell.config for cell in plans["systems"].cells}
    assert set(cells) == {name for name in recipes.names() if "align" in objectives(name)}
    for name, config in cells.items():
        assert config.recipe == recipes.load(name).Config()
        assert config.optim == OptimConfig(lr=config.optim.lr)
        assert config.optim.lr in RATES
        assert config.stages == cells["mac"].stages


def test_every_system_is_tried_at_the_same_rates_on_a_seed_that_no_comparison_uses(plans):
    plan, compared = plans["systems_rates"], plans["systems"]
    assert not set(plan.seeds) & {*compared.seeds, *range(10)}
    tried = {}
    for cell in plan.cells:
        own, whole = (c.config.stages for c in (cell, compared.cells[0]))
        assert [(s.objective, s.masked) for s in own] == [(s.objective, s.masked) for s in whole]
        tried.setdefault(cell.axes["system"], []).append(cell.config.optim.lr)
    assert set(tried) == {cell.axes["system"] for cell in compared.cells}
    assert all(tuple(rates) == RATES for rates in tried.values())
    assert set(CHOSEN) <= set(tried)
    assert set(CHOSEN.values()) <= set(RATES)


@pytest.mark.parametrize("name", spec.load("components").recipes)
def test_a_part_is_one_change_of_what_is_published(name, tmp_path):
    plan = make_plan(spec.load("components"), Options(recipe=name), tmp_path)
    assert plan.baseline.config.recipe == recipes.load(name).Config()
    assert refusal(plan.baseline.config.tasks, [recipes.load(name).Recipe]) == ""
    assert {"retrieval", "order", "probe"} <= set(plan.baseline.config.tasks)
    assert len(plan.cells) >= 4, "its unique part, and two or three choices that its paper ablates"
    assert not any(cell.twins for cell in plan.cells)
    assert len({cell.key for cell in plan.cells}) == len(plan.cells)
    published = to_dict(plan.baseline.config)
    for cell in plan.cells[1:]:
        config = to_dict(cell.config)
        changed = [
            field for field in published["recipe"] if config["recipe"][field] != published["recipe"][field]
        ]
        assert len(changed) == 1, cell.label
        assert {k: v for k, v in config.items() if k != "recipe"} == {
            k: v for k, v in published.items() if k != "recipe"
        }


@pytest.mark.parametrize(
    ("name", "metric", "cells", "beside"),
    [
        ("smaug", "t2v_r10", 4, "cost/train_gflops_per_clip"),
        ("omnivl", "t2v_r10", 2, "test/t2v_r1"),
        ("internvideo", "t2v_r10", 3, "test/t2v_r1"),
        ("locvtp", "grounding_miou", 2, "test/grounding_miou_prior"),
        ("hitea", "order_pairs", 2, "test/order_reversal"),
        ("slan", "pointing", 2, "test/pointing_centre"),
    ],
)
def test_a_promise_is_a_registered_contrast_of_what_the_system_is_for(name, metric, cells, beside, tmp_path):
    plan = make_plan(spec.load("promises"), Options(recipe=name), tmp_path)
    study, config = plan.study, plan.baseline.config
    assert (study.metric, study.direction, len(plan.cells)) == (metric, "maximize", cells)
    assert plan.seeds == (0, 1, 2)
    assert beside in study.reads
    assert plan.contrasts
    assert len({str(cell.config.stages) for cell in plan.cells}) == 1, "equal FLOPs"
    assert task_of(metric) in config.tasks
    assert refusal(config.tasks, [recipes.load(name).Recipe]) == ""
    assert unknown(config.tasks, {config.data.name: known_of(config.data.name)}) == ""


REDUCED = ("align_or_predict", "budget", "flip_curve", "mask_strategy", "scaling", "text_masking")
REDUCED += ("unmasked_tuning",)


@pytest.mark.parametrize("name", REDUCED)
def test_a_finding_is_registered_on_seeds_that_no_pilot_and_no_earlier_finding_used(plans, name):
    plan = plans[name]
    assert 3 <= len(plan.seeds) <= 4
    assert not set(plan.seeds) & {*range(10), *range(100, 120)}
    assert plan.contrasts
    used = {key for one in plan.contrasts for side in ("of", "against") for key in one[side]["cells"]}
    idle = {cell.label for cell in plan.cells if cell.key not in used}
    budgets_of_the_curves = {"scaling"}
    assert not idle or name in budgets_of_the_curves, "a cell that no contrast needs"


@pytest.mark.parametrize("name", ["mask_ratio", "mask_strategy"])
def test_another_recipe_has_contrasts_of_its_own(name, tmp_path):
    plan = make_plan(spec.load(name), Options(recipe="simvtp"), tmp_path)
    assert [one["text"] for one in plan.contrasts] == [
        one.text for one in plan.study.by_recipe["simvtp"]["contrasts"]
    ]
    with pytest.raises(UserError, match="by_recipe names vlc, which is not one of its recipes mac, simvtp"):
        replace(spec.load(name), by_recipe={"vlc": {}})


def test_budgets_double_and_have_a_curve_for_each_ratio(plans):
    plan = plans["scaling"]
    assert plan.description()["over"] == "pflops"
    amounts = sorted({cell.config.stages[0].budget.amount for cell in plan.cells})
    assert [b / a for a, b in pairwise(amounts)] == pytest.approx([2, 2, 2])
    assert all(cell.config.stages[0].budget.amount == cell.axes["pflops"] for cell in plan.cells)
    known = {cell.key for cell in plans["mask_ratio"].cells}
    assert len({cell.key for cell in plan.cells} & known) == 3, (
        "the cells of 0.01 PFLOPs are those of mask_ratio"
    )
    with pytest.raises(UserError, match="over must be one of a study's within"):
        replace(plan.study, over="ratio")


def test_the_enlarged_batches_of_flip_have_equally_many_visible_tokens(plans):
    for cell in plans["flip_curve"].cells:
        config, axes = cell.config, cell.axes
        visible = config.optim.batch_size * (1 - axes["ratio"])
        assert visible == (128 if axes.get("batch") == "enlarged" else 128 * (1 - axes["ratio"]))
        assert config.optim.lr / config.optim.batch_size == pytest.approx(5e-4 / 128)
        assert config.stages[0].budget.amount == 8
        assert bool(config.recipe.weights.mvm) == (axes.get("more") == "reconstruction")


def test_every_recipe_has_its_parts():
    assert set(spec.load("components").recipes) == set(recipes.names())
