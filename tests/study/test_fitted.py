"""What data ask of a run: pictures have one frame, a benchmark's second convention is measured, long captions
are said to be cut; and all of it stands in the plan."""

from dataclasses import replace
from pathlib import Path

from benchmark_files import folder_of
from small import run_config

from workbench.config import DataConfig, Stage
from workbench.data import Described
from workbench.recipes import clipbert, mac
from workbench.study import text_output
from workbench.study.outcome import Entry
from workbench.study.plan import Options, Plan, make_plan
from workbench.study.spec import Study
from workbench.study.stages import fitted


def config(recipe=None):
    data = DataConfig(frames=8, size=64, stored=16, sampling="random")
    return replace(run_config(), recipe=recipe or mac.Config(), data=data)


def plan_of(tmp_path: Path, data: str) -> Plan:
    study = Study(question="?", configure=lambda trial: config(), name="asked")
    return make_plan(study, Options(data=data), tmp_path / "root")


def text(plan: Plan) -> list[str]:
    return text_output.plan_text(
        plan, [Entry(run=run, state="missing") for run in plan.runs], {}
    ).splitlines()


def test_a_run_on_pictures_has_one_frame_and_says_so(tmp_path: Path) -> None:
    plan = plan_of(tmp_path, f"flickr8k:{folder_of('flickr8k', tmp_path, empty=True)}")
    found = plan.cells[0].config
    assert (found.data.frames, found.data.stored, found.data.sampling) == (1, 0, "centre")
    assert found.recipe.video.tubelet == 1
    assert found.tasks == ("retrieval", "caption_sets")
    lines = text(plan)
    assert "flickr8k: one frame an image, encoded with a tubelet of 1" in lines
    assert "flickr8k: measured by caption_sets too" in lines
    assert "flickr8k: test clips: 2 here, 1000 published" in lines


def test_a_run_on_videos_is_left_alone(tmp_path: Path) -> None:
    plan = plan_of(tmp_path, f"msrvtt:{folder_of('msrvtt', tmp_path, empty=True)}")
    found = plan.cells[0].config
    assert replace(found.data, name="moving_shapes", digest="") == config().data
    assert found.recipe == mac.Config()
    assert found.tasks == ("retrieval",)
    assert (
        "msrvtt: val is 1 clips of train, each with its first caption: the benchmark has no val apart from "
        "its test" in text(plan)
    )


def test_every_part_of_a_run_on_pictures_has_one_frame() -> None:
    given = config(clipbert.Config(frames=2))
    other = replace(given.data, name="folder")
    given = replace(given, evaluate_on=(other,), stages=(replace(given.stages[0], data=other), *given.stages))
    found, _ = fitted(given, lambda data: Described(data, 5, frozenset(), pictures=True))
    assert found.recipe.frames == found.recipe.video.tubelet == 1
    assert {data.frames for data in found.all_data} == {1}
    assert isinstance(found.stages[0], Stage)


def test_captions_that_will_be_cut_are_said_with_their_share() -> None:
    words = {5: 30, 33: 8, 200: 2}
    _, notes = fitted(config(), lambda data: Described(data, 5, frozenset(), words=words))
    assert notes[1:] == (
        "moving_shapes: text.max_tokens=32 cuts 25 % of the captions or more, the longest has 200 words",
    )
    assert fitted(config(), lambda data: Described(data, 5, frozenset(), words={32: 9}))[1] == notes[:1]
