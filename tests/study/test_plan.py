"""A plan has every cell once, in the order in which runs give the first readable answer."""

from dataclasses import replace

import pytest

from workbench.config import Budget, DataConfig, OptimConfig, RunConfig, Stage
from workbench.errors import UserError
from workbench.study import spec
from workbench.study.__main__ import main
from workbench.study.cells.options import Options, parse_seeds
from workbench.study.plan import make_plan
from workbench.study.spec import Study
from workbench.study.trials import walk


def config(lr=1e-3, warmup=0.1):
    stage = Stage(budget=Budget(unit="pflops", amount=0.5))
    return RunConfig(recipe=OptimConfig(), optim=OptimConfig(lr=lr, warmup=warmup), stages=(stage,))


def plan_of(configure, tmp_path, options=None, **fields):
    return make_plan(Study(question="?", configure=configure, **fields), options or Options(), tmp_path)


def test_every_combination_is_asked_once_the_last_axis_fastest():
    def configure(trial):
        return config(trial.suggest_categorical("a", [1, 2]), trial.suggest_categorical("b", [0.1, 0.2, 0.3]))

    found = [tuple(axes.values()) for axes, _ in walk(configure)]
    assert found == [(1, 0.1), (1, 0.2), (1, 0.3), (2, 0.1), (2, 0.2), (2, 0.3)]


def test_an_axis_may_exist_only_under_one_choice():
    def configure(trial):
        if trial.suggest_categorical("kind", ["plain", "tuned"]) == "plain":
            return config()
        return config(trial.suggest_categorical("lr", [1e-2, 1e-4]))

    assert [axes for axes, _ in walk(configure)] == [
        {"kind": "plain"},
        {"kind": "tuned", "lr": 1e-2},
        {"kind": "tuned", "lr": 1e-4},
    ]


def test_a_study_without_axes_has_one_cell():
    assert [axes for axes, _ in walk(lambda trial: config())] == [{}]


def test_cells_that_come_out_the_same_count_once(tmp_path):
    def configure(trial):
        strategy = trial.suggest_categorical("strategy", ["tube", "random"])
        ratio = trial.suggest_categorical("ratio", [0.0, 0.5])
        return config(1e-3 if ratio == 0 else 1e-2 if strategy == "tube" else 1e-4)

    plan = plan_of(configure, tmp_path, baseline={"strategy": "random", "ratio": 0.0})
    assert [cell.label for cell in plan.cells] == [
        "strategy=tube ratio=0.0",
        "strategy=tube ratio=0.5",
        "strategy=random ratio=0.5",
    ]
    assert plan.cells[0].twins == ({"strategy": "random", "ratio": 0.0},)
    assert plan.baseline == plan.cells[0]


def test_seeds_are_outermost_and_no_part_of_a_cell(tmp_path):
    def configure(trial):
        return config(trial.suggest_categorical("lr", [1e-2, 1e-3]))

    plan = plan_of(configure, tmp_path, Options(seeds=(0, 7)))
    assert [(run.config.optim.lr, run.config.seed) for run in plan.runs] == [
        (1e-2, 0),
        (1e-3, 0),
        (1e-2, 7),
        (1e-3, 7),
    ]
    assert len({run.cell.key for run in plan.runs}) == 2
    assert plan.runs[2].name == f"{plan.cells[0].key}-s7"


def test_a_quick_look_and_a_smoke_test_take_the_first_seed(tmp_path):
    def seeds(**options):
        study = Study(question="?", configure=lambda trial: config(), seeds=(3, 4), name="some")
        return make_plan(study, Options(**options), tmp_path).seeds

    assert (seeds(), seeds(quick=True), seeds(smoke=True)) == ((3, 4), (3,), (3,))
    assert seeds(smoke=True, seeds=(0, 1)) == (0, 1)
    with pytest.raises(UserError, match="--quick is one seed of each cell, and --seeds says which"):
        seeds(quick=True, seeds=(0,))


def test_cells_are_called_as_the_study_says(tmp_path):
    def configure(trial):
        return config(trial.suggest_categorical("lr", [1e-2, 1e-3]))

    study = Study(question="?", configure=configure, says={"lr": "rate {value}"}, name="some")
    plan = make_plan(study, Options(), tmp_path)
    assert [cell.label for cell in plan.cells] == ["rate 0.01", "rate 0.001"]
    assert plan.description()["says"] == {"lr": "rate {value}"}
    with pytest.raises(UserError, match="its axes are lr"):
        make_plan(replace(study, says={"rate": "{value}"}), Options(), tmp_path)


def test_smoke_budget_and_data_change_the_keys(tmp_path):
    plans = [
        plan_of(lambda trial: config(), tmp_path, options)
        for options in (Options(), Options(budget="2x"), Options(smoke=True), Options(budget="1x"))
    ]
    keys = [plan.cells[0].key for plan in plans]
    assert len(set(keys)) == 3
    assert keys[0] == keys[3]
    assert all(plan.cells[0].config.data.digest for plan in plans)


def test_seeds_are_a_number_or_a_list():
    assert parse_seeds("3") == (0, 1, 2)
    assert parse_seeds("0,4, 7") == (0, 4, 7)
    assert parse_seeds("100,") == (100,)
    for bad in ("", "0", "a", "1,1", "-1", "1.5", "1,,2", "20251124"):
        with pytest.raises(UserError, match="--seeds"):
            parse_seeds(bad)


def test_a_bad_cell_is_named(tmp_path):
    def configure(trial):
        return config(trial.suggest_categorical("lr", [1e-3, -1.0]))

    with pytest.raises(UserError, match=r"cell lr=-1\.0: optim\.lr must be a positive number"):
        plan_of(configure, tmp_path)


