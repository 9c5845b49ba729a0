"""Does the best ratio change with the budget? Ratio x budget: equal FLOPs, steps or seconds. 36 cells.

Each ratio is compared with none (0) at the same budget only. Read which ratio has the best `t2v_r1` at each
budget, and whether ratio and `times` or `unit` act together, which is what the question asks.

    python -m workbench.study budget
"""

from workbench.config import Budget, RunConfig, Stage
from workbench.masking.video import PerFrameMasking
from workbench.recipes import mac
from workbench.study.spec import Study, Trial


def configure(trial: Trial) -> RunConfig:
    unit = trial.suggest_categorical("unit", ["pflops", "steps", "seconds"])
    times = trial.suggest_categorical("times", [1, 2, 4])
    ratio = trial.suggest_categorical("ratio", [0.0, 0.5, 0.75, 0.9])
    if unit == "pflops":
        budget = Budget(unit="pflops", amount=0.015 * times)
    elif unit == "steps":
        budget = Budget(unit="steps", amount=300.0 * times)
    else:
        budget = Budget(unit="seconds", amount=60.0 * times)
    return RunConfig(
        recipe=mac.Config(video_masking=PerFrameMasking(ratio=ratio), text_masking=None),
        stages=(Stage(budget=budget),),
        evaluations=2,
    )


STUDY = Study(
    question="Does the best ratio change with the budget?",
    configure=configure,
    says={"unit": "budget in {value}", "times": "{value} times", "ratio": "{share} video hidden"},
    baseline={"ratio": 0.0},
    within=("unit", "times"),
)
