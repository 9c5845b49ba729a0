"""The view Masks over a trained study: every masking, drawn by the helper, on clips of the data."""

import shutil

import numpy as np
import pytest
from reading import said
from trained import STUDY, keys

from app.helper import ask
from workbench.data.store import FrameStore
from workbench.masking import names
from workbench.masking.preview import HATCH, HIDDEN
from workbench.tracking.run_dir import RunDir


def task(results, video, text=("TokenMasking", 0.0), **changes):
    store = next(results.glob("data/*/frames-*"))
    run = RunDir.of(results, STUDY, keys(results)[0], 0)
    given = {
        "want": "mask", "run": str(run.path), "store": str(store), "row": 3, "video": video, "text": text,
        "caption": "a red star moves left", "seed": 0,
    }  # fmt: skip
    return given | changes


def decoded(path):
    """Frames uint8 [T, H, W, 3] of a video file."""
    import av

    with av.open(str(path)) as container:
        return np.stack([frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)])


def metrics(page):
    return {metric.label: metric.value for metric in page.metric}


@pytest.mark.parametrize("name", names.video())
def test_every_video_masking_hides_its_share_of_the_frames(trained, name):
    answer, payload = ask(**task(trained, (name, 0.5)))
    frames = FrameStore.open(next(trained.glob("data/*/frames-*"))).frames[3]
    seen = np.frombuffer(payload, np.uint8).reshape(frames.shape)
    grey = np.any([(seen == grey).all(-1) for grey in (HIDDEN, HATCH)], axis=0)
    assert answer["hidden"] == answer["tokens"] // 2
    assert grey.mean() == pytest.approx(0.5, abs=0.01)
    assert np.array_equal(seen[~grey], frames[~grey])
    assert answer["flops"] < 0.7 * answer["flops_of_all"]


@pytest.mark.parametrize("name", names.text())
def test_every_text_masking_hides_its_share_of_the_words(trained, name):
    answer, _ = ask(**task(trained, ("RandomMasking", 0.0), (name, 0.4)))
    assert answer["words"] == ["a", "red", "star", "moves", "left"]
    assert sum(answer["words_hidden"]) == 2
    assert answer["flops"] == answer["flops_of_all"]


def test_it_opens_with_the_masking_of_the_cell(trained, opened):
    page = opened(view="masks", cell=keys(trained)[1])
    assert not page.exception
    assert page.selectbox(key="address: video").value == "PerFrameMasking"
    assert page.slider(key="address: video_ratio").value == 0.5
    assert page.slider(key="address: words_ratio").value == 0.25
    assert metrics(page)["Video tokens hidden"] == "16 of 32"
    assert metrics(page)["Video tokens encoded"] == "16 of 32"
    assert len(page.get("video")) == 2
    assert len(page.get("image")) == 4


def test_a_link_gives_the_same_mask_and_another_draw_another(trained, opened):
    chosen = {
        "video": "TubeMasking",
        "video_ratio": "0.25",
        "words": "WholeWordMasking",
        "words_ratio": "0.5",
    }
    page = opened(view="masks", **chosen, split="val")
    assert page.selectbox(key="address: split").value == "val"
    assert metrics(page)["Video tokens hidden"] == "8 of 32"
    assert "█" in said(page)
    (again, first), (_, other) = (ask(**task(trained, ("TubeMasking", 0.25), seed=seed)) for seed in (0, 1))
    assert again["hidden"] == 8
    assert first != other
    page.slider(key="address: video_ratio").set_value(0.75).run()
    assert page.query_params["video_ratio"] == "0.75"
    assert metrics(page)["Video tokens hidden"] == "24 of 32"


def test_sliders_end_where_a_masking_is_valid(trained, opened):
    page = opened(view="masks", video_ratio="1")
    assert not page.exception
    assert "video_ratio '1', which is not here" in page.warning[0].value.replace("\\", "")
    slider = page.slider(key="address: video_ratio")
    assert (slider.max, slider.step) == (0.99, 0.01)
    page = opened(view="masks", video_ratio="0.99", words_ratio="0.99")
    assert not page.exception
    assert metrics(page)["Video tokens hidden"].endswith(" of 32")


