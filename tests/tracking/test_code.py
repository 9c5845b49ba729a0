"""The code of a run: what git does not have is kept beside it, in bounds; and progress without a terminal."""

import subprocess

import pytest

from workbench.data.progress import Progress
from workbench.tracking import code
from workbench.tracking.run_dir import RunDir


@pytest.fixture
def repository(tmp_path, monkeypatch):
    """The working folder: a repository with one committed file. The package's own is left out."""
    folder = tmp_path / "mine"
    folder.mkdir()
    (folder / "train.py").write_text("lr = 1\n")
    for words in (
        ("init", "-q"),
        ("add", "."),
        ("-c", "user.name=me", "-c", "user.email=me@host", "commit", "-q", "-m", "first"),
    ):
        subprocess.run(["git", "-C", str(folder), *words], check=True, capture_output=True)
    monkeypatch.chdir(folder)
    monkeypatch.setattr(code, "PACKAGE", tmp_path / "nowhere")
    return folder


@pytest.fixture
def run(tmp_path):
    directory = RunDir(tmp_path / "run")
    directory.create()
    return directory


def test_nothing_is_kept_where_nothing_differs(repository, run):
    assert code.keep(run, []) == {}
    assert list(run.path.iterdir()) == []


def test_what_was_changed_is_kept_and_what_an_earlier_attempt_had_stays(repository, run):
    (repository / "train.py").write_text("lr = 2\n")
    assert code.keep(run, []) == code.keep(run, []) == {"code_diff": "code/git.diff"}
    text = (run.path / "code/git.diff").read_text()
    assert text.startswith("# mine, changed since ")
    assert "-lr = 1\n+lr = 2\n" in text
    (repository / "train.py").write_text("lr = 3\n")
    assert code.keep(run, []) == {"code_diff": "code/git-2.diff"}
    assert (run.path / "code/git.diff").read_text() == text
    assert "+lr = 3" in (run.path / "code/git-2.diff").read_text()


def test_a_long_diff_is_cut_and_says_so(repository, run, monkeypatch):
    monkeypatch.setattr(code, "LIMIT", 1000)
    (repository / "train.py").write_text("\n".join(f"line = {i}" for i in range(100_000)))
    code.keep(run, [])
    text = (run.path / "code/git.diff").read_text()
    assert text.endswith("\n# cut here: only the first 1000 bytes are kept\n")
    assert len(text) < 1200


def test_files_of_the_users_own_are_copied_helpers_too(repository, run):
    for name in ("mine.py", "_parts.py"):
        (repository / "recipes").mkdir(exist_ok=True)
        (repository / "recipes" / name).write_text(f"# {name}\n")
    code.keep(run, [{"path": str(repository / "recipes" / name)} for name in ("mine.py", "_parts.py")])
    kept = {path.name: path.read_text() for path in (run.path / "code/recipes").iterdir()}
    assert kept == {"mine.py": "# mine.py\n", "helper_parts.py": "# _parts.py\n"}


def test_without_git_or_a_repository_nothing_is_kept(run, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(code, "PACKAGE", tmp_path)
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    assert code.keep(run, []) == {}
    monkeypatch.setenv("PATH", "")
    assert code.keep(run, []) == {}


def test_progress_is_whole_lines_where_there_is_no_terminal(capsys):
    with Progress(250, "decoding clips", "clip") as bar:
        for _ in range(250):
            bar.update()
        bar.say("left out: a.mp4")
    err = capsys.readouterr().err
    assert "\r" not in err
    lines = err.splitlines()
    assert lines[0] == "decoding clips: 25 of 250 clips"
    assert lines[-2:] == ["decoding clips: 250 of 250 clips", "left out: a.mp4"]
    assert len(lines) == 11
    with Progress(0, "nothing", "clip"), Progress(5, "hidden", "clip", shown=False) as bar:
        bar.update(5)
    assert capsys.readouterr().err == ""
