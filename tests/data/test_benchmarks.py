"""Benchmarks: every form of annotations gives its clips, protocols are kept, wrong input is a sentence."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from benchmark_files import FORMS, annotate, folder_of, items, msrvtt_tables, place_of, several

from workbench.config import DataConfig
from workbench.data import describe, names, prepare, read_index
from workbench.data.__main__ import main
from workbench.data.check import Report
from workbench.data.decode import encode
from workbench.data.index import Index, Survey
from workbench.data.store import FrameStore
from workbench.errors import UserError

EVERY = [(name, number) for name, forms in FORMS.items() for number in range(len(forms))]


def index_of(name: str, path: Path, form: int = 0) -> Index:
    return read_index(DataConfig(name=name), str(folder_of(name, path, form, empty=True)))


def test_every_benchmark_has_a_form_here() -> None:
    assert set(FORMS) == {
        name
        for name in names()
        if name not in ("folder", "folder-2", "shards") and "moving_shapes" not in name
    }


@pytest.mark.parametrize(("name", "form"), EVERY, ids=lambda value: str(value))
def test_a_form_gives_the_clips_it_was_written_from(tmp_path: Path, name: str, form: int) -> None:
    family, clips, _ = FORMS[name][form]
    found = index_of(name, tmp_path, form)
    assert found.survey is not None
    assert found.survey.taken.startswith(family)
    assert found.survey.doubles == found.survey.invalid_times == ()
    paths = {clip.name: place_of(clip.name, name) for clip in clips}
    assert {clip.path for clip in found.clips} == set(paths.values()), "each at its file, deep below"
    counts = {count.what: count.found for count in found.survey.counts}
    moments = name.endswith("-moments")
    for split in ("train", "val", "test"):
        mine = [clip for clip in clips if clip.split == split]
        said = {text for clip in mine for text in clip.captions}
        read = [clip for clip in found.clips if clip.split == split]
        clips_of_split = len(said) if moments else len(mine)
        assert counts.get(f"{split} clips", 0) == clips_of_split
        if mine and not (name.startswith("ssv2") or split == "train"):
            assert {text for clip in read for text in clip.captions} == said
    if not any(clip.split == "val" for clip in clips):
        assert any("val is" in note and "of train" in note for note in found.notes)
        assert {clip.split for clip in found.clips} == {"train", "val", "test"}


def test_val_out_of_train_has_one_caption_a_clip_where_the_test_has(tmp_path: Path) -> None:
    found = index_of("msrvtt", tmp_path)
    by_split = {split: [c for c in found.clips if c.split == split] for split in ("train", "val", "test")}
    assert [len(by_split[s]) for s in ("train", "val", "test")] == [5, 1, 2]
    assert [len(clip.captions) for clip in by_split["val"]] == [1]
    assert {len(clip.captions) for clip in by_split["train"]} == {2}


def test_val_is_taken_of_videos_that_are_there(tmp_path: Path) -> None:
    chosen = next(c.path for c in index_of("msrvtt", tmp_path).clips if c.split == "val")
    (tmp_path / chosen).unlink()
    found = read_index(DataConfig(name="msrvtt"), str(tmp_path))
    assert next(c for c in found.clips if c.path.endswith(Path(chosen).name)).split == "train"
    assert all((tmp_path / c.path).is_file() for c in found.clips if c.split == "val")


def test_paragraphs_and_moments(tmp_path: Path) -> None:
    (tmp_path / "p").mkdir()
    (tmp_path / "m").mkdir()
    whole = {clip.id: clip for clip in index_of("didemo", tmp_path / "p").clips}
    assert whole["video0"].captions == ("clip 0 does thing 0 clip 0 does thing 1",)
    assert (whole["video0"].start, whole["video0"].end) == (0, 30)
    parts = [clip for clip in index_of("didemo-moments", tmp_path / "m").clips if "video0" in clip.path]
    assert [(clip.captions, clip.start, clip.end) for clip in parts] == [
        (("clip 0 does thing 0",), 0, 5),
        (("clip 0 does thing 1",), 5, 10),
    ]


@pytest.mark.parametrize("form", range(len(FORMS["didemo"])))
def test_of_longer_videos_of_didemo_the_first_half_minute_is_decoded(tmp_path: Path, form: int) -> None:
    folder = folder_of("didemo", tmp_path, form, empty=True)
    film = np.repeat(np.array([20] * 30 + [235] * 10, np.uint8), 32 * 32 * 3).reshape(40, 32, 32, 3)
    for file in (folder / "deep").iterdir():
        encode(file, film, rate=1, crf=20)
    data = DataConfig(name="didemo", frames=4, size=16)
    store = FrameStore.open(prepare(data, source=str(folder), root=tmp_path / "data", progress=False))
    assert store.frames.max() < 60, "nothing of the ten bright seconds behind it"
    assert any("its first 30 seconds" in note for note in store.notes)


def test_the_name_of_the_data_says_the_protocol() -> None:
    assert {"msrvtt", "msrvtt-7k", "msrvtt-full", "ssv2", "ssv2-template", "didemo-moments"} <= set(names())
    with pytest.raises(UserError, match="no data set 'msrvtt-8k'"):
        describe(DataConfig(name="msrvtt-8k"), "somewhere")


def test_a_text_of_several_clips_is_shared(tmp_path: Path) -> None:
    found = index_of("ssv2-template", tmp_path)
    assert found.shared
    assert {caption for clip in found.clips for caption in clip.captions} == {"Moving something"}
    assert {clip.label for clip in found.clips} == {"Moving something"}


# Wrong input


def refusal(name: str, path: Path) -> str:
    with pytest.raises(UserError) as caught:
        describe(DataConfig(name=name), str(path))
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_a_missing_annotation_file_is_named(tmp_path: Path) -> None:
    folder_of("msrvtt", tmp_path, empty=True)
    (tmp_path / "annotations" / "MSRVTT_data.json").unlink()
    said = refusal("msrvtt", tmp_path)
    assert said.endswith("as CLIP4Clip has them, but no MSRVTT_data.json or MSR_VTT.json")
    (tmp_path / "none").mkdir()
    assert "the forms of Frozen, Singularity" in refusal("msrvtt", tmp_path / "none")


def test_a_pickle_is_refused_with_the_file_that_holds_the_same(tmp_path: Path) -> None:
    folder_of("msvd", tmp_path, empty=True)
    (tmp_path / "annotations" / "captions_msvd.json").rename(tmp_path / "raw-captions.pkl")
    said = refusal("msvd", tmp_path)
    assert "raw-captions.pkl, a pickle, which is not read because it can run any code" in said
    assert said.endswith("captions_msvd.json holds the same")


@pytest.mark.parametrize(
    ("name", "file", "message"),
    [
        ("flickr30k", "results_20130124.token", "such as dataset_flickr30k.json of Karpathy"),
        ("flickr30k", "results.csv", "which is there, has captions without the split of published"),
        ("msvd", "AllVideoDescriptions.txt", "test_list.txt and captions_msvd.json of CLIP4Clip"),
        ("coco", "captions_train2017.json", "such as dataset_coco.json of Karpathy"),
        ("msrvtt", "train_val_videodatainfo.json", "is of the full split, msrvtt-full"),
    ],
)
def test_a_file_that_is_not_enough_is_named_with_what_is_needed(
    tmp_path: Path, name: str, file: str, message: str
) -> None:
    (tmp_path / file).write_text("x")
    said = refusal(name, tmp_path)
    assert message in said
    assert f"; {file}, which is there, " in said


def test_a_picture_of_flickr8k_that_its_captions_call_otherwise(tmp_path: Path) -> None:
    source = folder_of("flickr8k", tmp_path, empty=True)
    tokens = source / "annotations" / "Flickr8k.token.txt"
    tokens.write_text(tokens.read_text().replace("img3.jpg#", "img3.jpg.1#"))
    found = read_index(DataConfig(name="flickr8k"), str(source))
    assert len(next(clip for clip in found.clips if clip.id == "img3.jpg").captions) == 2


WRONG: list[tuple[str, str, str, str]] = [
    ("msrvtt", "MSRVTT_train.9k.csv", "videoid,name,page_dir\n1,a,b\n", "not video_id; it may be of another"),
    ("msrvtt", "MSRVTT_data.json", "[]", "must be a list of objects with video_id, caption"),
    ("msrvtt", "MSRVTT_data.json", '{"sentences": [{"video_id": "video0"}]}', "entry 1 must have video_id"),
    ("msrvtt", "MSRVTT_data.json", "{", "is not a JSON file"),
    ("msrvtt", "MSRVTT_train.9k.csv", "video_id\nvideo99\n", "names 'video99', of which .* has no caption"),
    ("webvid", "results_2M_val.csv", "video_id,sentence\nvideo1,a\n", "not videoid, name, page_dir"),
    ("lsmdc", "LSMDC16_annos_val.csv", "a,b,c\n", "line 1 has 1 fields separated by tabs, not clip_id"),
    (
        "didemo",
        "val_data.json",
        '[{"video": "a", "description": 5, "times": [], "num_segments": 6}]',
        "must be text",
    ),
    (
        "activitynet",
        "val_1.json",
        '{"v_1": {"duration": 5}}',
        "'v_1' must have duration, timestamps and sent",
    ),
    ("flickr8k", "Flickr8k.token.txt", "a picture of nothing\n", "must be image#0, a tab and a caption"),
    (
        "coco",
        "dataset_coco.json",
        '{"images": [{"filename": "a.jpg"}]}',
        "entry 1 must have filename, split",
    ),
]


@pytest.mark.parametrize(
    ("name", "file", "text", "message"), WRONG, ids=[w[1] + str(i) for i, w in enumerate(WRONG)]
)
def test_annotations_of_another_benchmark_are_refused(
    tmp_path: Path, name: str, file: str, text: str, message: str
) -> None:
    folder_of(name, tmp_path, empty=True)
    (tmp_path / "annotations" / file).write_text(text)
    with pytest.raises(UserError, match=message) as caught:
        describe(DataConfig(name=name), str(tmp_path))
    assert "\n" not in str(caught.value)
    assert file in str(caught.value)


def test_videos_of_another_benchmark_are_refused(tmp_path: Path) -> None:
    annotate(tmp_path, msrvtt_tables(items("film", val=0)))
    (tmp_path / "video0.mp4").touch()
    said = refusal("msrvtt", tmp_path)
    assert "none of the 5 videos of train lies in" in said
    assert "where the first would be videos/all/film" in said


def test_a_caption_of_a_video_that_is_not_there(tmp_path: Path) -> None:
    source = folder_of("msrvtt", tmp_path / "own")
    data = DataConfig(name="msrvtt", frames=1, size=32)
    index = read_index(data, str(source))
    by_split = {split: [c.path for c in index.clips if c.split == split] for split in ("train", "test")}
    (source / by_split["train"][0]).unlink()
    left = FrameStore.open(prepare(data, source=str(source), root=tmp_path / "root", progress=False))
    assert [one["reason"] for one in left.skipped] == ["there is no such file"]
    (source / by_split["test"][0]).unlink()
    with pytest.raises(UserError) as caught:
        prepare(data, source=str(source), root=tmp_path / "root", progress=False)
    said = "1 videos of val or test cannot be used: videos/all/video6.mp4 (there is no such file); mend or"
    assert str(caught.value).startswith(said)


def test_what_is_missing_of_val_or_test_is_told_before_anything_is_decoded(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = folder_of("msrvtt", tmp_path / "own", empty=True)  # none of them could be decoded
    for file in (source / "deep").iterdir():
        file.write_text("no video")
    (source / "deep" / "video7.mp4").write_bytes(b"")
    data = DataConfig(name="msrvtt", frames=1, size=32)
    notes = describe(data, str(source)).notes
    assert "clips: train 5, val 1, test 2" in notes
    assert "1 of 2 clips of test are not there or empty, such as deep/video7.mp4" in notes
    with pytest.raises(UserError, match=r"^1 videos of val or test .*: deep/video7\.mp4 \(the file is empty"):
        prepare(data, source=str(source), root=tmp_path / "root")
    assert "decoding clips" not in capsys.readouterr().err
    with pytest.raises(UserError, match="train has 0 usable videos"):
        prepare(data, source=str(source), root=tmp_path / "root", allow_bad_eval=True)
    assert "decoding clips" in capsys.readouterr().err, "the user's word is taken"


def test_captions_may_hold_commas_quotes_and_odd_line_ends(tmp_path: Path) -> None:
    texts = msrvtt_tables(items(val=0))
    table = 'video_id,sentence\r\nvideo6,"a ""red"" ball,\u2028and\n a cup"\r\nvideo7,a cup\r\n'
    annotate(tmp_path, texts | {"MSRVTT_JSFUSION_test.csv": table})
    found = read_index(DataConfig(name="msrvtt"), str(tmp_path), usable=False)
    assert [c.captions for c in found.clips if c.split == "test"] == [
        ('a "red" ball, and a cup',),
        ("a cup",),
    ]


def test_a_video_in_two_splits_is_refused(tmp_path: Path) -> None:
    clips = items(val=0)
    annotate(tmp_path, msrvtt_tables([*clips, clips[0]._replace(split="test")]))
    assert "video0 is in train and in test of CLIP4Clip" in refusal("msrvtt", tmp_path)


def test_names_do_not_lead_out_of_the_folder(tmp_path: Path) -> None:
    clips = [clip._replace(name=f"../../{clip.name}") for clip in items(val=0)]
    annotate(tmp_path / "own", msrvtt_tables(clips))
    found = read_index(DataConfig(name="msrvtt"), str(tmp_path / "own"), usable=False)
    assert not any(".." in clip.path for clip in found.clips)


# The report


def checked(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, list[str]]:
    code = main(["check", *arguments])
    return code, capsys.readouterr().out.splitlines()


def test_check_reports_on_a_benchmark(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder_of("didemo-moments", tmp_path)
    file = tmp_path / "annotations" / "test_data.json"
    entries: list[dict[str, Any]] = json.loads(file.read_text())
    entries[0]["times"] = [[5, 2]]
    entries[1]["times"] = [[4, 5]]
    file.write_text(json.dumps(entries))
    (tmp_path / "deep" / "video1.mp4").unlink()
    several("didemo-moments", tmp_path)
    code, lines = checked(capsys, f"didemo-moments:{tmp_path}", "--json", str(tmp_path / "found.json"))
    assert code == 1
    assert lines[1].startswith("annotations: LocalizingMoments (train_data.json, val_data.json")
    assert "train clips: 12" in lines
    faulty = lines.index("segments that no clip can have: 1")
    assert lines[faulty + 1] == "  video8: a segment from 25 to 15 s lies outside its 30 s"
    assert lines[lines.index("several files of one video, the first is taken: 1") + 1].startswith(
        "  video0.mp4, deep"
    )
    missing = lines.index("refused, there is no such file: 2")
    assert lines[missing + 1].startswith("  videos/video1.mp4 0 to 5 s")
    late = next(
        line for line in lines if line.startswith("refused, its segment begins at 20 s, and the video ends")
    )
    assert lines[lines.index(late) + 1].startswith("  deep/video9.mp4")
    record = json.loads((tmp_path / "found.json").read_text())
    assert record["survey"]["invalid_times"] == ["video8: a segment from 25 to 15 s lies outside its 30 s"]


def test_times_that_cannot_be_alone_are_not_fine() -> None:
    survey = Survey(taken="", counts=(), invalid_times=("a: ends before it begins",), doubles=())
    report = Report(
        problem="", splits={}, facts={"a": {}}, refused={}, duplicate_clips=[], leaks=[],
        duplicate_captions={}, survey=survey,
    )  # fmt: skip
    assert not report.fine
    assert replace(report, survey=replace(survey, invalid_times=())).fine


def test_check_shows_counts_beside_the_published_ones(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder_of("msrvtt", tmp_path)
    code, lines = checked(capsys, f"msrvtt:{tmp_path}")
    assert code == 0
    assert "test clips: 2, 1000 published by the lists of collaborative-experts (differs)" in lines
    assert "splits: train 5, val 1, test 2" in lines


def test_the_list_names_every_data_set(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["list"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0].removesuffix(":PATH") for line in lines] == names()
    assert not any(line.startswith("moving_shapes:PATH") for line in lines)
