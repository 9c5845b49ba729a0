"""How much of video and text to hide? Varies MAC's two ratios at equal training FLOPs (arXiv:2212.00986).

A masked arm uses the saved FLOPs to see more clips. There are four video ratios, and half of the text is
hidden with the largest of them: 5 cells with 4 seeds, about 20 minutes on two CPU cores. The contrasts and
their order were registered from pilot runs on the seeds 100 and 101 (docs/findings.md); `--quick` runs one
seed.

`--recipe simvtp` asks the same of mask-then-predict (arXiv:2212.03490): its four losses for two thirds of the
budget, then, so that every arm is judged in an aligned space, one third of unmasked alignment, as in
`align_or_predict`. Without masking nothing is predicted. Its text ratio is 0.75, as in its paper; there are
four cells, with their own contrasts.

    python -m workbench.study mask_ratio
    python -m workbench.study mask_ratio --quick
    python -m workbench.study mask_ratio --recipe simvtp
"""

from workbench.config import OptimConfig, RunConfig
from workbench.masking.text import TokenMasking
from workbench.masking.video import PerFrameMasking, TubeMasking
from workbench.models.video import VideoConfig
from workbench.recipes import mac, simvtp
from workbench.study.spec import Contrast, Study, Trial
from workbench.study.stages import pretrain, pretrain_then_align

MOST = 0.9
"""The largest video ratio."""


def configure(trial: Trial) -> RunConfig:
    if trial.recipe == "simvtp":
        video = trial.suggest_categorical("video_ratio", [0.0, 0.75, MOST])
        text = trial.suggest_categorical("text_ratio", [0.0, 0.75] if video == MOST else [0.0])
        return RunConfig(
            recipe=simvtp.Config(
                video=VideoConfig(),
                video_masking=TubeMasking(ratio=video),
                text_masking=TokenMasking(ratio=text),
                learn_temperature=True,
            ),
            stages=pretrain_then_align(0.015),
            evaluations=2,
        )
    video = trial.suggest_categorical("video_ratio", [0.0, 0.5, 0.75, MOST])
    text = trial.suggest_categorical("text_ratio", [0.0, 0.5] if video == MOST else [0.0])
    return RunConfig(
        recipe=mac.Config(
            video_masking=PerFrameMasking(ratio=video),
            text_masking=TokenMasking(ratio=text),
        ),
        stages=pretrain(0.01),
        optim=OptimConfig(lr=5e-4),
        evaluations=2,
    )


NONE = {"video_ratio": 0.0}
MOST_OF_THE_VIDEO = {"video_ratio": MOST, "text_ratio": 0.0}

STUDY = Study(
    question="How much of the video and of the text should be hidden?",
    configure=configure,
    says={"video_ratio": "{share} video hidden", "text_ratio": "{share} text hidden"},
    metric="t2v_r1",
    baseline=NONE | {"text_ratio": 0.0},
    seeds=(0, 1, 2, 3),
    contrasts=(
        Contrast("90 % of the video hidden rather than none", of=MOST_OF_THE_VIDEO, against=NONE),
        Contrast("75 % of the video hidden rather than none", of={"video_ratio": 0.75}, against=NONE),
        Contrast(
            "no text rather than half of it hidden, beside 90 % of the video",
            of=MOST_OF_THE_VIDEO,
            against={"video_ratio": MOST, "text_ratio": 0.5},
        ),
        Contrast(
            "75 % of the video hidden rather than 50 %",
            of={"video_ratio": 0.75},
            against={"video_ratio": 0.5},
        ),
        Contrast("50 % of the video hidden rather than none", of={"video_ratio": 0.5}, against=NONE),
        Contrast(
            "90 % of the video hidden rather than 75 %", of=MOST_OF_THE_VIDEO, against={"video_ratio": 0.75}
        ),
    ),
    recipes=("mac", "simvtp"),
    by_recipe={
        "simvtp": {
            "contrasts": (
                Contrast("90 % of the video hidden rather than none", of=MOST_OF_THE_VIDEO, against=NONE),
                Contrast(
                    "no text rather than three quarters of it hidden, beside 90 % of the video",
                    of=MOST_OF_THE_VIDEO,
                    against={"video_ratio": MOST, "text_ratio": 0.75},
                ),
                Contrast("75 % of the video hidden rather than none", of={"video_ratio": 0.75}, against=NONE),
                Contrast(
                    "90 % of the video hidden rather than 75 %",
                    of=MOST_OF_THE_VIDEO,
                    against={"video_ratio": 0.75},
                ),
            )
        }
    },
)
