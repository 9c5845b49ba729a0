"""At which learning rate should each system be compared? Each recipe has three rates. Three cells a recipe.

Run on a seed that no comparison uses, so that choosing a rate favours nobody, and for half of the FLOPs of
`systems`. The rate of a system is that of its lowest mean rank on val: so early `t2v_r1` rests on few of the
500 clips, while every query has a rank. `CHOSEN` in `workbench/study/stages.py` holds what was chosen.

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
