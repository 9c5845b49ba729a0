"""How to hide words? Ratio x replaced or dropped x which words, equal training FLOPs. 19 cells.

Read `t2v_r1` beside `mask/text_hidden`, the share of real words that is hidden: replacing hides a ratio of
each caption's words, dropping a ratio of all positions, padding first (as FLIP does), so at the same ratio it
hides far fewer words, at 0.15 next to none. And read `cost/text_gflops_per_clip`: dropping makes the text
encoder cheaper, replacing does not.

    python -m workbench.study text_masking --seeds 3
"""

from collections.abc import Callable

from workbench.config import RunConfig
from workbench.masking.text import ContentWordMasking, TextMasking, TokenMasking, WholeWordMasking
from workbench.masking.video import PerFrameMasking
from workbench.models.text import TextConfig
from workbench.recipes import mac
from workbench.study.spec import Study, Trial
from workbench.study.stages import pretrain

WORDS: dict[str, Callable[..., TextMasking]] = {
    "token": TokenMasking,
    "whole-word": WholeWordMasking,
    "content-word": ContentWordMasking,
}


def configure(trial: Trial) -> RunConfig:
    ratio = trial.suggest_categorical("ratio", [0.0, 0.15, 0.3, 0.5])
    masking, text = None, TextConfig()
    if ratio:  # with nothing hidden there is nothing more to choose
        hidden = trial.suggest_categorical("hidden", ["replace", "drop"])
        masking = WORDS[trial.suggest_categorical("words", list(WORDS))](ratio=ratio)
        text = TextConfig(hidden="drop" if hidden == "drop" else "replace")
    return RunConfig(
        recipe=mac.Config(text=text, video_masking=PerFrameMasking(ratio=0.75), text_masking=masking),
        stages=pretrain(0.015),
        evaluations=2,
    )


STUDY = Study(
    question="How should words be hidden?",
    configure=configure,
    says={"ratio": "{share} text hidden", "hidden": "{value}", "words": "each {value}"},
    baseline={"ratio": 0.0},
    reads=(
        "mask/text_hidden",
        "cost/text_gflops_per_clip",
        "cost/train_pflops",
        "speed/clips_per_s",
        "train/steps",
    ),
)
