"""A finished run measured on other data: through the command, beside the run, without touching its record."""

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest
from benchmark_files import folder_of, made
from real_runs import quick, real_run

from workbench.commands import main as workbench
from workbench.config import DataConfig
from workbench.data import describe, prepare
from workbench.data.store import FrameStore
from workbench.evaluate.__main__ import main
from workbench.tracking.run_dir import RunDir


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """Where data and runs lie."""
    return tmp_path_factory.mktemp("place")


@pytest.fixture(scope="module")
def other(place):
    """With captions longer than the run has read, and with other words."""
    folder = folder_of("msrvtt", place / "msrvtt")
    for file in (folder / "annotations").iterdir():
        file.write_text(file.read_text().replace("does thing", "does some quite unheard-of and long thing"))
    return f"msrvtt:{folder}"


@pytest.fixture(scope="module")
def run(place):
    """Two steps on the tiny pictures of Flickr8k, as still clips."""
    source = made("flickr8k", place / "own")
    data = describe(DataConfig(name="flickr8k", frames=4, size=16), source).data
    store = FrameStore.open(prepare(data, source=source, root=place / "data", progress=False))
    with pytest.MonkeyPatch.context() as patch:
        found, code = real_run(patch, place, quick(data=data), store)
    assert code == 0
    return found


def digests(folder: Path):
    files = (path for path in folder.rglob("*") if path.is_file() and "evaluations" not in path.parts)
    return {path.relative_to(folder): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def result(run: RunDir, data: str, split: str = "test"):
    [path] = run.path.glob(f"evaluations/{data}-*-{split}/result.json")
    return json.loads(path.read_text())


def test_on_its_own_data_it_measures_once_more_what_the_run_says(run, place, capsys):
    before = digests(run.path)
    assert main([str(run.path), "--data-root", str(place / "data"), "--device", "cpu"]) == 0
    found, summary = result(run, "flickr8k"), run.summary()
    ours = ("test/t2v_", "test/v2t_")
    wanted = {name: value for name, value in summary.items() if name.startswith(ours)}
    assert len(wanted) == 10
    assert found["metrics"].items() >= wanted.items()
    assert {name for name in found["metrics"] if not name.startswith("test/sets_")} == set(wanted)
    assert not found["zero_shot"]
    assert found["frames_sha256"] == run.read_json("environment.json")["frames_sha256"]
    assert digests(run.path) == before, "the record of the run is as it was"
    assert "unseen clips of the data that it was trained on" in capsys.readouterr().out


def test_zero_shot_on_a_benchmark_says_what_it_searched_and_what_it_cut(run, place, other, capsys, tmp_path):
    file = tmp_path / "all.json"
    arguments = [str(run.path), "--data", other, "--data-root", str(place / "data"), "--device", "cpu"]
    assert workbench(["evaluate", *arguments, "--split", "val", "--json", str(file)]) == 0
    found, said = result(run, "msrvtt", "val"), capsys.readouterr().out
    assert json.loads(file.read_text()).items() >= found.items()
    assert found["zero_shot"]
    assert "zero-shot, none of it was trained on" in said
    [store] = (place / "data").glob("msrvtt-*/frames-4x16")
    store = FrameStore.open(store)
    part = store.splits["val"]
    assert (found["captions"], found["clips"]) == (len(part), len(set(part.clips)))
    assert found["frames_sha256"] == store.frames_sha256
    assert found["digest"] == store.digest
    assert found["chance_t2v_r1"] == pytest.approx(100 / found["clips"])
    assert found["tokens_per_caption"] == run.read_json("environment.json")["tokens_per_caption"]
    assert found["captions_cut"] == len(part.captions), "all of them are longer"
    assert f"cut for having more than {found['tokens_per_caption']} tokens" in said
    assert 0 < found["words_known_whole"] < 0.6, "clip, does, thing, of at least ten words"
    assert found["tasks"] == ["retrieval"]
    [ranks] = run.path.glob("evaluations/msrvtt-*-val/ranks.npz")
    with np.load(ranks, allow_pickle=False) as arrays:
        assert arrays["t2v_id"].tolist() == part.ids
        assert 100 * (arrays["t2v_rank"] == 1).mean() == pytest.approx(found["metrics"]["val/t2v_r1"])
    assert not list(run.path.glob("msrvtt*")), "beside the record, not in it"


def test_what_was_measured_of_the_same_weights_stays_and_of_others_goes(run, place, other, monkeypatch):
    arguments = [str(run.path), "--data", other, "--data-root", str(place / "data"), "--device", "cpu"]
    assert main(arguments) == 0
    first = result(run, "msrvtt")
    assert main([*arguments, "--tasks", "dual_softmax"]) == 0
    both = result(run, "msrvtt")
    assert both["metrics"].items() >= first["metrics"].items()
    assert "test/dsl_t2v_r1" in both["metrics"]
    assert "test/dsl_t2v_r1" not in first["metrics"], "re-ranking is never the default"
    assert {"retrieval", "dual_softmax"} <= set(both["tasks"])
    [path] = run.path.glob("evaluations/msrvtt-*-test/result.json")
    path.write_text(json.dumps(both | {"weights_sha256": "0" * 64}))
    assert main([*arguments, "--tasks", "query_bank"]) == 0
    after = result(run, "msrvtt")
    assert {name for name in after["metrics"] if "qbnorm" not in name} == set()
    assert not (path.parent / "ranks.npz").exists()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"run": "nowhere"}, "is not a run directory: it has no config.json"),
        ({"--data": "coco"}, "need a place: --data coco:PATH"),
        ({"--data": "dreams:there"}, "no data set 'dreams'; there are "),
        ({"--data": "folder:/nowhere"}, "there is no folder /nowhere"),
        ({"--tasks": "pair_retrieval"}, "mac cannot do pair_retrieval, which needs match; possible are "),
        ({"--tasks": "dreams"}, "no task 'dreams'; there are "),
        ({"--tasks": "order"}, "order needs clips whose colour"),
        ({"--json": "/nowhere/all.json"}, "--json must be a file in an existing folder"),
        ({"--device": "abacus"}, "device 'abacus' is not usable here"),
    ],
)
def test_what_cannot_be_is_said_in_one_sentence(run, place, other, change, said, capsys):
    options = {"--data": other, "--data-root": str(place / "data"), "--device": "cpu"} | change
    where = options.pop("run", str(run.path))
    before = digests(run.path)
    assert main([where, *(word for pair in options.items() for word in pair)]) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert said in error
    assert error.count("\n") == 1
    assert digests(run.path) == before


def test_a_run_without_its_weights_is_refused(run, place, other, tmp_path, capsys):
    (tmp_path / "config.json").write_bytes(run.file("config.json").read_bytes())
    assert main([str(tmp_path), "--data", other, "--data-root", str(place / "data")]) == 2
    assert (
        "kept no weights (model.safetensors is not there), so it cannot be evaluated"
        in capsys.readouterr().err
    )
