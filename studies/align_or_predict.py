"""Mask-then-align, mask-then-predict, or both? Compares them at equal FLOPs over both stages. 3 cells.

Each arm trains under its own losses for two thirds of the budget, with its recipe's masking, and for one
third under the same unmasked alignment: a purely predictive arm has no aligned space before that. All arms
pool by class token and learn the temperature, although SimVTP pools by mean and fixes it, so that they differ
only in their objectives. Read `t2v_r1` after both stages and, beside it, `test/stage0_t2v_r1`: zero-shot,
before the alignment. The contrasts were registered after runs on the seeds 0 to 2 (docs/findings.md).

    python -m workbench.study align_or_predict
"""

from workbench.config import RunConfig
from workbench.models.video import VideoConfig
from workbench.recipes import mac, simvtp
from workbench.study.spec import Contrast, Study, Trial
from workbench.study.stages import pretrain_then_align

CORE = VideoConfig(pool="cls")
ARMS = {
    "align": mac.Config(video=CORE),
    "predict": simvtp.Config(video=CORE, weights=simvtp.Weights(vtc=0.0, vtm=0.0), learn_temperature=True),
    "both": simvtp.Config(video=CORE, learn_temperature=True),
}


def configure(trial: Trial) -> RunConfig:
    return RunConfig(
        recipe=ARMS[trial.suggest_categorical("arm", list(ARMS))],
        stages=pretrain_then_align(0.015),
        evaluations=2,
    )


STUDY = Study(
    question="Mask-then-align, mask-then-predict, or both?",
    configure=configure,
    says={"arm": "{value}"},
    baseline={"arm": "predict"},
    seeds=(10, 11, 12, 13),
    reads=(
        "test/stage0_t2v_r1",
        "cost/train_pflops",
        "cost/video_passes",
        "speed/clips_per_s",
        "train/steps",
    ),
    contrasts=(
        Contrast("align rather than predict", of={"arm": "align"}, against={"arm": "predict"}),
        Contrast("align rather than both", of={"arm": "align"}, against={"arm": "both"}),
        Contrast("both rather than predict", of={"arm": "both"}, against={"arm": "predict"}),
    ),
)
