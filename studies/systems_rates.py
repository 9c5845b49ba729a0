"""At which learning rate should each system be compared? Each recipe has three rates. Three cells a recipe.

The study uses a seed that no comparison uses, so that the choice of a rate favours no system, and half of the
FLOPs of `systems`. The chosen rate of a system has the lowest mean rank on val: at this budget `t2v_r1`
depends on few of the 500 clips, while every query has a rank. The choices are `CHOSEN` in
`workbench/study/stages.py`.

    python -m workbench.study systems_rates
"""

from workbench import recipes
from workbench.config import OptimConfig, RunConfig
from workbench.study.spec import Study, Trial
from workbench.study.stages import RATES, pretrain_then_align


def configure(trial: Trial) -> RunConfig:
    system = trial.suggest_categorical("system", recipes.names())
    rate = trial.suggest_categorical("lr", list(RATES))
    return RunConfig(
        recipe=recipes.load(system).Config(),
        stages=pretrain_then_align(0.01),
        optim=OptimConfig(lr=rate),
        evaluations=1,
    )


STUDY = Study(
    question="At which learning rate should each system be compared?",
    configure=configure,
    says={"system": "{value}", "lr": "learning rate {value}"},
    metric="t2v_meanr",
    baseline={"lr": RATES[1]},
    within=("system",),
    seeds=(100,),
    reads=("val/t2v_meanr", "test/t2v_r1", "test/stage0_t2v_r1", "cost/train_pflops", "train/steps"),
)
