"""Whether a model was trained on the clips that it is evaluated on, by their names and files."""

import json
import shutil
from dataclasses import replace

import pytest
from benchmark_files import annotate, items, msrvtt_full, msrvtt_questions, msrvtt_tables, video
from real_runs import quick, real_run

from workbench.config import DataConfig, InitFrom
from workbench.data import describe, prepare
from workbench.data.__main__ import main as data_command
from workbench.data.store import FrameStore
from workbench.evaluate.__main__ import main
from workbench.evaluate.summary import text

CLIPS = items(val=0)
"""Of 1kA: six of train, of which one becomes val, and two of test."""
FULL = [c._replace(split=s) for c, s in zip(CLIPS, ["test"] * 3 + ["val"] + ["train"] * 4, strict=True)]


def prepared(name, source, root):
    data = describe(DataConfig(name=name, frames=4, size=16), str(source), root=root).data
    return data, FrameStore.open(prepare(data, source=str(source), root=root, progress=False))


def trained(place, data, store, **changes):
    with pytest.MonkeyPatch.context() as patch:
        run, code = real_run(patch, place, quick(data=data, **changes), store)
    assert code == 0
    return run


@pytest.fixture(scope="module")
def videos(tmp_path_factory):
    """MSR-VTT's videos, ten seconds or so, with annotations of 1kA."""
    folder = tmp_path_factory.mktemp("msrvtt")
    for number, clip in enumerate(CLIPS):
        video(folder / f"{clip.name}.mp4", number)
    return annotate(folder, msrvtt_tables(CLIPS))


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    return tmp_path_factory.mktemp("place")


@pytest.fixture(scope="module")
def run(place, videos):
    return trained(place, *prepared("msrvtt", videos, place / "data"))


def own(videos, path, splits):
    """The same videos as one's own under other names, `film0` to `film7` in these splits."""
    path.mkdir(exist_ok=True)
    rows = ["video,caption,split"]
    for number, split in enumerate(splits.split()):
        shutil.copy(videos / f"video{number}.mp4", path / f"film{number}.mp4")
        rows.append(f"film{number}.mp4,clip {number} does thing,{split}")
    (path / "captions.csv").write_text("\n".join(rows) + "\n")
    return f"folder:{path}"


def evaluate(run, data, place, *more):
    file = place / "found.json"
    arguments = [str(run.path), "--data", data, "--data-root", str(place / "data"), "--device", "cpu"]
    assert main([*arguments, "--json", str(file), *more]) == 0
    return json.loads(file.read_text())


def test_another_protocol_of_a_benchmark_counts_the_clips_that_were_trained_on(
    run, place, videos, tmp_path, capsys
):
    shutil.copytree(videos, tmp_path / "full", ignore=shutil.ignore_patterns("annotations"))
    annotate(tmp_path / "full", msrvtt_full(FULL))
    [store] = (place / "data").glob("msrvtt-????????????/frames-*")
    both = len(set(FrameStore.open(store).splits["train"].groups) & {"video0", "video1", "video2"})
    found = evaluate(run, f"msrvtt-full:{tmp_path / 'full'}", place)
    assert both in (2, 3)
    assert not found["zero_shot"]
    assert found["overlap"] == {"clips": both, "related": ["msrvtt"], "unknown": []}
    said = f"{both} of 3 clips have the name or the file of a clip that it was trained on, so this is no"
    assert said in capsys.readouterr().out


