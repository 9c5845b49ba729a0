"""Which ratio is best with how much compute? Compares three video ratios at four FLOPs budgets. 12 cells.

Read the curves of `t2v_r1` over the budget: which ratio is best at each budget, where two curves cross, and
how well a small budget predicts the order at the largest one. Each budget is twice the previous one. Learning
rate and budget of 0.01 PFLOPs are those of `mask_ratio`; seeds are others, because results on its seeds led
to the choice of these ratios. Every ratio is compared with 75 % at the same budget only; the contrasts and
their
order are registered: the highest ratio learns first and is overtaken.

    python -m workbench.study scaling
"""

from workbench.config import OptimConfig, RunConfig
from workbench.masking.text import TokenMasking
from workbench.masking.video import PerFrameMasking
from workbench.recipes import mac
from workbench.study.spec import Contrast, Study, Trial
from workbench.study.stages import pretrain

BUDGETS = (0.005, 0.01, 0.02, 0.04)
"""Training budgets in PFLOPs."""
RATIOS = (0.5, 0.75, 0.9)


def configure(trial: Trial) -> RunConfig:
    pflops = trial.suggest_categorical("pflops", list(BUDGETS))
    ratio = trial.suggest_categorical("ratio", list(RATIOS))
    return RunConfig(
        recipe=mac.Config(video_masking=PerFrameMasking(ratio=ratio), text_masking=TokenMasking(ratio=0.0)),
        stages=pretrain(pflops),
        optim=OptimConfig(lr=5e-4),
        evaluations=2,
    )


def at(pflops: float, of: float, against: float) -> Contrast:
    return Contrast(
        f"{100 * of:g} % rather than {100 * against:g} % of the video hidden, at {pflops:g} PFLOPs",
        of={"pflops": pflops, "ratio": of},
        against={"pflops": pflops, "ratio": against},
    )


STUDY = Study(
    question="Which ratio is best with how much compute?",
    configure=configure,
    says={"pflops": "{value} PFLOPs", "ratio": "{share} video hidden"},
    baseline={"ratio": 0.75},
    within=("pflops",),
    over="pflops",
    seeds=(20, 21, 22, 23),
    contrasts=(
        at(0.01, 0.9, 0.5),
        at(0.02, 0.75, 0.5),
        at(0.01, 0.75, 0.5),
        at(0.01, 0.9, 0.75),
        at(0.04, 0.75, 0.9),
    ),
)
