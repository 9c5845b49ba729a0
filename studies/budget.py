"""Does the best ratio depend on what is held equal? Compares no masking with 90 % in three units. 6 cells.

`scaling` asks how the best ratio changes with the size of a budget; this study compares units of the budget:
equal FLOPs, steps and seconds. The ratio 0.9 is compared with 0 under the same unit only. Read `t2v_r1`: at
equal steps all arms see equally many clips, at equal FLOPs or seconds the masked ones see more. Results at
equal seconds depend on the machine and on its other load.

    python -m workbench.study budget
"""

from workbench.config import Budget, RunConfig, Stage
from workbench.masking.video import PerFrameMasking
from workbench.recipes import mac
from workbench.study.spec import Contrast, Study, Trial

BUDGETS = {
    "pflops": Budget(unit="pflops", amount=0.015),
    "steps": Budget(unit="steps", amount=300.0),
    "seconds": Budget(unit="seconds", amount=60.0),
}


def configure(trial: Trial) -> RunConfig:
    unit = trial.suggest_categorical("unit", list(BUDGETS))
    ratio = trial.suggest_categorical("ratio", [0.0, 0.9])
    return RunConfig(
        recipe=mac.Config(video_masking=PerFrameMasking(ratio=ratio), text_masking=None),
        stages=(Stage(budget=BUDGETS[unit]),),
        evaluations=2,
    )


def most(unit: str) -> Contrast:
    return Contrast(
        f"90 % of the video hidden rather than none, at equal {unit}",
        of={"unit": unit, "ratio": 0.9},
        against={"unit": unit, "ratio": 0.0},
    )


STUDY = Study(
    question="Does the best ratio depend on what is held equal?",
    configure=configure,
    says={"unit": "equal {value}", "ratio": "{share} video hidden"},
    baseline={"ratio": 0.0},
    within=("unit",),
    seeds=(10, 11, 12),
    contrasts=(
        most("pflops"),
        most("seconds"),
        Contrast(
            "none of the video hidden rather than 90 %, at equal steps",
            of={"unit": "steps", "ratio": 0.0},
            against={"unit": "steps", "ratio": 0.9},
        ),
    ),
)
