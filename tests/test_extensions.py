"""Recipes, maskings, data sets, tasks, views and studies of the user's own, as docs/extending.md has them."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from workbench import extensions
from workbench.errors import UserError
from workbench.extensions import record

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs/extending.md").read_text(encoding="utf-8")
BLOCKS = dict(re.findall(r"```python\n# (\w+/\w+\.py)\n(.*?)```", PAGE, re.DOTALL))


def project(folder):
    """The user's folder of the page."""
    for name, text in BLOCKS.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text, encoding="utf-8")
    return folder


def run(place, *words, home=None):
    """A command of the package in another folder: exit code, output, errors."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith("WORKBENCH")}
    environment |= {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    environment |= {"WORKBENCH_OWN": str(home)} if home else {}
    done = subprocess.run(
        [sys.executable, *map(str, words)],
        cwd=place,
        env=environment,
        capture_output=True,
        text=True,
        timeout=280,
    )
    return done.returncode, done.stdout, done.stderr


@pytest.fixture
def mine(tmp_path, monkeypatch):
    """An empty working folder of the user's."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def write(folder, name, text=""):
    (folder / name).parent.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text(text, encoding="utf-8")


@pytest.fixture(scope="module")
def studied(tmp_path_factory):
    """The page's project after `study own --smoke`, by the real command."""
    folder = project(tmp_path_factory.mktemp("project"))
    code, out, err = run(folder, "-m", "workbench.study", "own", "--smoke", "--mlflow", "none")
    assert code == 0, err
    return folder, out, err


def test_the_page_has_a_file_of_every_kind():
    assert {name.partition("/")[0] for name in BLOCKS} == {*extensions.KINDS, "studies", "tests"}


def test_a_study_trains_what_is_the_users_own_and_records_it(studied):
    folder, out, err = studied
    assert "Does a chessboard help?" in out
    runs = sorted((folder / "results/runs/own").glob("*-s0"))
    assert len(runs) == 2
    for path in runs:
        summary = json.loads((path / "summary.json").read_text())
        assert {"test/margin", "test/t2v_r1"} <= set(summary)
        found = {Path(one["path"]): one for one in json.loads((path / "run.json").read_text())["own"]}
        names = {"recipes/mine.py", "maskings/chess.py", "datasets/dots.py", "tasks/margin.py"}
        used = {f"{file.parent.name}/{file.name}" for file in found}
        assert used == names or used == names - {"maskings/chess.py"}, "a ratio of 0 is no masking"
        environment = json.loads((path / "environment.json").read_text())
        for file, one in found.items():
            assert (path / "code" / file.parent.name / file.name).read_bytes() == file.read_bytes()
            assert f"{file.parent.name}/{file.name} {one['sha256'][:12]}" in environment["own"]
    assert "\r" not in err
    assert "decoding clips: 40 of 40 clips\n" in err


def test_a_run_finds_it_again_from_another_folder_and_refuses_what_lies_among_results(studied, tmp_path):
    folder, _, _ = studied
    place = shutil.copytree(folder / "results", tmp_path / "results")
    path = next((place / "runs/own").glob("*-s0"))
    for name in ("status.json", "summary.json"):
        (path / name).unlink()
    (tmp_path / "elsewhere").mkdir()
    train = ("-m", "workbench.train", path, "--data-root", place / "data")
    code, _, err = run(tmp_path / "elsewhere", *train)
    assert code == 0, err
    assert (path / "summary.json").exists()
    write(place, "recipes/mine.py", (folder / "recipes/mine.py").read_text())
    identity = json.loads((path / "run.json").read_text())
    [recipe] = [one for one in identity["own"] if one["module"] == "workbench.recipes.mine"]
    recipe["path"] = str(place / "recipes/mine.py")
    with pytest.raises(UserError, match="which lies among results; code is not taken from there"):
        record.find_again(identity["own"], path)
    recipe["path"] = str(tmp_path / "gone/recipes/mine.py")
    with pytest.raises(UserError, match=r"the run needs recipes/mine.py, which is neither here nor at"):
        record.find_again(identity["own"], path)


def test_the_offered_contract_tests_pass_on_it_and_fail_on_what_breaks_the_contract(tmp_path):
    folder = project(tmp_path)
    code, out, err = run(folder, "-m", "pytest", "-q", "-p", "no:cacheprovider", "tests/test_own.py")
    assert code == 0, out + err
    assert int(re.search(r"(\d+) passed", out)[1]) > 100
    assert "skipped" not in out
    text = BLOCKS["maskings/chess.py"].replace("rng.uniform(", "torch.rand(")
    write(folder, "maskings/chess.py", text)
    code, out, err = run(
        folder, "-m", "pytest", "-q", "-p", "no:cacheprovider", "tests/test_own.py", "-k", "Chess"
    )
    assert code == 1
    assert "test_the_generator_alone_decides" in out


DASHBOARD = """
from pathlib import Path
from streamlit.testing.v1 import AppTest
from workbench.masking import names
from workbench.project_paths import ours
at = AppTest.from_file(str(ours("app") / "dashboard.py"), default_timeout=120).run()
print([e.value for e in at.exception], [w.value for w in at.warning])
print([list(r.options) for r in at.sidebar.radio])
at.sidebar.radio[0].set_value("hello").run()
print([h.value for h in at.header], [t.value for t in at.text])
print("ChessMasking" in names.video())
"""


