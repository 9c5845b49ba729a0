"""At how many epochs would masked and unmasked training meet? Compares MAC with no masking. 6 cells.

The claims of `mac_claims` are about long training and redundant text. This study trains on
`moving_shapes_redundant`, whose captions say everything twice, for 2, 4 and 8 epochs, and estimates where the
curves of `t2v_r1` cross or would meet. `mac_claims` with 16 epochs on the same data tests this prediction.

    python -m workbench.study mac_trend
    python -m workbench.study mac_claims --data moving_shapes_redundant --budget 16epochs --seeds 10,11,12,13
"""

from dataclasses import replace

from workbench.config import Budget, DataConfig, RunConfig, Stage
from workbench.models.text import TextConfig
from workbench.models.video import VideoConfig
from workbench.recipes import mac
from workbench.study.spec import Study, Trial

WORLD = DataConfig(name="moving_shapes_redundant", frames=16, size=96)
VIDEO, TEXT = VideoConfig(patch=12), TextConfig(max_tokens=48)


def configure(trial: Trial) -> RunConfig:
    epochs = trial.suggest_categorical("epochs", [2, 4, 8])
    masked = trial.suggest_categorical("masking", ["none", "mac"]) == "mac"
    recipe = mac.Config(video=VIDEO, text=TEXT)
    if not masked:
        recipe = replace(recipe, video_masking=None, text_masking=None)
    return RunConfig(
        recipe=recipe,
        data=WORLD,
        stages=(Stage(budget=Budget(unit="epochs", amount=epochs)),),
        evaluations=2,
    )


STUDY = Study(
    question="Where would masked and unmasked training meet?",
    configure=configure,
    says={"epochs": "{value} epochs", "masking": "masking: {value}"},
    baseline={"masking": "none"},
    within=("epochs",),
    over="epochs",
    seeds=(10, 11, 12),
)
