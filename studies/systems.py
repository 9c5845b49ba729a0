"""Which published system learns most from the same FLOPs? All recipes are cells, at equal training FLOPs.

Each system trains under its own losses and masking for two thirds of the budget, and for one third under the
same unmasked alignment, at the learning rate that `systems_rates` has chosen for it on another seed (`CHOSEN`
in `workbench/study/stages.py`; a system without an entry gets the middle rate). Systems are compared by
`t2v_r10`, since R@1 of most is near chance at this budget; read `t2v_r1` and `v2t_r1` beside it, zero-shot
retrieval before the alignment (`test/stage0_t2v_r1`, only for systems that align in their own stage), and
judged pairs at the end of the system's own stage, because the alignment changes the encoders below that head
(`test/stage0_rerank20_t2v_r1` for systems that embed both sides, else `test/stage0_gallery100_t2v_r1` on a
gallery of 100).

The study cannot show how the systems rank at the size, data and compute that they were made for, from
pre-trained weights, or in tasks other than retrieval.

    python -m workbench.study systems --seeds 3
"""

from workbench import recipes
from workbench.config import RunConfig
from workbench.study.spec import Study, Trial
from workbench.study.stages import optim_of, pretrain_then_align


def configure(trial: Trial) -> RunConfig:
    system = trial.suggest_categorical("system", recipes.names())
    return RunConfig(
        recipe=recipes.load(system).Config(),
        stages=pretrain_then_align(0.02),
        optim=optim_of(system),
        evaluations=2,
        tasks=("retrieval", "pair_retrieval"),
    )


STUDY = Study(
    question="Which published system learns most from the same FLOPs?",
    configure=configure,
    says={"system": "{value}"},
    metric="t2v_r10",
    baseline={"system": "mac"},
    reads=(
        "test/t2v_r1",
        "test/t2v_meanr",
        "test/v2t_r1",
        "test/stage0_t2v_r1",
        "test/stage0_rerank20_t2v_r1",
        "test/stage0_gallery100_t2v_r1",
        "cost/train_pflops",
        "cost/train_gflops_per_clip",
        "cost/video_passes",
        "cost/text_passes",
        "cost/fusion_passes",
        "cost/video_tokens_out",
        "speed/clips_per_s",
        "cost/peak_memory_gb",
        "train/steps",
    ),
)
