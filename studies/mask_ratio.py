"""How much of video and text to hide? MAC's two ratios at equal training FLOPs (arXiv:2212.00986).

A masked arm spends what it saves on seeing more clips. 12 cells.

    python -m workbench.study mask_ratio
    python -m workbench.study mask_ratio --seeds 3
"""

from workbench.config import Budget, RunConfig, Stage
from workbench.masking.text import TokenMasking
from workbench.masking.video import PerFrameMasking
from workbench.recipes import mac
from workbench.study.spec import Study, Trial


def configure(trial: Trial) -> RunConfig:
    video = trial.suggest_categorical("video_ratio", [0.0, 0.5, 0.75, 0.9])
    text = trial.suggest_categorical("text_ratio", [0.0, 0.25, 0.5])
    return RunConfig(
        recipe=mac.Config(
            video_masking=PerFrameMasking(ratio=video),
            text_masking=TokenMasking(ratio=text),
        ),
        stages=(Stage(budget=Budget(unit="pflops", amount=0.015)),),
        evaluations=2,
    )


STUDY = Study(
    question="How much of the video and of the text should be hidden?",
    configure=configure,
    metric="t2v_r1",
    baseline={"video_ratio": 0.0, "text_ratio": 0.0},
)
