"""Does a last unmasked stage help, as in FLIP (arXiv:2212.00794)? Compares shares of the FLOPs. 3 cells.

Read `t2v_r1` over the share of the budget that is spent unmasked, and beside it `test/stage0_t2v_r1`, the
score just before the unmasked stage. That stage restarts warm-up and cosine decay (`OptimConfig`), which is
our
choice: its effect is not separated from that of the masking.

    python -m workbench.study unmasked_tuning
"""

from workbench.config import Budget, RunConfig, Stage
from workbench.masking.video import PerFrameMasking
from workbench.recipes import mac
from workbench.study.spec import Contrast, Study, Trial

TOTAL = 0.015


def configure(trial: Trial) -> RunConfig:
    share = trial.suggest_categorical("unmasked_share", [0.0, 0.1, 0.2])
    stages = [Stage(budget=Budget(unit="pflops", amount=TOTAL * (1 - share)))]
    if share:
        stages.append(Stage(masked=False, budget=Budget(unit="pflops", amount=TOTAL * share)))
    return RunConfig(
        recipe=mac.Config(video_masking=PerFrameMasking(ratio=0.75), text_masking=None),
        stages=tuple(stages),
        evaluations=2,
    )


STUDY = Study(
    question="Does a last unmasked stretch help?",
    configure=configure,
    says={"unmasked_share": "{share} budget unmasked"},
    baseline={"unmasked_share": 0.0},
    seeds=(10, 11, 12, 13),
    reads=(
        "test/stage0_t2v_r1",
        "cost/train_pflops",
        "cost/train_gflops_per_clip",
        "speed/clips_per_s",
        "train/steps",
    ),
    contrasts=(
        Contrast(
            "10 % of the budget unmasked rather than none",
            of={"unmasked_share": 0.1},
            against={"unmasked_share": 0.0},
        ),
        Contrast(
            "20 % of the budget unmasked rather than none",
            of={"unmasked_share": 0.2},
            against={"unmasked_share": 0.0},
        ),
    ),
)
