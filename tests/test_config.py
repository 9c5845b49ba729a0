"""Configurations: a JSON round trip, a key that means one cell, sentences for mistakes."""

import json
import math
import subprocess
import sys
from dataclasses import replace

import pytest
from small import recipe_module, recipe_names

from workbench.config import Budget, DataConfig, OptimConfig, RunConfig, Stage
from workbench.errors import UserError
from workbench.masking.text import TokenMasking
from workbench.masking.video import PerFrameMasking, RandomMasking, TubeMasking
from workbench.recipes import mac
from workbench.serial import diff, flatten, from_dict, to_dict

STAGES = (Stage(budget=Budget(amount=0.02)),)


def cell(**changes):
    return RunConfig(recipe=mac.Config(**changes), stages=STAGES)


@pytest.mark.parametrize("name", recipe_names())
def test_every_recipes_defaults_survive_a_file(name):
    config = RunConfig(recipe=recipe_module(name).Config(), stages=STAGES, seed=3)
    again = RunConfig.from_json(config.to_json())
    assert again == config
    assert again.key() == config.key()
    assert config.recipe_name == name


def test_two_stages_with_every_unit_survive_a_file():
    units = ("steps", "epochs", "pflops", "seconds")
    stages = tuple(Stage(objective="align", masked=False, budget=Budget(unit=u, amount=2.5)) for u in units)
    config = replace(cell(video_masking=None), stages=stages, data=DataConfig(digest="ab", clips=64))
    assert RunConfig.from_json(config.to_json()) == config


class TestKey:
    def test_it_is_twelve_hexadecimal_digits_and_ignores_the_seed(self):
        assert len(cell().key()) == 12
        int(cell().key(), 16)
        assert replace(cell(), seed=7).key() == cell().key()

    def test_it_is_the_same_in_another_process(self):
        code = (
            "from workbench.config import *;"
            "print(RunConfig(recipe=OptimConfig(), stages=(Stage(budget=Budget(amount=0.02)),)).key())"
        )
        found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
        assert found.stdout.strip() == RunConfig(recipe=OptimConfig(), stages=STAGES).key()

    @pytest.mark.parametrize(
        "change",
        [
            {"optim": OptimConfig(lr=2e-3)},
            {"data": DataConfig(frames=4)},
            {"data": DataConfig(digest="other")},
            {"stages": STAGES * 2},
            {"stages": (Stage(budget=Budget(unit="steps", amount=0.02)),)},
            {"evaluations": 5},
            {"recipe": mac.Config(video_masking=TubeMasking(ratio=0.6))},
            {"recipe": mac.Config(video_masking=PerFrameMasking(ratio=0.61))},
        ],
        ids=str,
    )
    def test_it_changes_with_everything_else(self, change):
        assert replace(cell(), **change).key() != cell().key()

    def test_twins_share_it(self):
        none = cell(video_masking=None)
        for twin in (TubeMasking(ratio=0), TubeMasking(ratio=0.0), RandomMasking(ratio=0)):
            assert cell(video_masking=twin).key() == none.key()
        assert cell(text_masking=TokenMasking(ratio=0)).key() == cell(text_masking=None).key()
        assert replace(cell(), optim=OptimConfig(weight_decay=1)).key() == (
            replace(cell(), optim=OptimConfig(weight_decay=1.0)).key()
        )


class TestDiffAndFlatten:
    def test_flatten_gives_dotted_scalars(self):
        flat = flatten(cell())
        assert flat["recipe.video_masking.ratio"] == 0.6
        assert flat["stages.0.budget.unit"] == "pflops"
        assert flat["optim.betas"] == [0.9, 0.98]
        assert not any(isinstance(v, dict) for v in flat.values())

    def test_diff_names_what_differs_and_nothing_else(self):
        other = replace(cell(text_masking=None), optim=OptimConfig(lr=2e-3))
        found = diff(cell(), other)
        assert found["optim.lr"] == (1e-3, 2e-3)
        assert {n for n in found if not n.startswith("recipe.text_masking")} == {"optim.lr"}
        assert found["recipe.text_masking.ratio"] == (0.15, None)
        assert diff(cell(), cell()) == {}


MISTAKES = {
    "negative seed": lambda: replace(cell(), seed=-1),
    "seed that is true": lambda: replace(cell(), seed=True),
    "no stages": lambda: replace(cell(), stages=()),
    "no evaluations": lambda: replace(cell(), evaluations=0),
    "unknown unit": lambda: Budget(unit="hours", amount=1),
    "empty budget": lambda: Budget(amount=0),
    "budget that is no number": lambda: Budget(amount=math.nan),
    "endless budget": lambda: Budget(amount=math.inf),
    "unknown objective": lambda: Stage(objective="mask and predict", budget=Budget(amount=1)),
    "no frames": lambda: DataConfig(frames=0),
    "half a frame": lambda: DataConfig(frames=1.5),
    "tiny frames": lambda: DataConfig(size=4),
    "batch of one": lambda: OptimConfig(batch_size=1),
    "learning rate of zero": lambda: OptimConfig(lr=0),
    "learning rate that is no number": lambda: OptimConfig(lr=math.nan),
    "all warm-up": lambda: OptimConfig(warmup=1),
}


@pytest.mark.parametrize("make", MISTAKES.values(), ids=MISTAKES.keys())
def test_a_mistake_is_one_sentence(make):
    with pytest.raises(UserError) as caught:
        make()
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) > 20


def broken(**changes):
    content = json.loads(cell().to_json())
    for name, value in changes.items():
        content[name] = value
    return json.dumps(content)


FILES = {
    "empty": "",
    "no JSON": "{",
    "a list": "[]",
    "a number": "3",
    "no type": "{}",
    "type that is no string": '{"type": 3}',
    "unknown field": broken(surprise=1),
    "missing stages": json.dumps({"type": "config.RunConfig", "recipe": None}),
    "foreign class": broken(recipe={"type": "os.PathLike"}),
    "class of another package": broken(recipe={"type": "study.spec.Study"}),
    "function of this package": broken(recipe={"type": "config.to_dict"}),
    "unknown recipe": broken(recipe={"type": "recipes.nonsense.Config"}),
    "no class of that name": broken(recipe={"type": "recipes.mac.Nonsense"}),
    "path tricks": broken(recipe={"type": "recipes...errors.UserError"}),
    "word for a number": broken(optim={"type": "config.OptimConfig", "lr": "fast"}),
    "bad ratio": broken(recipe={"type": "masking.video.TubeMasking", "ratio": 1}),
    "another configuration class": json.dumps(to_dict(DataConfig())),
}


@pytest.mark.parametrize("text", FILES.values(), ids=FILES.keys())
def test_a_file_that_is_no_configuration_is_refused(text):
    with pytest.raises(UserError):
        RunConfig.from_json(text)


def test_only_plain_values_have_a_place():
    with pytest.raises(TypeError):
        to_dict({1, 2})


def test_lists_come_back_as_tuples():
    assert from_dict(to_dict((1, (2.5, None, "x", True)))) == (1, (2.5, None, "x", True))
