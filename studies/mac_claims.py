"""Do MAC's headline claims hold here? Compares MAC's default with no masking at equal epochs. 2 cells.

Our default of MAC hides 60 % of the video, inferred from the abstract, and 15 % of the words, our choice. So
the first claim only checks the count of FLOPs.

The paper's abstract: 60 % FLOPs off, 3x faster, and R@1 not lower. Read the verdicts: on the video encoder's
forward FLOPs, on clips per second of training, and on `t2v_r1`. The rules are fixed in this file.
Speed counts as confirmed from 2.5x. "Not lower" needs a margin: no number of runs can show that a difference
is not slightly below zero, and an interval wholly above zero would mean *higher*. The margin of two points is
below the variation between seeds here, and a small price for 60 % of the FLOPs.

    python -m workbench.study mac_claims --seeds 3
"""

from workbench.config import Budget, RunConfig, Stage
from workbench.recipes import mac
from workbench.study.spec import Claim, Study, Trial

MAC = {"masking": "mac"}


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
    says={"masking": "masking: {value}"},
    baseline={"masking": "none"},
    reads=("cost/video_gflops_per_clip", "cost/train_gflops_per_clip", "speed/clips_per_s", "train/steps"),
    claims=(
        Claim(
            text="the video encoder saves 60 % of its FLOPs",
            arm=MAC,
            metric="cost/video_gflops_per_clip",
            figure="saved",
            paper="60 %",
            at_least=60.0,
        ),
        Claim(
            text="training is at least 2.5 times faster",
            arm=MAC,
            metric="speed/clips_per_s",
            figure="times",
            paper="3x",
            at_least=2.5,
        ),
        Claim(
            text="R@1 is not lower by more than 2 points",
            arm=MAC,
            metric="t2v_r1",
            figure="difference",
            paper="not lower",
            at_least=-2.0,
        ),
    ),
)
