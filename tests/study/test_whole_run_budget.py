"""`--budget`: a factor for every stage, or an amount for the whole run that its stages share."""

import pytest

from workbench.config import Budget, OptimConfig, RunConfig, Stage
from workbench.errors import UserError
from workbench.study import spec
from workbench.study.outcome import Entry
from workbench.study.plan import Options, make_plan
from workbench.study.stages import pretrain, pretrain_then_align, with_budget
from workbench.study.text_output import plan_text


def stages(*amounts, unit="pflops"):
    return tuple(Stage(budget=Budget(unit=unit, amount=amount)) for amount in amounts)


def budgets(found):
    return " + ".join(str(stage.budget) for stage in found)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2x", "1 pflops"),
        ("0.5x", "0.25 pflops"),
        ("3", "3 pflops"),
        ("0.1pflops", "0.1 pflops"),
        ("300steps", "300 steps"),
        ("60 seconds", "60 seconds"),
        ("3epochs", "3 epochs"),
    ],
)
def test_one_stage_takes_a_factor_or_the_whole_amount(text, expected):
    assert budgets(with_budget(stages(0.5), text)) == expected


@pytest.mark.parametrize("amount", ["0.1", "0.3", "0.7", "1e-3", "0.015"])
def test_one_stage_gets_the_very_number_that_was_written(amount):
    for own in (0.015, 1 / 3):
        assert with_budget(stages(own), f"{amount}pflops") == stages(float(amount))


@pytest.mark.parametrize(
    "text", ["", "x", "-1x", "0x", "two", "3 years", "1e", "nan", "1x2", "1e999", "1e-999x"]
)
def test_a_budget_that_is_none_is_refused(text):
    for own in (stages(0.5), stages(0.5, 0.25)):
        with pytest.raises(UserError, match="--budget must be a factor"):
            with_budget(own, text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2x", "0.02 pflops + 0.01 pflops"),
        ("0.03pflops", "0.02 pflops + 0.01 pflops"),
        ("0.015pflops", "0.01 pflops + 0.005 pflops"),
        ("300steps", "200 steps + 100 steps"),
        ("100steps", "67 steps + 33 steps"),
        ("1.5epochs", "1 epochs + 0.5 epochs"),
        ("60seconds", "40 seconds + 20 seconds"),
    ],
)
def test_two_stages_share_an_amount_in_their_proportions(text, expected):
    found = with_budget(pretrain_then_align(0.015), text)
    assert budgets(found) == expected
    assert [(s.objective, s.masked) for s in found] == [("recipe", True), ("align", False)]


def test_a_factor_and_its_amount_are_the_same_run():
    own = pretrain_then_align(0.015)
    assert with_budget(own, "0.015pflops") == own == with_budget(own, "1x")
    assert with_budget(own, "0.03pflops") == with_budget(own, "2x")


@pytest.mark.parametrize(
    ("total", "own", "expected"),
    [
        ("10steps", (1, 1, 1), [4, 3, 3]),
        ("10steps", (0.95, 0.05, 0), [9, 1]),
        ("11steps", (5, 3, 2), [6, 3, 2]),
        ("3steps", (98, 1, 1), [1, 1, 1]),
        ("2steps", (1, 1, 1), [1, 1, 1]),
        ("100.2steps", (1, 1, 0), [51, 50]),
    ],
)
def test_steps_are_whole_and_add_up(total, own, expected):
    found = [s.budget.amount for s in with_budget(stages(*filter(None, own), unit="seconds"), total)]
    assert found == expected
    assert sum(found) >= float(total.removesuffix("steps"))


def test_stages_in_several_units_have_no_shares_but_a_factor():
    own = (*stages(0.5), *stages(30, unit="steps"))
    with pytest.raises(
        UserError, match=r"300steps cannot be shared by stages .* in pflops and steps; a factor"
    ):
        with_budget(own, "300steps")
    assert budgets(with_budget(own, "2x")) == "1 pflops + 60 steps"


@pytest.mark.parametrize(
    ("name", "recipe"), [("align_or_predict", ""), ("unmasked_tuning", ""), ("mask_ratio", "simvtp")]
)
@pytest.mark.parametrize(
    ("text", "unit", "total"), [("0.5pflops", "pflops", 0.5), ("300steps", "steps", 300)]
)
def test_every_arm_of_a_study_spends_the_amount_once(name, recipe, text, unit, total, tmp_path):
    plan = make_plan(spec.load(name), Options(recipe=recipe, budget=text), tmp_path)
    assert {len(cell.config.stages) for cell in plan.cells} in ({2}, {1, 2})
    for cell in plan.cells:
        assert {stage.budget.unit for stage in cell.config.stages} == {unit}
        assert sum(stage.budget.amount for stage in cell.config.stages) == pytest.approx(total, rel=1e-11)


def test_an_arm_of_one_stage_keeps_its_key_and_the_plan_shows_the_shares(tmp_path):
    plan = make_plan(spec.load("unmasked_tuning"), Options(budget="0.5pflops"), tmp_path)
    [whole] = [cell for cell in plan.cells if cell.axes["unmasked_share"] == 0]
    assert whole.config.stages == stages(0.5)
    text = plan_text(plan, [Entry(run=run, state="missing") for run in plan.runs], {})
    assert "0.45 pflops + 0.05 pflops" in text
    assert "6 training PFLOPs in all" in text


def test_three_stages_share_as_well(tmp_path):
    def configure(trial):
        count = trial.suggest_categorical("stages", [1, 3])
        own = pretrain(0.03) if count == 1 else (*pretrain_then_align(0.015), *pretrain(0.015))
        return RunConfig(recipe=OptimConfig(), stages=own)

    study = spec.Study(question="?", configure=configure)
    one, three = make_plan(study, Options(budget="0.3pflops"), tmp_path).cells
    assert budgets(one.config.stages) == "0.3 pflops"
    assert budgets(three.config.stages) == "0.1 pflops + 0.05 pflops + 0.15 pflops"
