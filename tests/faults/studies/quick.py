"""Two cells of runs that only pretend to train (`tests/study/fake_train.py`), for faults beside training."""

from workbench.config import Budget, DataConfig, OptimConfig, RunConfig, Stage
from workbench.study.spec import Study, Trial


def configure(trial: Trial) -> RunConfig:
    decay = trial.suggest_categorical("decay", [0.3, 0.6])
    stage = Stage(budget=Budget(unit="steps", amount=10))
    optim = OptimConfig(weight_decay=decay)
    return RunConfig(recipe=OptimConfig(), optim=optim, stages=(stage,), data=DataConfig(clips=64))


STUDY = Study(question="Does decay help?", configure=configure, baseline={"decay": 0.3}, seeds=(0, 1))
