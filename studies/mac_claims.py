"""Do MAC's headline claims hold here? Unmasked against MAC's default at the paper's equal epochs. 2 cells.

The paper's abstract: 60 % FLOPs off, 3x faster, and R@1 not lower. Read `cost/video_gflops_per_clip`,
`speed/clips_per_s` and `t2v_r1`.

    python -m workbench.study mac_claims --seeds 3
"""

from workbench.config import Budget, RunConfig, Stage
from workbench.recipes import mac
from workbench.study.spec import Study, Trial


def configure(trial: Trial) -> RunConfig:
    masked = trial.suggest_categorical("masking", ["none", "mac"]) == "mac"
    recipe = mac.Config() if masked else mac.Config(video_masking=None, text_masking=None)
    return RunConfig(
        recipe=recipe,
        stages=(Stage(budget=Budget(unit="epochs", amount=8)),),
        evaluations=2,
    )


STUDY = Study(
    question="Do MAC's claims hold here: 60 % of the FLOPs off, three times faster, R@1 not lower?",
    configure=configure,
    baseline={"masking": "none"},
    reads=("cost/video_gflops_per_clip", "cost/train_gflops_per_clip", "speed/clips_per_s", "train/steps"),
)
