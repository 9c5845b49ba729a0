"""Benchmarks that ask: when does something happen, what is the answer, which caption belongs to a clip?"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from benchmark_files import annotate, folder_of, items, msrvtt_questions

from workbench.config import DataConfig
from workbench.data import describe, questions, read_index
from workbench.data.benchmarks import activitynet
from workbench.data.index import Index
from workbench.errors import UserError
from workbench.study.__main__ import main
from workbench.testing.world import write_store
from workbench.tracking.run_dir import RunDir

REAL = Path(__file__).parents[3] / "shared" / "data" / "annotations"


def index_of(name: str, path: Path, form: int = 0) -> Index:
    return read_index(DataConfig(name=name), str(folder_of(name, path, form, empty=True)))


def known(found: Index, what: str) -> dict[str, list]:
    return {clip.id: clip.attributes[what] for clip in found.clips}


@pytest.mark.parametrize(
    ("name", "form", "clip"),
    [("charades_sta", 0, "video0"), ("charades_sta", 1, "video0"), ("activitynet-grounding", 0, "v_0")],
)
def test_times_are_shares_of_whole_videos(tmp_path: Path, name: str, form: int, clip: str) -> None:
    found = index_of(name, tmp_path, form)
    end = "." if (name, form) == ("charades_sta", 0) else ""
    assert known(found, "timeline")[clip] == [
        (f"clip 0 does thing 0{end}", 0.0, 0.5),
        (f"clip 0 does thing 1{end}", 0.25, 0.75),
    ]
    assert {(clip.start, clip.end) for clip in found.clips} == {(0.0, 1.0)}
    assert "timeline" in found.known


def test_a_time_outside_of_the_video_is_left_out_and_one_over_its_end_is_cut(tmp_path: Path) -> None:
    folder_of("charades_sta", tmp_path, empty=True)
    lines = "video6 0.5 1.5##it goes on.\nvideo6 1.0 1.5##too late.\nvideo7 0.5 0.2##backwards.\n"
    (tmp_path / "annotations" / "charades_sta_test.txt").write_text(f"{lines}video7 0.0 1.0##it stays.\n")
    found = read_index(DataConfig(name="charades_sta"), str(tmp_path))
    assert known(found, "timeline")["video6"] == [("it goes on.", 0.5, 1.0)]
    assert found.survey is not None
    assert found.survey.invalid_times == (
        "video6: a segment from 1 to 1.5 s lies outside its 1 s",
        "video7: a segment from 0.5 to 0.2 s lies outside its 1 s",
    )


@pytest.mark.parametrize("name", ["msrvtt_qa", "msvd_qa", "activitynet_qa"])
@pytest.mark.parametrize("form", [0, 1])
def test_questions_and_answers_are_plain_words(tmp_path: Path, name: str, form: int) -> None:
    found = index_of(name, tmp_path, form)
    first = found.clips[0]
    assert first.attributes["questions"] == [("clip 0 does thing", "0"), ("clip 0 does thing", "1")]
    assert first.captions == ("clip 0 does thing 0", "clip 0 does thing 1")
    assert found.known == {"questions"}
    assert describe(DataConfig(name=name, text="questions"), str(tmp_path)).train_clips == 6


def test_of_choices_the_right_one_is_the_caption_and_val_gets_its_own(tmp_path: Path) -> None:
    clips = items(val=0)[:6]
    more = [c._replace(name=f"video{i}") for i in range(10, 60) for c in clips[:1]]
    folder_of("msrvtt_mc", tmp_path, empty=True)
    train = json.dumps([{"image": c.name, "caption": [f"this is {c.name}", "what"]} for c in [*clips, *more]])
    (tmp_path / "annotations" / "msrvtt_ret_train7k.json").write_text(train)
    test = [
        {"image": f"video{i}", "caption": [f"{i} or {k}" for k in range(5)], "answer": i % 5}
        for i in range(100, 110)
    ]
    (tmp_path / "annotations" / "msrvtt_mc_test.json").write_text(json.dumps(test))
    for one in [*more, *(items()[0]._replace(name=one["image"]) for one in test)]:
        (tmp_path / "deep" / f"{one.name}.mp4").touch()
    found = read_index(DataConfig(name="msrvtt_mc"), str(tmp_path))
    by_split = {split: [c for c in found.clips if c.split == split] for split in ("train", "val", "test")}
    assert [len(clips) for clips in by_split.values()] == [51, 5, 10]
    for clip in (*by_split["val"], *by_split["test"]):
        ((options, right),) = clip.attributes["choices"]
        assert len(set(options)) == 5
        assert clip.captions == (options[right],)
    assert {c.captions[0] for c in by_split["val"]} == set(by_split["val"][0].attributes["choices"][0][0])
    assert all(clip.attributes["choices"] == [] for clip in by_split["train"])


def test_another_answer_is_other_data(tmp_path: Path) -> None:
    clips, digests = items(), set()
    for answer in ("red", "blue"):
        annotate(tmp_path, msrvtt_questions([*clips[:-1], clips[-1]._replace(captions=(f"it is {answer}",))]))
        digests.add(read_index(DataConfig(name="msrvtt_qa"), str(tmp_path), usable=False).digest)
    assert len(digests) == 2


def test_only_the_commonest_answers_are_chosen_from(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = write_store(tmp_path / "store")
    train = set(store.splits["train"].clips.tolist())
    rows = range(len(store.clip_ids))
    store.attributes["questions"] = [
        [["what", "cat" if row % 2 else "dog"], ["who", "man"]] if row in train else [["who", "king"]]
        for row in rows
    ]
    assert questions.answers(store)[0] == "man"
    assert set(questions.answers(store)) == {"man", "cat", "dog"}, "of training, not of what is tested"
    monkeypatch.setattr(questions, "MOST", 2)
    assert len(questions.answers(store)) == 2
    asked = questions.about(store, np.array([min(train)]))
    assert [(one.text, one.answer, one.options) for one in asked][1] == ("who", "man", ())
    assert len({one.id for one in asked}) == 2


# Wrong input

WRONG = [
    ("charades_sta", "charades_sta_test.txt", "video6 0.0 1.0 a man\n", "line 1 must be `VIDEO START"),
    ("charades_sta", "charades_sta_test.txt", "video99 0.0 1.0##a man\n", "'video99', whose length"),
    ("charades_sta", "Charades_v1_test.csv", "id,length\nvideo6,long\n", "a number of seconds, not 'long'"),
    ("activitynet-grounding", "val_1.json",
     '{"v_6": {"duration": 1, "timestamps": [[0]], "sentences": ["a"]}}', "not a pair of seconds"),
    ("msrvtt_qa", "test_qa.json", '[{"video_id": 6, "question": "who?", "answer": 4, "category_id": 1}]',
     "an answer must be text, not 4"),
    ("msrvtt_qa", "test_qa.json", '[{"video_id": 6, "question": "?", "answer": "a", "category_id": 1}]',
     "a question must be text"),
    ("msvd_qa", "youtube_mapping.txt", "film_0\n", "line 1 must be `VIDEO vidNUMBER`"),
    ("msvd_qa", "youtube_mapping.txt", "film_0 vid99\n", "names 'vid1', of which"),
    ("activitynet_qa", "test_a.json", "[]", "of which .*test_a.json has no answer"),
    ("msrvtt_mc", "msrvtt_mc_test.json", '[{"image": "video6", "caption": ["a", "b"], "answer": 2}]',
     "needs a list of captions and the number of the right one from 0"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("name", "file", "text", "message"), WRONG, ids=[f"{w[1]}-{w[3][:9]}" for w in WRONG]
)
def test_other_files_are_refused_in_a_sentence(
    tmp_path: Path, name: str, file: str, text: str, message: str
) -> None:
    folder_of(name, tmp_path, empty=True)
    (tmp_path / "annotations" / file).write_text(text)
    with pytest.raises(UserError, match=message) as caught:
        describe(DataConfig(name=name), str(tmp_path))
    assert "\n" not in str(caught.value)


def test_choices_are_nothing_to_train_on_as_questions(tmp_path: Path) -> None:
    folder_of("msrvtt_mc", tmp_path, empty=True)
    with pytest.raises(UserError, match=r"data\.text='questions' does not go with msrvtt_mc"):
        describe(DataConfig(name="msrvtt_mc", text="questions"), str(tmp_path))


@pytest.mark.skipif(not REAL.is_dir(), reason="the annotation files are not here")
def test_the_times_of_real_sentences() -> None:
    rows = list(activitynet.rows_of(REAL / "activitynet" / "val_1.json", "test", protocol="grounding"))
    assert len(rows) == 17_505
    assert len({row.video for row in rows}) == 4917
    assert not any(row.fault for row in rows)
    times = np.array([row.known["timeline"][1:] for row in rows])
    assert ((times[:, 0] >= 0) & (times[:, 0] < times[:, 1]) & (times[:, 1] <= 1)).all()
    assert 0.25 < (times[:, 1] - times[:, 0]).mean() < 0.5, "a sentence is about a part of its video"


# Through the real command

STUDY = """
from workbench.config import Budget, DataConfig, OptimConfig, RunConfig, Stage
from workbench.recipes import lavender
from workbench.study.spec import Study
from workbench.testing.world import FRAMES, SIZE, shrink