def test_questions_about_the_same_videos_are_the_same_benchmark(run, place, videos, tmp_path, capsys):
    shutil.copytree(videos, tmp_path / "qa", ignore=shutil.ignore_patterns("annotations"))
    apart = [c._replace(split="val") if i == 6 else c for i, c in enumerate(CLIPS)]
    annotate(tmp_path / "qa", msrvtt_questions(apart))
    for path in (tmp_path / "qa").glob("*.mp4"):  # encoded anew
        video(path, int(path.stem[5:]), frames=7)
    found = evaluate(run, f"msrvtt_qa:{tmp_path / 'qa'}", place, "--tasks", "retrieval")
    assert not found["zero_shot"]
    assert found["overlap"] == {"clips": 0, "related": ["msrvtt"], "unknown": []}
    assert "clips unseen in training, of data that it was trained on as msrvtt" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("splits", "clips"),
    [("train train train train train train val test", 0), ("test test test train train train val train", 2)],
)
def test_the_same_files_under_other_names_are_found(run, place, videos, tmp_path, splits, clips):
    found = evaluate(run, own(videos, tmp_path / "own", splits), place)
    assert found["overlap"]["clips"] in (clips, clips + 1), "one of the six is val"
    assert found["overlap"]["related"] == ["msrvtt"]
    assert not found["zero_shot"], "even where no clip of this test was trained on"


def test_shards_of_a_folder_are_the_folder(place, videos, tmp_path):
    folder = own(videos, tmp_path / "own", "train train train train val val test test")
    trained_on = trained(tmp_path, *prepared(*folder.split(":"), tmp_path / "data"))
    assert data_command(["shard", folder, "--into", str(tmp_path / "shards")]) == 0
    found = evaluate(trained_on, f"shards:{tmp_path / 'shards'}", tmp_path)
    assert found["overlap"] == {"clips": 0, "related": ["folder"], "unknown": []}
    assert not found["zero_shot"]
    turned = own(videos, tmp_path / "turned", "test test train train train train val val")
    assert data_command(["shard", turned, "--into", str(tmp_path / "others")]) == 0
    found = evaluate(trained_on, f"shards:{tmp_path / 'others'}", tmp_path)
    assert found["overlap"]["clips"] == 2


def test_a_run_that_it_started_from_counts(run, place, tmp_path, videos, capsys):
    pictures = tmp_path / "other"
    pictures.mkdir()
    for number in range(6):
        video(pictures / f"{number}.mp4", number, frames=9)
    (pictures / "captions.csv").write_text(
        "video,caption\n" + "".join(f"{n}.mp4,clip {n} does thing\n" for n in range(6))
    )
    data, store = prepared("folder", pictures, place / "data")
    start = InitFrom(part="video", run=f"test/{run.path.name}")
    later = trained(place, data, store, init_from=(start,), seed=1)
    found = evaluate(later, f"msrvtt:{videos}", place)
    assert not found["zero_shot"]
    assert found["overlap"] == {"clips": 0, "related": ["msrvtt"], "unknown": []}
    assert [one["data"] for one in found["trained_on"]] == ["folder", "msrvtt"]
    gone = replace(start, run=str(tmp_path / "gone"))
    config = later.read_json("config.json")
    config["init_from"][0]["run"] = gone.run
    later.write_json("config.json", config)
    capsys.readouterr()
    found = evaluate(later, f"msrvtt:{videos}", place)
    assert not found["zero_shot"]
    said = f"the run {gone.run}, whose weights it started from, cannot be read"
    assert found["overlap"]["unknown"] == [said]
    assert f"it was not checked whether these clips were trained on, since {said}" in capsys.readouterr().out


def test_training_data_that_are_gone_are_not_taken_for_others(run, place, videos, tmp_path, capsys):
    shutil.copytree(place / "data", tmp_path / "data", ignore=shutil.ignore_patterns("msrvtt-*"))
    folder = own(videos, tmp_path / "own", "train train train train train train val test")
    found = evaluate(run, folder, tmp_path)
    assert not found["zero_shot"]
    assert found["overlap"]["unknown"] == [f"the prepared clips of msrvtt are not in {tmp_path / 'data'}"]
    assert "it was not checked whether these clips were trained on" in capsys.readouterr().out
    del found["overlap"]
    assert "it was not checked whether these clips were trained on" in text(found), "a record of before"