def test_a_ratio_that_hides_another_share_says_so_at_the_slider(trained, opened):
    words = said(opened(view="masks", video="FrameMasking", video_ratio="0.9"))
    assert "frame hides 0.50 of this video at a ratio of 0.90" in words.replace("\\", "")
    assert "hides" not in said(opened(view="masks", video="FrameMasking", video_ratio="0.5", words_ratio="0"))


def test_every_strategy_plays_side_by_side_on_one_clip(trained, opened):
    page = opened(view="masks", shown="strategies", video_ratio="0.5")
    assert not page.exception
    assert len(page.get("video")) == 2 + len(names.video())
    assert said(page).count("16 of 32 tokens hidden") == len(names.video())
    assert "per\\-frame" in said(page)


def test_the_masked_clip_is_a_video_of_what_the_encoder_sees(trained, tmp_path):
    wanted = ("TubeMasking", 0.5)
    _, payload = ask(**task(trained, wanted))
    _, video = ask(**task(trained, wanted, want="masked_clip"))
    path = tmp_path / "masked.mp4"
    path.write_bytes(video)
    seen = np.frombuffer(payload, np.uint8).reshape(4, 32, 32, 3)
    found = decoded(path)
    assert found.shape == (4, 192, 192, 3)
    small = found.reshape(4, 32, 6, 32, 6, 3).mean((2, 4))
    assert np.abs(small - seen).mean() < 12


@pytest.mark.parametrize(
    ("hidden", "sentence"),
    [
        ("drop", "dropped before the encoder, which never computes them."),
        ("replace", "replaced by a learned token; the encoder computes as much as without a mask."),
        ("zero", "read as black; the encoder computes as much as without a mask."),
    ],
)
def test_it_says_what_becomes_of_hidden_patches(trained, opened, hidden, sentence, monkeypatch):
    given = ask

    def other(**task):
        answer, payload = given(**task)
        return answer | {"video_hidden": hidden, "flops": None}, payload

    monkeypatch.setattr("app.helper.ask", other)
    monkeypatch.setattr("app.views.masks.ask", other, raising=False)
    page = opened(view="masks", video="TubeMasking", video_ratio="0.5")
    assert not page.exception
    assert f"Hidden patches are {sentence}" in said(page)
    assert metrics(page)["Video tokens encoded"] == ("16 of 32" if hidden == "drop" else "32 of 32")
    assert "Video encoder GFLOPs" not in metrics(page)
    assert "FLOPs of this recipe's video encoder are left out" in said(page)


def test_hostile_parameters_are_left_out_with_a_sentence(trained, opened):
    hostile = {"video": "__import__", "video_ratio": "nan", "words": "../..", "words_ratio": "1e999",
               "draw": "-1", "clip": "<b>", "split": "$x$"}  # fmt: skip
    page = opened(view="masks", **hostile)
    assert not page.exception
    assert page.warning[0].value.count("it is left out") == len(hostile)
    assert len(page.get("image")) == 4


def test_a_masking_that_is_none_is_refused_by_the_helper(trained):
    with pytest.raises(Exception, match="there is no masking 'os'"):
        ask(**task(trained, ("os", 0.5)))


def test_without_data_or_tokenizer_it_says_what_is_missing(trained, opened):
    for path in trained.glob(f"runs/{STUDY}/*/tokenizer.json"):
        path.unlink()
    assert "left no tokenizer" in said(opened(view="masks"))
    shutil.rmtree(trained / "data")
    page = opened(view="masks")
    assert not page.exception
    assert "the clips of this study are not on this machine" in said(page)


def test_a_run_of_another_version_is_refused_in_words(ratios, opened):
    ratios()
    page = opened(view="masks")
    assert not page.exception
    assert "does not say which data" in said(page)
