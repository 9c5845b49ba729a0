"""Does what a system is known for help it here? Removes its unique part and parts that its paper ablates.

`--recipe` selects the system; every arm changes one of its published defaults, at equal training FLOPs, with
the stages and the learning rate of `systems`. Read `t2v_r1` after both stages and the difference to the arm
`as published`. Effects on other abilities are measured at the end of the system's own stage, before the
alignment changes its encoders: pairs judged together, captions, the order of actions, pointing and grounding,
if a recipe supports them; and by probes of the frozen encoder. locvtp trains on `moving_shapes_timed`. Cells
of the table without a measurement are empty. 5 to 8 cells.

    python -m workbench.study components --recipe coca --seeds 3
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from workbench import recipes
from workbench.config import DataConfig, RunConfig
from workbench.masking.text import TokenMasking
from workbench.masking.video import (
    BlockMasking,
    BoxMasking,
    CellMasking,
    PerFrameMasking,
    RandomMasking,
    TubeMasking,
)
from workbench.study.spec import Study, Trial
from workbench.study.stages import optim_of, pretrain_then_align, tasks_of

TASKS = ("retrieval", "pair_retrieval", "captioning", "order", "probe")
"""Tasks of the study; a recipe is evaluated by those that it supports."""
MORE = {"slan": ("pointing",), "locvtp": ("grounding",)}
"""Recipe -> additional tasks, which its unique part is meant for."""
WORLDS = {"locvtp": "moving_shapes_timed"}
"""Recipe -> its data, if the default data lack what its unique part is meant for."""
PUBLISHED = "as published"
WEIGHTS = "weights"
"""Key of a change of some of the recipe's loss weights."""

