"""An archive holds what a report needs: tables are recomputed from it alone, and nothing of the machine."""

import json
import zipfile

import numpy as np
import pytest
from synthetic import BASE, RATIOS, write_study

from workbench.errors import UserError
from workbench.report.__main__ import main as report
from workbench.tracking.__main__ import main as tracking
from workbench.tracking.archive import archive, unpack
from workbench.tracking.run_dir import RunDir


@pytest.fixture
def results(tmp_path):
    results = tmp_path / "results"
    quality = {"quality": lambda axes: 30 + 30 * (axes["video_ratio"] > 0), "baseline": BASE}
    for name in ("ratios", "others"):
        write_study(results, name, RATIOS[:3], (0, 1, 2), steps=4, **quality)
    for path in (results / "runs").glob("*/*/"):
        np.savez(path / "embeddings.npz", video=np.zeros((500, 128)))
        identity = json.loads((path / "run.json").read_text())
        (path / "run.json").write_text(json.dumps(identity | {"token": "0" * 16}))
        (path / "checkpoints").mkdir()
        (path / "checkpoints" / "model.safetensors").write_bytes(b"w" * 1000)
    return results


def test_tables_are_recomputed_from_the_archive_alone(results, tmp_path, capsys):
    assert report(["ratios", "--results", str(results)]) == 0
    saved = results / "reports" / "ratios"
    file = tmp_path / "data" / "findings.zip"
    assert tracking(["archive", "ratios", "--results", str(results), "--into", str(file)]) == 0
    assert "9 runs" in capsys.readouterr().out
    for table in ("answer.md", "table.csv", "table.tex"):
        assert report(["ratios", "--results", str(file), "--check", str(saved / table)]) == 0
    text = (saved / "table.csv").read_text()
    head, first, *rest = text.splitlines()
    fields = first.split(",")
    fields[head.split(",").index("test/t2v_r1")] = "99.9"
    changed = tmp_path / "changed.csv"
    changed.write_text("\n".join([head, ",".join(fields), *rest]) + "\n")
    assert report(["ratios", "--results", str(file), "--check", str(changed)]) == 1
    assert report(["ratios", "--results", str(file)]) == 2
    assert "gather" in capsys.readouterr().err
    assert report(["others", "--results", str(file), "--check", str(changed)]) == 2
    assert capsys.readouterr().err == (
        f"error: {file} has no runs of study 'others'; it has those of ratios\n"
    )
    there = tmp_path / "anew"
    assert tracking(["gather", str(file), "--into", str(there)]) == 0
    assert report(["ratios", "--results", str(there)]) == 0
    assert (there / "reports" / "ratios" / "table.csv").read_text() == text


def test_it_has_the_same_bytes_whenever_it_is_made_and_nothing_of_the_machine(results, tmp_path):
    first, second = tmp_path / "a.zip", tmp_path / "b.zip"
    archive(results, ["ratios", "others"], first)
    archive(results, ["others"], second)
    kept = {path: path.read_text() for path in (results / "runs" / "ratios").glob("*/environment.json")}
    for path, text in kept.items():
        path.write_text(json.dumps(json.loads(text) | {"platform": "x"}))
    archive(results, ["ratios"], second)
    assert first.read_bytes() == second.read_bytes(), "studies are added in any order"
    path, text = next(iter(kept.items()))
    path.write_text(json.dumps(json.loads(text) | {"hostname": "elsewhere"}))
    archive(results, ["ratios"], second)
    with zipfile.ZipFile(second) as packed:
        names = [name for name in packed.namelist() if name.endswith("environment.json")]
        hosts = {json.loads(packed.read(name))["hostname"] for name in names if "/ratios/" in name}
    assert len(hosts) == 2, "machines are told apart, without their names"
    assert "elsewhere" not in hosts
    with zipfile.ZipFile(first) as packed:
        names = packed.namelist()
        assert not [name for name in names if "embeddings" in name or "checkpoints" in name]
        assert {entry.date_time for entry in packed.infolist()} == {(1980, 1, 1, 0, 0, 0)}
        run = names[[name.endswith("/run.json") for name in names].index(True)].rpartition("/")[0]
        assert json.loads(packed.read(f"{run}/environment.json"))["hostname"].startswith("machine ")
        rows = [json.loads(row) for row in packed.read(f"{run}/metrics.jsonl").splitlines()]
    assert rows
    assert all("val/t2v_r1" in row for row in rows)


def test_what_is_no_archive_is_refused_and_writes_nothing_outside(results, tmp_path):
    bad = tmp_path / "bad.zip"
    for name in ("../../evil", "runs/ratios/../../../evil", "/runs/a/b", "runs/a", "other/a/b"):
        with zipfile.ZipFile(bad, "w") as packed:
            packed.writestr(name, "x")
        with pytest.raises(UserError):
            unpack(bad, tmp_path / "into")
    for content in (b"", b"no zip", bad.read_bytes()[:40]):
        bad.write_bytes(content)
        with pytest.raises(UserError, match="not an archive of runs"):
            unpack(bad, tmp_path / "into")
    assert not (tmp_path / "into").exists()
    assert not (tmp_path / "evil").exists()
    with pytest.raises(UserError, match="no runs of 'nothing'"):
        archive(results, ["nothing"], tmp_path / "new.zip")
    run = RunDir(next((results / "runs" / "ratios").glob("*-s0")))
    run.set_status("running")
    with pytest.raises(UserError, match="still under way"):
        archive(results, ["ratios"], tmp_path / "new.zip")
    assert not (tmp_path / "new.zip").exists()
    assert tracking(["archive", "ratios", "--results", str(results), "--into", "new.tar"]) == 2