def test_choices_that_no_ledger_could_keep_are_refused(tmp_path):
    with pytest.raises(UserError, match="numbers, words"):
        plan_of(lambda trial: config(trial.suggest_categorical("lr", [(1,)])), tmp_path)
    with pytest.raises(UserError, match="numbers, words"):
        plan_of(lambda trial: config(trial.suggest_categorical("lr", [])), tmp_path)


def test_a_baseline_that_is_no_cell_is_refused(tmp_path):
    with pytest.raises(UserError, match="is not one of its cells"):
        plan_of(lambda trial: config(), tmp_path, baseline={"ratio": 0.3})


def test_own_videos_need_a_place(tmp_path):
    with pytest.raises(UserError, match="--data folder:PATH"):
        plan_of(lambda trial: config(), tmp_path, Options(data="folder"))
    with pytest.raises(UserError, match="no data set 'nonsense'"):
        plan_of(lambda trial: config(), tmp_path, Options(data="nonsense"))
    with pytest.raises(UserError, match="moving_shapes takes no place"):
        plan_of(lambda trial: config(), tmp_path, Options(data="moving_shapes:here"))


class TestWhatIsKnownOfClips:
    """A task that asks about attributes, on data that have none, is refused before anything is made."""

    @pytest.fixture
    def videos(self, tmp_path):
        folder = tmp_path / "own"
        folder.mkdir()
        (folder / "captions.csv").write_text(
            "video,caption,split\na.mp4,a,train\nb.mp4,b,val\nc.mp4,c,test\nd.mp4,d,train\n"
        )
        for name in "abcd":
            (folder / f"{name}.mp4").write_text(name)
        return Options(data=f"folder:{folder}")

    def plan(self, tmp_path, options=None, metric="t2v_r1", **changes):
        asked = replace(config(), tasks=("retrieval", "video_qa"), **changes)
        return plan_of(lambda trial: asked, tmp_path, options, metric=metric)

    def test_own_videos_are_not_asked(self, tmp_path, videos):
        with pytest.raises(
            UserError, match=r"video_qa needs clips whose .*known.*; folder knows nothing"
        ) as caught:
            self.plan(tmp_path, videos)
        assert "\n" not in str(caught.value)

    def test_the_drawn_world_is(self, tmp_path):
        assert self.plan(tmp_path, metric="qa_open").cells

    def test_some_data_of_several_are_enough_unless_the_study_asks_of_the_others(self, tmp_path, videos):
        both = {"data": DataConfig(name="folder"), "evaluate_on": (DataConfig(name="moving_shapes"),)}
        assert self.plan(tmp_path, videos, **both).cells
        assert self.plan(tmp_path, videos, metric="moving_shapes:qa_open", **both).cells
        with pytest.raises(UserError, match=r"video_qa needs clips whose .*known.*; folder knows nothing"):
            self.plan(tmp_path, videos, metric="qa_open", **both)

    def test_own_videos_are_not_trained_on_by_questions(self, tmp_path, videos):
        stage = Stage(budget=Budget(amount=0.5), data=DataConfig(name="folder", text="questions"))
        with pytest.raises(UserError, match=r"data\.text='questions' does not go with folder"):
            plan_of(lambda trial: replace(config(), stages=(stage,)), tmp_path, videos)


@pytest.mark.parametrize("name", ["nothing", "../mask_ratio", "/etc/passwd", "", "a.b", "x" * 300])
def test_an_unknown_study_is_answered_with_those_that_exist(name):
    with pytest.raises(UserError, match=r"there are .*mask_ratio"):
        spec.load(name)


def test_a_question_is_read_without_running_the_file(place):
    (place / "studies" / "mine.py").write_text(
        "raise RuntimeError\nSTUDY = Study(question='Is it ' 'read?', configure=f)\n"
    )
    assert spec.questions()["mine"] == "Is it read?"


@pytest.mark.parametrize("name", spec.find())
def test_every_study_can_be_planned(name, tmp_path):
    study = spec.load(name)
    assert study.question == spec.questions()[name]
    for options in (Options(), Options(smoke=True, seeds=() if study.mode == "search" else (0, 1))):
        plan = make_plan(study, options, tmp_path)
        assert len(plan.samples) > 1
        assert (plan.baseline is None) == (study.mode == "search")
        assert all(RunConfig.from_json(cell.config.to_json()) == cell.config for cell in plan.samples)
        assert list(tmp_path.iterdir()) == []


def test_a_study_file_that_cannot_be_loaded_is_named(place):
    (place / "studies/broken.py").write_text("from workbench.recipes import nope\n")
    with pytest.raises(UserError, match=r"broken\.py cannot be loaded: .*nope.*the recipes are .*mac"):
        spec.load("broken")


def test_a_look_at_the_plan_says_what_a_recipe_says_cannot_be_run(place, capsys):
    (place / "studies/taught.py").write_text(
        """
from workbench.config import Budget, DataConfig, RunConfig, Stage
from workbench.recipes.violetv2 import Config
from workbench.study.spec import Study

def configure(trial):
    target = trial.suggest_categorical("target", ["pixel", "features_3d"])
    stage = Stage(budget=Budget(unit="steps", amount=1))
    return RunConfig(recipe=Config(target=target), stages=(stage,), data=DataConfig(clips=64))

STUDY = Study(question="?", configure=configure)
"""
    )
    assert main(["taught", "--plan", "--mlflow", "none"]) == 2
    assert "needs a run for the part 'teacher' in init_from" in capsys.readouterr().err
    assert not (place / "results").exists()
