"""Does it matter where video is hidden? Four strategies at three ratios, equal training FLOPs. 12 cells.

Read `t2v_r1`. Tokens of 2 x 16 x 16 give four temporal slots, so that whole frames can be hidden at three
ratios: with four slots, `frame` hides 2, 3 and 3 of them, and 0.9 is the same as 0.75 for it.

    python -m workbench.study mask_strategy --seeds 3
"""

from collections.abc import Callable

from workbench.config import Budget, RunConfig, Stage
from workbench.masking.video import FrameMasking, PerFrameMasking, RandomMasking, TubeMasking, VideoMasking
from workbench.models.video import VideoConfig
from workbench.recipes import mac
from workbench.study.spec import Study, Trial

STRATEGIES: dict[str, Callable[..., VideoMasking]] = {
    "random": RandomMasking,
    "per-frame": PerFrameMasking,
    "tube": TubeMasking,
    "frame": FrameMasking,
}


def configure(trial: Trial) -> RunConfig:
    strategy = trial.suggest_categorical("strategy", list(STRATEGIES))
    ratio = trial.suggest_categorical("ratio", [0.5, 0.75, 0.9])
    return RunConfig(
        recipe=mac.Config(
            video=VideoConfig(tubelet=2, patch=16),
            video_masking=STRATEGIES[strategy](ratio=ratio),
            text_masking=None,
        ),
        stages=(Stage(budget=Budget(unit="pflops", amount=0.015)),),
        evaluations=2,
    )


STUDY = Study(
    question="Does it matter where the video is hidden?",
    configure=configure,
    baseline={"strategy": "random", "ratio": 0.75},
)
