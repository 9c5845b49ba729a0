"""Does hiding video pay as in FLIP (arXiv:2212.00794)? Varies ratio, batch, tuning, reconstruction. 9 cells.

All cells train for eight epochs and are compared by `t2v_r1`; FLOPs differ on purpose, and so does memory if
the batch size is the same. `enlarged` compensates for hidden tokens: a batch of as many visible tokens as the
unmasked one has (128 clips, 256 at 50 %, 512 at 75 %), at a learning rate that grows as the batch does. To
this, `tuning` adds 0.4 unmasked epochs, for which warm-up and cosine decay of the learning rate restart at
the full peak, and `reconstruction` a small decoder for the hidden pixels. Read `cost/peak_memory_gb` for
whether memory is equal, and `cost/train_pflops` and `speed/train_seconds` for what is saved.

Differs from the paper: its metrics are zero-shot accuracies on images, ours is the retrieval of clips; the
length of the tuning, how the rate grows, the weight of the reconstruction and its decoder are our choice.

    python -m workbench.study flip_curve
"""

from workbench.config import Budget, OptimConfig, RunConfig, Stage
from workbench.masking.video import PerFrameMasking
from workbench.recipes import mac
from workbench.study.spec import Choice, Contrast, Study, Trial

BATCH, LR = 128, 5e-4
EPOCHS, TUNING = 8, 0.4


def configure(trial: Trial) -> RunConfig:
    ratio = trial.suggest_categorical("ratio", [0.0, 0.5, 0.75])
    batch, more = "same", "nothing more"
    if ratio:
        batch = trial.suggest_categorical("batch", ["same", "enlarged"])
    if batch == "enlarged":
        more = trial.suggest_categorical("more", ["nothing more", "tuning", "reconstruction"])
    times = round(1 / (1 - ratio)) if batch == "enlarged" else 1
    stages = [Stage(budget=Budget(unit="epochs", amount=EPOCHS))]
    if more == "tuning":
        stages.append(Stage(masked=False, budget=Budget(unit="epochs", amount=TUNING)))
    return RunConfig(
        recipe=mac.Config(
            video_masking=PerFrameMasking(ratio=ratio),
            text_masking=None,
            weights=mac.Weights(mvm=1.0 if more == "reconstruction" else 0.0),
        ),
        stages=tuple(stages),
        optim=OptimConfig(batch_size=BATCH * times, lr=LR * times),
        evaluations=2,
    )


Some = dict[str, Choice | tuple[Choice, ...]]
HALF: Some = {"ratio": 0.5}
MOST: Some = {"ratio": 0.75}
SAME: Some = {"batch": "same"}
ENLARGED: Some = {"batch": "enlarged", "more": "nothing more"}

STUDY = Study(
    question="Does hiding video pay as in FLIP?",
    configure=configure,
    says={"ratio": "{share} video hidden", "batch": "{value} batch", "more": "{value}"},
    baseline={"ratio": 0.0},
    seeds=(10, 11, 12),
    reads=(
        "cost/train_pflops",
        "cost/train_gflops_per_clip",
        "cost/peak_memory_gb",
        "speed/train_seconds",
        "train/batch_size",
        "train/steps",
    ),
    contrasts=(
        Contrast("none rather than 75 % hidden, with the same batch", of={"ratio": 0.0}, against=MOST | SAME),
        Contrast("none rather than 50 % hidden, with the same batch", of={"ratio": 0.0}, against=HALF | SAME),
        Contrast("at 75 % the enlarged batch rather than the same", of=MOST | ENLARGED, against=MOST | SAME),
        Contrast(
            "unmasked tuning rather than none, over both ratios",
            of={"batch": "enlarged", "more": "tuning"},
            against=ENLARGED,
        ),
        Contrast(
            "no reconstruction rather than one, over both ratios",
            of=ENLARGED,
            against={"batch": "enlarged", "more": "reconstruction"},
        ),
    ),
)
