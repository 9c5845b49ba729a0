"""What is the best quality at each cost? Searches ratios, strategy, model size, learning rate. 40 cells.

Optuna's TPE proposes the trials. Every trial sees equally many clips, so only hidden tokens and smaller
models save training FLOPs. Read the Pareto front, `t2v_r1` against `cost/train_pflops`, and the importance of
the axes for being near it. `--single` searches for the best `t2v_r1` alone, at equal training FLOPs, and
prunes poor trials.

    python -m workbench.study pareto
    python -m workbench.study pareto --trials 80
    python -m workbench.study pareto --single
"""

from workbench.config import Budget, OptimConfig, RunConfig, Stage
from workbench.masking.text import TokenMasking
from workbench.masking.video import strategy
from workbench.models.video import VideoConfig
from workbench.recipes import mac
from workbench.study.spec import Study, Trial

SIZES = {
    "small": VideoConfig(width=64, depth=2),
    "base": VideoConfig(),
    "large": VideoConfig(width=192, heads=3),
}


def configure(trial: Trial) -> RunConfig:
    size = trial.suggest_categorical("size", list(SIZES))
    where = trial.suggest_categorical("strategy", ["none", "random", "per-frame", "tube"])
    masking = None
    if where != "none":
        masking = strategy(where)(ratio=trial.suggest_categorical("video_ratio", [0.5, 0.75, 0.9]))
    text = trial.suggest_categorical("text_ratio", [0.0, 0.15, 0.3])
    lr = trial.suggest_float("lr", 3e-4, 3e-3, log=True)
    clips, flops = Budget(unit="epochs", amount=4), Budget(unit="pflops", amount=0.015)
    return RunConfig(
        recipe=mac.Config(
            video=SIZES[size], video_masking=masking, text_masking=TokenMasking(ratio=text) if text else None
        ),
        optim=OptimConfig(lr=lr),
        stages=(Stage(budget=clips if trial.cost else flops),),
    )


STUDY = Study(
    question="What is the best quality for each cost?",
    configure=configure,
    says={
        "size": "{value} core",
        "strategy": "{value} masking",
        "video_ratio": "{share} video hidden",
        "text_ratio": "{share} text hidden",
        "lr": "learning rate {value}",
    },
    mode="search",
    trials=40,
    cost="cost/train_pflops",
    reads=("cost/train_pflops", "speed/clips_per_s", "train/steps"),
)