ARMS: Mapping[str, Mapping[str, Mapping[str, Any]]] = {
    "mac": {
        "no video hidden": {"video_masking": None},
        "no word hidden": {"text_masking": None},
        "tubes": {"video_masking": TubeMasking(ratio=0.6)},
        "90 % of the video hidden": {"video_masking": PerFrameMasking(ratio=0.9)},
    },
    "simvtp": {
        "no pixels": {WEIGHTS: {"mvm": 0.0}},
        "no words": {WEIGHTS: {"mlm": 0.0}},
        "no contrast": {WEIGHTS: {"vtc": 0.0}},
        "no matching": {WEIGHTS: {"vtm": 0.0}},
        "75 % in tubes": {"video_masking": TubeMasking(ratio=0.75)},
        "15 % of the words hidden": {"text_masking": TokenMasking(ratio=0.15)},
    },
    "videomae": {
        "random instead of tubes": {"video_masking": RandomMasking(ratio=0.9)},
        "per frame instead of tubes": {"video_masking": PerFrameMasking(ratio=0.9)},
        "75 % in tubes": {"video_masking": TubeMasking(ratio=0.75)},
        "50 % in tubes": {"video_masking": TubeMasking(ratio=0.5)},
    },
    "coca": {
        "parallel poolers": {"pooler": "parallel"},
        "no poolers": {"pooler": "none"},
        "decoder not split": {"split": "none"},
        "no captioning": {WEIGHTS: {"lm": 0.0}},
        "captioning 1 : 1": {WEIGHTS: {"lm": 1.0}},
    },
    "maskvlm": {
        "given the masked other side": {"condition": "masked"},
        "given nothing of the other side": {"condition": "none"},
        "no masked prediction": {WEIGHTS: {"mlm": 0.0, "mvm": 0.0}},
        "cells 80 %": {"video_masking": CellMasking(ratio=0.8)},
    },
    "lavender": {
        "a head of its own for matching": {"match_head": "linear"},
        "no matching": {WEIGHTS: {"vtm": 0.0}},
        "2 candidates": {"candidates": 2},
        "30 % of the words hidden": {"text_masking": TokenMasking(ratio=0.3)},
    },
    "clover": {
        "plain contrast over all three": {"exclusive": False},
        "no ranking": {WEIGHTS: {"rank": 0.0}},
        "no hidden words predicted": {WEIGHTS: {"mlm": 0.0}},
        "pulled to the other fused vector": {"fused_hides": "other"},
        "blocks of 40 %": {"video_masking": BlockMasking(ratio=0.4)},
    },
    "locvtp": {
        "one right caption a clip": {"targets": "hard"},
        "no contrast of steps and words": {WEIGHTS: {"fine": 0.0}},
        "no shifted contrast": {WEIGHTS: {"shifted": 0.0}},
        "no splicing": {WEIGHTS: {"splice": 0.0}},
        "clip and caption alone": {WEIGHTS: {"fine": 0.0, "shifted": 0.0, "splice": 0.0}},
        "the released weights": {WEIGHTS: {"fine": 10.0, "shifted": 1000.0}},
    },
    "hitea": {
        "no moments": {WEIGHTS: {"moment": 0.0}},
        "no relations": {WEIGHTS: {"relation": 0.0}},
        "neither": {WEIGHTS: {"moment": 0.0, "relation": 0.0}},
        "1 word a moment": {"words": 1},
        "short views of a quarter": {"short": 0.25},
    },
    "vlc": {
        "no transport": {WEIGHTS: {"wpa": 0.0}},
        "no pixels": {WEIGHTS: {"mvm": 0.0}},
        "no matching": {WEIGHTS: {"vtm": 0.0}},
        "75 % of each frame hidden": {"video_masking": PerFrameMasking(ratio=0.75)},
    },
    "violet": {
        "boxes only": {"attended": 0.0},
        "no codes": {WEIGHTS: {"mvm": 0.0}},
        "no matching": {WEIGHTS: {"vtm": 0.0}},
        "boxes of 30 %": {"video_masking": BoxMasking(ratio=0.3)},
    },
    "violetv2": {  # features of a teacher that is a run of its own need `init_from`, and are not among these
        "gradients (HOG) instead of pixels": {"target": "hog"},
        "flow": {"target": "flow"},
        "depth": {"target": "depth"},
        "codes": {"target": "codes"},
        "features of the average": {"target": "features_ema"},
        "no target": {WEIGHTS: {"mvm": 0.0}},
        "boxes only": {"video_masking": BoxMasking(ratio=0.3)},
    },
    "clipbert": {
        "scores averaged": {"aggregate": "mean"},
        "best score": {"aggregate": "max"},
        "1 clip": {"clips": 1},
        "clips of 1 frame": {"frames": 1},
    },
    "slan": {
        "all regions kept": {"levels": (21, 21)},
        "regions not moved": {"adapt": False},
        "one level": {"levels": (4,)},
        "no regions found": {"levels": ()},
        "no fine alignment": {WEIGHTS: {"region": 0.0}},
        "no matching": {WEIGHTS: {"vtm": 0.0}},
    },
    "omnivl": {  # images first, then both, is a matter of stages, and not among these
        "each pair for itself": {"labels": False},
        "no class names": {"labelled": 0.0},
        "no queue, no averages": {"queue": 0},
        "averages say nothing of the target": {"alpha": 0.0},
        "no images": {"images": 0.0},
    },
    "internvideo": {
        # Trains the generative encoder all the same; `promises` has an arm without it.
        "no coordination": {"coordinate": "off"},
        "a perceptron over both": {"coordinate": "concat"},
        "no captioning": {WEIGHTS: {"lm": 0.0}},
        "75 % in tubes": {"video_masking": TubeMasking(ratio=0.75)},
    },
    "smaug": {
        "no sparsifier": {"keep_patches": 1.0},
        "no frame selector": {"keep_frames": 1.0},
        "a quarter of the visible patches kept": {"keep_patches": 0.25},
        "2 of 8 frames selected": {"keep_frames": 0.25},
        "no pixels": {WEIGHTS: {"mvm": 0.0}},
        "75 % of each frame hidden": {"video_masking": PerFrameMasking(ratio=0.75)},
    },
    "vlmae": {
        "no features": {WEIGHTS: {"features": 0.0}},
        "no pixels": {WEIGHTS: {"mvm": 0.0}},
        "neither": {WEIGHTS: {"features": 0.0, "mvm": 0.0}},
        "the encoder itself as teacher": {"momentum": 0.0},
        "75 % of each slot hidden": {"video_masking": PerFrameMasking(ratio=0.75)},
    },
}
"""Recipe -> arm -> fields of its configuration that are changed."""


def configure(trial: Trial) -> RunConfig:
    part = trial.suggest_categorical("part", [PUBLISHED, *ARMS[trial.recipe]])
    recipe = recipes.load(trial.recipe).Config()
    if part != PUBLISHED:
        changes = dict(ARMS[trial.recipe][part])
        if WEIGHTS in changes:
            changes[WEIGHTS] = replace(recipe.weights, **changes[WEIGHTS])
        recipe = replace(recipe, **changes)
    return RunConfig(
        recipe=recipe,
        data=DataConfig(name=WORLDS.get(trial.recipe, DataConfig().name)),
        stages=pretrain_then_align(0.02),
        optim=optim_of(trial.recipe),
        evaluations=2,
        tasks=tasks_of(trial.recipe, (*TASKS, *MORE.get(trial.recipe, ()))),
    )


STUDY = Study(
    question="Does what a system is known for help it here?",
    configure=configure,
    says={"part": "{value}"},
    baseline={"part": PUBLISHED},
    reads=(
        "test/stage0_rerank20_t2v_r1",
        "test/stage0_gallery100_t2v_r1",
        "test/stage0_caption_slots",
        "test/stage0_order_pairs",
        "test/stage0_grounding_miou",
        "test/stage0_pointing",
        "test/stage0_probe_label_linear",
        "test/probe_label_linear",
        "cost/train_pflops",
        "cost/video_passes",
        "mask/video_hidden",
        "speed/clips_per_s",
        "train/steps",
    ),
    recipes=tuple(ARMS),
)
