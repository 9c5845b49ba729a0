"""Does it matter where video is hidden? Four strategies at three ratios, equal training FLOPs. 12 cells.

Read `t2v_r1`. Tokens of 2 x 16 x 16 give four temporal slots, so that whole frames can be hidden at three
ratios: with four slots, `frame` hides 2, 3 and 3 of them, and 0.9 is the same as 0.75 for it.
`--recipe simvtp` asks the same of mask-then-predict, with the stages of `mask_ratio`.

    python -m workbench.study mask_strategy --seeds 3
    python -m workbench.study mask_strategy --recipe simvtp
"""

from collections.abc import Callable

from workbench.config import Budget, RunConfig, Stage
from workbench.masking.video import FrameMasking, PerFrameMasking, RandomMasking, TubeMasking, VideoMasking
from workbench.models.video import VideoConfig
from workbench.recipes import mac, simvtp
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
    video, masking = VideoConfig(tubelet=2, patch=16), STRATEGIES[strategy](ratio=ratio)
    if trial.recipe == "simvtp":
        return RunConfig(
            recipe=simvtp.Config(video=video, video_masking=masking, learn_temperature=True),
            stages=(
                Stage(budget=Budget(unit="pflops", amount=0.010)),
                Stage(objective="align", masked=False, budget=Budget(unit="pflops", amount=0.005)),
            ),
            evaluations=2,
        )
    return RunConfig(
        recipe=mac.Config(video=video, video_masking=masking, text_masking=None),
        stages=(Stage(budget=Budget(unit="pflops", amount=0.015)),),
        evaluations=2,
    )


STUDY = Study(
    question="Does it matter where the video is hidden?",
    configure=configure,
    baseline={"strategy": "random", "ratio": 0.75},
    recipes=("mac", "simvtp"),
)