def configure(trial):
    budget = Budget(unit="steps", amount=2)
    return RunConfig(
        recipe=shrink(lavender.Config()),
        data=DataConfig(frames=FRAMES, size=SIZE),
        stages=(Stage(budget=budget), Stage(objective="align", masked=False, budget=budget)),
        optim=OptimConfig(batch_size=4),
        evaluations=1,
    )


STUDY = Study(question="Does it run?", configure=configure)
"""


@pytest.mark.parametrize(
    ("name", "measured"),
    [
        ("charades_sta", ("grounding_miou", "grounding_r1_iou50", "grounding_miou_chance", "t2v_r1")),
        ("msrvtt_qa", ("stage0_qa_open", "stage0_qa_open_majority", "stage0_qa_open_text")),
    ],
)
def test_a_study_on_them_measures_their_task(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, measured: tuple[str, ...]
) -> None:
    (tmp_path / "studies").mkdir()
    (tmp_path / "studies" / "tried.py").write_text(STUDY)
    source = folder_of(name, tmp_path / "own")
    monkeypatch.chdir(tmp_path)
    assert main(["tried", "--data", f"{name}:{source}", "--results", str(tmp_path / "results")]) == 0
    (folder,) = (tmp_path / "results" / "runs" / "tried").glob("*-s0")
    values = RunDir(folder).read_json("summary.json")
    assert {f"test/{one}" for one in measured} <= set(values)
    assert all(0 <= values[f"test/{one}"] <= 100 for one in measured)
