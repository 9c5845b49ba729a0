"""How should words be hidden? Varies ratio, replacing or dropping, and the choice of words. 5 cells.

All cells have equal training FLOPs. Read `t2v_r1` beside `mask/text_hidden`, the share of real words that is
hidden: replacing hides a ratio of each caption's words, dropping a ratio of all positions, padding first (as
FLIP does), so at the same ratio it hides far fewer words, at 0.15 almost none. Read also
`cost/text_gflops_per_clip`: dropping makes the text encoder cheaper, replacing does not.

Whole-word masking is not an arm, because nearly every word of the synthetic data sets is one token. Hiding
may cost less if captions are redundant:

    python -m workbench.study text_masking
    python -m workbench.study text_masking --data moving_shapes_redundant --budget 2x
"""

from collections.abc import Callable

from workbench.config import RunConfig
from workbench.masking.text import ContentWordMasking, TextMasking, TokenMasking
from workbench.masking.video import PerFrameMasking
from workbench.models.text import TextConfig
from workbench.recipes import mac
from workbench.study.spec import Contrast, Study, Trial
from workbench.study.stages import pretrain

WORDS: dict[str, Callable[..., TextMasking]] = {"token": TokenMasking, "content-word": ContentWordMasking}
LITTLE = 0.15


def configure(trial: Trial) -> RunConfig:
    ratio = trial.suggest_categorical("ratio", [0.0, 0.15, 0.5])
    masking, text = None, TextConfig()
    if ratio:  # without hidden words the other axes have no effect
        # Dropping hides almost no word at 0.15; half of the content words carry most of the information.
        hidden = trial.suggest_categorical("hidden", ["replace"] if ratio == LITTLE else ["replace", "drop"])
        words = trial.suggest_categorical("words", list(WORDS) if ratio == LITTLE else ["token"])
        masking = WORDS[words](ratio=ratio)
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
    seeds=(10, 11, 12, 13),
    reads=(
        "mask/text_hidden",
        "cost/text_gflops_per_clip",
        "cost/train_pflops",
        "speed/clips_per_s",
        "train/steps",
    ),
    contrasts=(
        Contrast(
            "no word rather than half of them replaced",
            of={"ratio": 0.0},
            against={"ratio": 0.5, "hidden": "replace"},
        ),
        Contrast(
            "no word rather than 15 % of them replaced",
            of={"ratio": 0.0},
            against={"ratio": LITTLE, "words": "token"},
        ),
        Contrast(
            "half of the positions dropped, padding first, rather than half of the words replaced",
            of={"ratio": 0.5, "hidden": "drop"},
            against={"ratio": 0.5, "hidden": "replace"},
        ),
        Contrast(
            "15 % of all words rather than of the content words replaced",
            of={"ratio": LITTLE, "words": "token"},
            against={"ratio": LITTLE, "words": "content-word"},
        ),
    ),
)
