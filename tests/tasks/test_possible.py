"""Which tasks a recipe can do is found by what it defines; what none can do is refused in a sentence."""

from dataclasses import replace

import numpy as np
import pytest
import torch
import toys
from small import FRAMES, SIZE, recipe_module, recipe_names, run_config

from workbench import tasks
from workbench.config import DataConfig
from workbench.errors import UserError
from workbench.testing import task_contract
from workbench.train.session import open_session, try_to_build

EVERY = tasks.names()

TestEveryTask = task_contract(*EVERY)
NOWHERE = DataConfig(name="random", digest="0" * 64, frames=FRAMES, size=SIZE)


def recipe(name):
    return recipe_module(name).Recipe


def test_the_scan_finds_the_tasks_we_know_and_not_what_they_share():
    ours = {
        "retrieval",
        "pair_retrieval",
        "shuffling",
        "order",
        "probe",
        "video_qa",
        "captioning",
        "grounding",
    }
    assert ours <= set(EVERY)
    assert not {"gallery", "drops", "text_only"} & set(EVERY)


def test_what_a_recipe_defines_decides():
    either = {"shuffling", "order", "probe", "video_qa"}
    embeds = either | {
        "retrieval", "caption_sets", "grounding", "classification", "dual_softmax", "query_bank",
    }  # fmt: skip
    assert tasks.possible(EVERY, recipe("mac")) == [n for n in EVERY if n in embeds]
    assert set(tasks.possible(EVERY, recipe("simvtp"))) == {"pair_retrieval"} | embeds
    assert set(tasks.possible(EVERY, recipe("coca"))) == {"captioning"} | embeds
    assert set(tasks.possible(EVERY, toys.Recipe)) == {"pair_retrieval"} | either
    assert tasks.possible(["shuffling", "retrieval"], recipe("mac")) == ["shuffling", "retrieval"], "in order"
    assert tasks.possible(["pair_retrieval"], recipe("mac")) == []


def test_half_of_an_alternative_is_not_enough():
    class Deaf:
        def embed_video(self, video):
            """Of clips only."""

    assert tasks.possible(EVERY, Deaf) == []


def test_what_no_recipe_can_do_is_a_sentence():
    said = tasks.refusal(["retrieval", "pair_retrieval"], [recipe("mac")])
    assert said.startswith("mac cannot do pair_retrieval, which needs match; possible are ")
    possible = tasks.possible(EVERY, recipe("mac"))
    assert said.rpartition("possible are ")[2].split(", ") == possible
    assert "\n" not in said
    assert "embed_video and embed_text" in tasks.refusal(["retrieval"], [toys.Recipe])


def test_one_able_recipe_of_a_study_is_enough():
    assert tasks.refusal(["pair_retrieval", "retrieval"], [recipe("mac"), recipe("simvtp")]) == ""
    assert tasks.refusal(["retrieval"], [recipe(name) for name in ("mac", "mac")]) == ""
    assert "mac cannot" in tasks.refusal(["pair_retrieval"], [recipe("mac"), recipe("mac")])


def test_what_is_known_of_clips_decides_too():
    assert tasks.askable(EVERY, set()) == [n for n in EVERY if not hasattr(tasks.load(n), "KNOWN")]
    assert tasks.askable(["probe", "retrieval", "order"], {"label"}) == ["probe", "retrieval"]
    assert tasks.askable(["order"], {"colour", "shape", "first", "second"}) == []
    assert tasks.askable(["order"], {"colour", "shape", "first", "second", "background", "mood"}) == ["order"]


def test_what_no_data_know_is_a_sentence():
    knowing = {"films": {"label", "genre"}, "clips": set()}
    assert tasks.unknown(["retrieval", "probe"], knowing) == ""
    said = tasks.unknown(["retrieval", "order"], knowing)
    assert said == (
        "order needs clips whose colour, shape, first, second and background are known, as moving_shapes "
        "has them; films knows genre and label; clips knows nothing"
    )
    assert (
        "whose colour, shape, first, second, background or label is known; c knows nothing"
        in tasks.unknown(["probe"], {"c": ()})
    )


@pytest.mark.parametrize("task", ["order", "probe"])
def test_a_run_whose_data_do_not_know_enough_is_refused_before_it_trains(store, task):
    with pytest.raises(UserError, match=f"{task} needs clips whose .* known.*; random knows nothing"):
        open_session(run_config("mac", tasks=("retrieval", task)), store, device=torch.device("cpu"))


def test_what_a_store_knows(store):
    assert store.known == frozenset()
    some = replace(store, attributes={"mood": ["glad", None], "size": [1, 2]}, labels=np.array([0, 1]))
    assert some.known == {"size", "label"}


def test_an_unknown_task_is_refused_with_those_that_exist():
    with pytest.raises(UserError, match=r"no task 'dreams'; there are .*retrieval"):
        tasks.possible(["dreams"], recipe("mac"))
    with pytest.raises(UserError, match="no task 'gallery'"):
        tasks.load("gallery")


def test_a_run_none_of_whose_tasks_its_recipe_can_do_is_refused_before_there_are_data():
    with pytest.raises(UserError, match="mac cannot do pair_retrieval, which needs match") as caught:
        try_to_build(run_config("mac", data=NOWHERE, tasks=("pair_retrieval",)))
    assert "\n" not in str(caught.value)
    with pytest.raises(UserError, match="toys cannot do retrieval"):
        try_to_build(run_config(toys.Config(), data=NOWHERE))


def test_one_possible_task_is_enough_for_a_run():
    try_to_build(run_config("mac", data=NOWHERE, tasks=("pair_retrieval", "retrieval")))


@pytest.mark.parametrize("name", recipe_names())
def test_every_recipe_can_do_something(name):
    assert tasks.possible(EVERY, recipe(name))


@pytest.mark.parametrize("bad", [(), ("retrieval", "retrieval")])
def test_a_run_has_tasks_and_none_twice(bad):
    with pytest.raises(UserError, match="must have one or more tasks"):
        run_config("mac", tasks=bad)
