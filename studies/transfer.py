"""Does pre-training on one data set help on another, at equal training FLOPs? 4 cells.

Runs train on one data set first and then on another, which is the run's own: `--pretrain-data` names the
first, `--data` the second. By default both are synthetic: moving_shapes, then moving_shapes_timed, which
shows the same actors and actions at other times. All cells spend the same FLOPs, none or half of them on
pre-training, and fine-tune masked like the pre-training or unmasked. Each is compared with the cell that
fine-tunes in the same way and spends the whole budget on it.

Read `t2v_r1`, on unseen clips of the second data set. Also reported are `test/stage0_t2v_r1`, the same before
fine-tuning (zero-shot), and both on the pre-training data, `test/moving_shapes:stage0_t2v_r1` and
`test/moving_shapes:t2v_r1`, which show what fine-tuning has forgotten. Before fine-tuning only the tokenizer
has seen the second data set: it is trained on the training captions of both. A combination of attributes in
the test split of one synthetic data set may be in the training split of the other.

    python -m workbench.study transfer --seeds 3
    python -m workbench.study transfer --pretrain-data webvid:PATH --data msrvtt:PATH --budget 1pflops
"""

from workbench.config import Budget, DataConfig, OptimConfig, RunConfig, Stage
from workbench.masking.video import PerFrameMasking
from workbench.recipes import mac
from workbench.study.spec import Study, Trial

TOTAL = 0.01
PRETRAINING = DataConfig()
FINE_TUNING = DataConfig(name="moving_shapes_timed")


def configure(trial: Trial) -> RunConfig:
    tuning = trial.suggest_categorical("tuning", ["masked", "unmasked"])
    share = trial.suggest_categorical("pretraining", [0.0, 0.5])
    rest = Budget(unit="pflops", amount=TOTAL * (1 - share))
    stages = [Stage(masked=tuning == "masked", budget=rest)]
    if share:
        first = Budget(unit="pflops", amount=TOTAL * share)
        stages.insert(0, Stage(data=PRETRAINING, budget=first))
    return RunConfig(
        recipe=mac.Config(video_masking=PerFrameMasking(ratio=0.75), text_masking=None),
        data=FINE_TUNING,
        stages=tuple(stages),
        optim=OptimConfig(lr=5e-4),
        evaluations=2,
        evaluate_on=(PRETRAINING,),
    )


STUDY = Study(
    question="Does pre-training on one data set help on another, at equal training FLOPs?",
    configure=configure,
    says={"tuning": "{value} fine-tuning", "pretraining": "{share} budget on the other data"},
    baseline={"pretraining": 0.0},
    within=("tuning",),
)
