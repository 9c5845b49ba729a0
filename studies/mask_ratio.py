"""How much of video and text to hide? MAC's two ratios at equal training FLOPs (arXiv:2212.00986).

A masked arm spends what it saves on seeing more clips. 12 cells. `--recipe simvtp` asks the same of
mask-then-predict (arXiv:2212.03490): its four losses for two thirds of the budget, then, so that every arm
is judged in an aligned space, one third of unmasked alignment, as in `align_or_predict`. Where nothing is
hidden, nothing is predicted. Its text ratios reach to the 0.75 of its paper.

    python -m workbench.study mask_ratio
    python -m workbench.study mask_ratio --recipe simvtp
    python -m workbench.study mask_ratio --seeds 3
"""

from workbench.config import RunConfig
from workbench.masking.text import TokenMasking
from workbench.masking.video import PerFrameMasking, TubeMasking
from workbench.models.video import VideoConfig
from workbench.recipes import mac, simvtp
from workbench.study.spec import Study, Trial
from workbench.study.stages import pretrain, pretrain_then_align


def configure(trial: Trial) -> RunConfig:
    video = trial.suggest_categorical("video_ratio", [0.0, 0.5, 0.75, 0.9])
    if trial.recipe == "simvtp":
        text = trial.suggest_categorical("text_ratio", [0.0, 0.5, 0.75])
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
    text = trial.suggest_categorical("text_ratio", [0.0, 0.25, 0.5])
    return RunConfig(
        recipe=mac.Config(
            video_masking=PerFrameMasking(ratio=video),
            text_masking=TokenMasking(ratio=text),
        ),
        stages=pretrain(0.015),
        evaluations=2,
    )


STUDY = Study(
    question="How much of the video and of the text should be hidden?",
    configure=configure,
    metric="t2v_r1",
    baseline={"video_ratio": 0.0, "text_ratio": 0.0},
    recipes=("mac", "simvtp"),
)
