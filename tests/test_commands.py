"""The console script and the wheel: one command, one top-level package, and no checkout needed."""

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from synthetic import BASE, RATIOS, write_study

from workbench.commands import main

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """A wheel of the tracked files, as it lies in somebody's site-packages."""
    folder = tmp_path_factory.mktemp("wheel")
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=False)
    if listed.returncode:
        pytest.skip("this is no clone")
    for name in filter(None, listed.stdout.split("\0")):
        wanted = name.startswith(("workbench/", "studies/", "app/")) or "/" not in name
        if wanted and (ROOT / name).is_file():
            (folder / "clone" / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, folder / "clone" / name)
    pytest.importorskip("setuptools")
    command = [
        sys.executable,
        "-m",
        "pip",
        "wheel",
        "--quiet",
        "--no-deps",
        "--no-build-isolation",
        "-w",
        ".",
        "./clone",
    ]
    subprocess.run(command, cwd=folder, check=True, capture_output=True, timeout=240)
    [wheel] = folder.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder / "site")
    return folder / "site"


def run(site, place, *arguments):
    """The installed command in another folder: exit code, output, errors."""
    code = "import sys; from workbench.commands import main; sys.exit(main())"
    environment = {k: v for k, v in os.environ.items() if not k.startswith("WORKBENCH")}
    done = subprocess.run(
        [sys.executable, "-c", code, *map(str, arguments)],
        cwd=place,
        env=environment | {"PYTHONPATH": str(site)},
        capture_output=True,
        text=True,
        timeout=240,
    )
    return done.returncode, done.stdout, done.stderr


def test_a_wheel_holds_one_package_with_studies_and_dashboard_inside(site):
    tops = {path.name for path in site.iterdir()}
    assert {name for name in tops if not name.endswith(".dist-info")} == {"workbench"}
    shipped = site / "workbench/shipped"
    for name in ("app", "studies"):
        here = {p.relative_to(ROOT / name) for p in (ROOT / name).rglob("*.py")}
        assert {p.relative_to(shipped / name) for p in (shipped / name).rglob("*.py")} == here
    assert (shipped / "app/.streamlit/config.toml").exists()
    packages = {p.parent.relative_to(ROOT) for p in (ROOT / "workbench").rglob("*.py")}
    assert [name for name in packages if not (site / name / "__init__.py").exists()] == []
    [script] = site.glob("*.dist-info/entry_points.txt")
    assert "workbench = workbench.commands:main" in script.read_text()


def test_an_installed_workbench_works_in_any_folder(site, tmp_path):
    (tmp_path / "studies").mkdir()
    (tmp_path / "studies/mine.py").write_text("STUDY = Study(question='Mine?')\n")
    write_study(tmp_path / "results", "ratios", RATIOS, (0, 1), baseline=BASE)
    code, out, err = run(site, tmp_path, "study")
    assert (code, err) == (0, "")
    assert "mask_ratio" in out
    assert "Mine?" in out
    code, out, err = run(site, tmp_path, "report", "ratios", "--rows", "video_ratio")
    assert (code, err) == (0, "")
    assert (tmp_path / "results/reports/ratios/table-video_ratio.tex").exists()


def test_the_dashboard_is_found_where_it_lies(monkeypatch, tmp_path):
    started = []
    monkeypatch.setattr("os.execv", lambda program, command: started.append(command))
    with pytest.raises(AssertionError, match="does not return"):
        main(["dash", str(tmp_path), "--port", "8600"])
    assert started[0][1:4] == ["-m", "streamlit", "run"]
    assert Path(started[0][4]) == ROOT / "app/dashboard.py"
    assert started[0][5:] == ["--server.port=8600", "--", str(tmp_path)]


@pytest.mark.parametrize("name", ["study", "report", "data", "train"])
@pytest.mark.parametrize(
    ("script", "said"),
    [("/env/bin/workbench", "workbench {}"), ("workbench/study/__main__.py", "python -m workbench.{}")],
)
def test_help_names_the_command_as_it_was_called(capsys, monkeypatch, name, script, said):
    monkeypatch.setattr("sys.argv", [script])
    with pytest.raises(SystemExit, match="0"):
        main([name, "--help"])
    assert capsys.readouterr().out.startswith(f"usage: {said.format(name)} ")


def test_without_a_command_it_says_which_there_are(capsys):
    assert main([]) == 0
    out = capsys.readouterr().out
    assert all(f"  {name}" in out for name in ("study", "report", "data", "dash", "train"))


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (["studie"], "there is no command 'studie'; there are study, report, data, train, evaluate, dash"),
        (["dash", "file"], "the results path is not a folder: file"),
        (["dash", "--port", "0"], "--port must be a number from 1 to 65535, not 0"),
        (["study", "nothing"], "no study 'nothing'; there are "),
        (["report", "nothing"], "there are no runs of study 'nothing' in results"),
    ],
)
def test_a_wrong_command_is_one_sentence(capsys, monkeypatch, tmp_path, given, said):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").write_text("")
    assert main(given) == 2
    err = capsys.readouterr().err
    assert said in err
    assert err.count("\n") == 1


def test_the_citation_names_the_version():
    import workbench

    text = (ROOT / "CITATION.cff").read_text()
    assert f"\nversion: {workbench.__version__}\n" in text
    assert text.startswith("cff-version: 1.2.0\n")