def test_the_dashboard_has_the_view_and_the_masking_and_says_what_is_broken(studied):
    folder, _, _ = studied
    write(folder, "views/torn.py", "TITLE = 'Torn'\ndef render(runs): ...\nnothing\n")
    code, out, err = run(folder, "-c", DASHBOARD)
    assert code == 0, err
    shown, views, hello, masking = out.strip().splitlines()
    assert shown.startswith("[] [")
    assert "torn.py cannot be loaded, line 3: NameError" in shown.replace("\\", "")
    assert "'Hello'" in views
    assert "'Torn'" not in views
    assert hello == "['Hello'] ['2 runs']"
    assert masking == "True"


@pytest.mark.parametrize(
    ("file", "text", "said"),
    [
        ("recipes/mac.py", "class Recipe: ...", "mac.py has the name of workbench.recipes.mac; give"),
        ("datasets/store.py", "def index(): ...", "store.py has the name of workbench.data.store"),
        ("tasks/my-task.py", "METRICS = ()", "my-task.py must be letters, digits and _"),
        (
            "recipes/half.py",
            "class Recipe: ...",
            "half.py has no Config; a file in recipes/ must define Config",
        ),
        ("recipes/torn.py", "class Recipe: ...\n)", "torn.py cannot be loaded, line 2: SyntaxError: u"),
        ("recipes/bad.py", "class Recipe: ...\n1 / 0", "bad.py cannot be loaded, line 2: ZeroDivisionError"),
        ("datasets/far.py", "import nowhere\ndef index(): ...", "far.py cannot be loaded, line 1: Module"),
    ],
)  # fmt: skip
def test_a_file_that_cannot_be_is_refused_in_one_sentence(mine, file, text, said):
    write(mine, file, text)
    code, out, err = run(mine, "-c", LOADING, file.partition("/")[0], Path(file).stem)
    assert (code, out) == (2, "")
    assert err.count("\n") == 1
    assert said in err


LOADING = """
import sys
from workbench import extensions
from workbench.errors import UserError
try:
    extensions.check()
    extensions.module(f"{extensions.KINDS[sys.argv[1]].package}.{sys.argv[2]}")
except UserError as error:
    print(error, file=sys.stderr)
    sys.exit(2)
"""


def test_a_study_says_which_of_the_users_files_is_wrong(mine):
    write(mine, "recipes/bad.py", "class Recipe: ...\nx = undefined\n")
    write(mine, "studies/own.py", "from workbench.recipes import bad\n")
    code, _, err = run(mine, "-m", "workbench.study", "own", "--plan")
    assert code == 2
    assert err.count("\n") == 1
    assert "recipes/bad.py cannot be loaded, line 2: NameError: name 'undefined' is not defined" in err


def test_two_folders_with_one_name_are_refused_and_helpers_and_foreign_files_are_left_alone(
    mine, monkeypatch
):
    write(mine, "tasks/jobs.py", "import celery\n")
    write(mine, "tasks/_parts.py", "METRICS = ()\n")
    write(mine, "tasks/test_mine.py", "METRICS = ()\n")
    write(mine, "tasks/mine.py", "METRICS = ()\n")
    assert list(extensions.files("tasks")) == ["mine"]
    write(mine, "other/tasks/mine.py", "METRICS = ()\n")
    monkeypatch.setenv(extensions.HOMES, str(mine / "other"))
    with pytest.raises(UserError, match=r"tasks/mine\.py and .*other/tasks/mine\.py have the same name"):
        extensions.files("tasks")


def test_a_masking_of_another_name_than_ours_is_listed_and_one_of_the_same_is_refused(mine):
    from workbench.masking import names

    write(
        mine, "maskings/mine.py", "class RowMasking(VideoMasking):\n    'Rows.'\nclass Odd(RowMasking): ...\n"
    )
    assert names.video()["RowMasking"] == "Rows."
    assert "RowMasking" not in names.text()
    write(mine, "maskings/mine.py", "class TubeMasking(VideoMasking): ...\n")
    with pytest.raises(UserError, match=r"mine\.py defines TubeMasking as workbench\.masking\.video does"):
        names.video()


def test_a_masking_that_builds_on_one_of_ours_is_a_strategy_too(mine):
    write(
        mine,
        "maskings/mine.py",
        "from workbench.masking import video\nclass RowMasking(video.TubeMasking):\n    'Rows.'\n",
    )
    code = "from workbench.masking.video import strategy; print(strategy('row')(ratio=0.5))"
    assert run(mine, "-c", code) == (0, "RowMasking(ratio=0.5)\n", "")


def test_what_a_folder_or_a_package_holds_is_found_from_anywhere(tmp_path):
    package = tmp_path / "site/mypackage"
    write(package, "__init__.py")
    write(package, "recipes/mine.py", BLOCKS["recipes/mine.py"])
    write(package, "studies/theirs.py", "STUDY = Study(question='Theirs?')\n")
    write(
        tmp_path,
        "site/mypackage-1.dist-info/METADATA",
        "Metadata-Version: 2.1\nName: mypackage\nVersion: 1\n",
    )
    write(tmp_path, "site/mypackage-1.dist-info/entry_points.txt", "[workbench]\nmine = mypackage\n")
    write(tmp_path, "home/datasets/dots.py", BLOCKS["datasets/dots.py"])
    code = (
        f"import sys; sys.path.insert(0, {str(tmp_path / 'site')!r})\n"
        "from workbench import data, recipes\nfrom workbench.study import spec\n"
        "print('mine' in recipes.names(), 'dots' in data.names(), spec.questions()['theirs'])"
    )
    assert run(tmp_path, "-c", code, home=tmp_path / "home") == (0, "True True Theirs?\n", "")


def test_nothing_is_recorded_where_nothing_is_the_users_own(mine):
    from small import run_config

    assert record.record(run_config()) == []
    assert record.facts(run_config()) == {}
