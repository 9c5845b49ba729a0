"""Two cells of a model so small that a run takes seconds; for tests that kill and resume real training."""

from workbench.config import Budget, DataConfig, OptimConfig, RunConfig, Stage
from workbench.masking.video import PerFrameMasking
from workbench.models.text import TextConfig
from workbench.models.video import VideoConfig
from workbench.recipes import mac
from workbench.study.spec import Study, Trial

STEPS = 200


def configure(trial: Trial) -> RunConfig:
    ratio = trial.suggest_categorical("ratio", [0.0, 0.5])
    recipe = mac.Config(
        video=VideoConfig(width=32, depth=1, heads=2, patch=8, tubelet=2),
        text=TextConfig(width=32, depth=1),
        video_masking=PerFrameMasking(ratio=ratio),
        embed=16,
    )
    return RunConfig(
        recipe=recipe,
        data=DataConfig(clips=64, frames=4, size=32),
        optim=OptimConfig(batch_size=16),
        stages=(
            Stage(budget=Budget(unit="steps", amount=STEPS - 20)),
            Stage(objective="align", masked=False, budget=Budget(unit="steps", amount=20)),
        ),
        evaluations=6,
    )


STUDY = Study(
    question="Does hiding half of the video help?", configure=configure, baseline={"ratio": 0.0}, seeds=(0, 1)
)
