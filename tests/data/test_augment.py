"""What training sees of a clip: held against Pillow and loops; a function of seed, step and place alone."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from benchmark_files import folder_of
from PIL import Image
from small import FRAMES, SIZE, run_config, write_store

from workbench.config import DataConfig
from workbench.data import describe, prepare
from workbench.data.augment import colour, crop
from workbench.data.augment.views import augmented
from workbench.data.loader import Loader
from workbench.data.store import FrameStore
from workbench.errors import UserError
from workbench.inspection import loading
from workbench.inspection.clips import Clips
from workbench.recipe.true_motion import check_known
from workbench.study.stages import fitted
from workbench.tasks.gallery import gallery

ALL = {"crop": 0.3, "flip": 0.5, "jitter": 0.4}
SIDE = 24


@pytest.fixture(scope="module")
def large(tmp_path_factory):
    """Random clips whose frames are larger, and more, than a step takes."""
    return write_store(tmp_path_factory.mktemp("large") / "frames-8x24", frames=2 * FRAMES, size=SIDE)


def config(**changes):
    given = {"name": "random", "frames": FRAMES, "size": SIZE, "stored_size": SIDE, "stored": 2 * FRAMES}
    return DataConfig(**(given | {"sampling": "random"} | changes))


def loader(store, vocabulary, data, **options):
    text = vocabulary.encode(store.splits["train"].captions)
    return Loader(store, text, batch_size=8, seed=3, data=data, **options)


def clips(seed=0, batch=5, side=SIDE, frames=3):
    return np.random.default_rng(seed).integers(0, 256, (batch, frames, side, side, 3), dtype=np.uint8)


class TestParts:
    def test_a_part_scaled_is_what_pillow_makes_of_it(self):
        frames = clips()
        boxes = crop.parts(np.random.default_rng(1).random((5, 4)), SIDE, 0.2)
        for size in (SIZE, 40):  # smaller and larger than most parts
            rows, columns = (crop.weights(boxes[:, i], boxes[:, i + 2], SIDE, size) for i in (0, 1))
            found = crop.rounded(crop.resampled(frames, rows, columns))
            for clip, made, (top, left, height, width) in zip(frames, found, boxes, strict=True):
                for frame, ours in zip(clip, made, strict=True):
                    box = (left, top, left + width, top + height)
                    theirs = Image.fromarray(frame).resize((size, size), Image.Resampling.BILINEAR, box)
                    assert np.abs(np.asarray(theirs).astype(int) - ours).max() <= 1

    def test_parts_lie_in_the_frame_and_have_the_share_and_form_that_is_asked_for(self):
        boxes = crop.parts(np.random.default_rng(0).random((4000, 4)), 100, 0.25)
        assert (boxes[:, :2] >= 0).all()
        assert (boxes[:, :2] + boxes[:, 2:] <= 100 + 1e-9).all()
        inside = (boxes[:, 2:] < 100).all(1)
        area = boxes[inside, 2] * boxes[inside, 3] / 100**2
        assert 0.25 <= area.min() < 0.27
        ratio = boxes[inside, 3] / boxes[inside, 2]
        assert 3 / 4 <= ratio.min() < 0.77
        assert 1.3 < ratio.max() <= 4 / 3 + 1e-9
        assert 0.55 < (boxes[:, 2] * boxes[:, 3]).mean() / 100**2 < 0.65, "even between 0.25 and 1"

    def test_all_of_a_frame_of_the_same_size_is_the_frame(self):
        frames = clips()
        assert crop.scaled(frames, SIDE) is frames
        line = crop.weights(np.zeros(1), np.full(1, 24.0), SIDE, SIDE)
        assert np.array_equal(crop.rounded(crop.resampled(frames, line, line)), frames)


def test_colours_follow_the_formula_and_a_clip_changes_as_one():
    frames = clips(2).astype(np.float32)
    draws = np.random.default_rng(5).random((5, 3))
    found = colour.jittered(frames.copy(), draws, 0.4)
    for clip, made, draw in zip(frames, found, draws, strict=True):
        light, contrast, saturation = 1 + 0.4 * (2 * draw - 1)
        wanted = np.clip(clip * light, 0, 255)
        mean = (wanted @ [0.299, 0.587, 0.114]).mean()
        wanted = np.clip(mean + contrast * (wanted - mean), 0, 255)
        grey = (wanted @ [0.299, 0.587, 0.114])[..., None]
        assert np.allclose(made, grey + saturation * (wanted - grey), atol=1e-2)


class TestSteps:
    def test_nothing_is_drawn_and_nothing_changes_by_default(self, store, vocabulary):
        data = DataConfig(name="random", frames=FRAMES, size=SIZE)
        frames = np.asarray(store.frames[:8])
        rng = np.random.default_rng(0)
        assert augmented(frames, 8, data, rng) is frames
        assert rng.random() == np.random.default_rng(0).random()

    def test_frames_and_parts_are_drawn_anew_in_each_epoch(self, large, vocabulary):
        """A clip of one epoch is looked for in the next one."""
        for changes in ({"crop": 1.0}, {"sampling": "centre", "crop": 0.3}):
            made = loader(large, vocabulary, config(**changes))
            seen = {}
            for step in range(2 * made.per_epoch):
                batch = made.batch(step)
                for row, index in enumerate(batch.index.tolist()):
                    seen.setdefault(index, []).append(batch.video[row])
            assert all(len(views) == 2 for views in seen.values())
            assert sum(torch.equal(*views) for views in seen.values()) < 8, changes

    def test_the_same_clip_at_the_same_place_is_seen_otherwise_in_each_step(self, large, vocabulary):
        same = replace(large, frames=np.repeat(large.frames[:1], len(large.frames), 0))
        made = loader(same, vocabulary, config(sampling="centre", crop=0.3))
        views = [made.batch(step).video for step in (0, 1, made.per_epoch)]
        assert not any(torch.equal(a, b) for a, b in zip(views[0], views[1], strict=True))
        assert not any(torch.equal(a, b) for a, b in zip(views[0], views[2], strict=True))

    def test_a_batch_is_a_function_of_seed_and_step_alone(self, large, vocabulary):
        data = config(**ALL)
        stream = loader(large, vocabulary, data).batches(0)
        straight = [next(stream).video for _ in range(6)]
        stream.close()
        stream = loader(large, vocabulary, data).batches(4)  # as after a resume
        later = [next(stream).video for _ in range(2)]
        stream.close()
        assert all(torch.equal(a, b) for a, b in zip(straight[4:], later, strict=True))
        other = Loader(
            large, vocabulary.encode(large.splits["train"].captions), batch_size=8, seed=4, data=data
        )
        assert not torch.equal(other.batch(4).video, straight[4])

    @pytest.mark.parametrize("size", [2, 4])
    def test_several_processes_see_the_rows_of_one(self, large, vocabulary, size):
        whole = loader(large, vocabulary, config(**ALL)).batch(1).video
        parts = [
            loader(large, vocabulary, config(**ALL), rank=r, size=size).batch(1).video for r in range(size)
        ]
        assert torch.equal(torch.cat(parts), whole)

    def test_a_share_is_mirrored_and_only_that(self, store):
        data = DataConfig(name="random", frames=FRAMES, size=SIZE, flip=0.5)
        frames = np.asarray(store.frames[:24])
        found = augmented(frames, 24, data, np.random.default_rng(1))
        mirrored = [np.array_equal(a, b[:, :, ::-1]) for a, b in zip(frames, found, strict=True)]
        same = [np.array_equal(a, b) for a, b in zip(frames, found, strict=True)]
        assert all(a != b for a, b in zip(mirrored, same, strict=True))
        assert 4 < sum(mirrored) < 20

    def test_what_is_switched_on_beside_it_does_not_move_a_part(self, large):
        frames = np.asarray(large.frames[:8, :FRAMES])
        plain, with_colours = (
            augmented(frames, 8, config(crop=0.3, jitter=jitter), np.random.default_rng(1))
            for jitter in (0, 1e-6)
        )
        assert np.abs(plain.astype(int) - with_colours).max() <= 1


def test_evaluation_sees_all_of_the_centre_frames(large, vocabulary):
    part = gallery(large, "test", vocabulary.encode(large.splits["test"].captions), config(**ALL))
    found = part.frames(np.arange(3))
    assert found.shape == (3, FRAMES, SIZE, SIZE, 3)
    assert np.array_equal(found, large.centred(part.clips[:3], FRAMES, SIZE))
    assert np.array_equal(found, crop.scaled(large.centred(part.clips[:3], FRAMES), SIZE))


def test_the_dashboard_shows_frames_as_the_model_sees_them(large):
    numbers, seen = loading.frames(run_config(data=config(**ALL)), str(large.path), 5)
    shown = Clips(large, SIZE).frames(large.clip_ids[5], numbers)
    assert shown.shape == (FRAMES, SIZE, SIZE, 3)
    assert np.array_equal(shown, seen)
    assert np.array_equal(shown, large.centred(np.array([5]), FRAMES, SIZE)[0])


def test_a_target_that_is_known_of_whole_clips_is_refused_on_parts():
    check_known("flow", [DataConfig(name="moving_shapes")], ["moving_shapes"], ["pixels", "hog"])
    for change in ({"crop": 0.5}, {"flip": 0.5}, {"stored_size": 80}):
        data = DataConfig(name="moving_shapes", **change)
        with pytest.raises(UserError, match="target='flow' is known of clips as they are stored"):
            check_known("flow", [data], ["moving_shapes"], ["pixels", "hog"])


def test_the_store_keeps_what_was_asked_for_and_the_plan_says_how_much_that_is(tmp_path):
    source = str(folder_of("msrvtt", tmp_path / "there"))
    data = DataConfig(name="msrvtt", frames=2, size=16, stored=4, stored_size=24, sampling="random", crop=0.5)

    def described(one):
        return describe(one, source)

    known = described(data)
    path = prepare(known.data, source=source, root=tmp_path, progress=False)
    store = FrameStore.open(path)
    assert path.name == "frames-4x24"
    assert store.frames.shape[1:] == (4, 24, 24, 3)
    assert known.clips == len(store.frames)
    _, notes = fitted(run_config(data=data), described)
    kept = 4 * 24 * 24 * 3 * known.clips
    assert store.frames.nbytes == kept
    assert [note for note in notes if "on disk" in note] == [
        f"msrvtt: 4 frames of 24 pixels are kept of {known.clips} clips, {kept / 1e9:.2g} GB on disk; "
        "a step takes 2 of 16"
    ]
    plain = replace(data, stored=0, stored_size=0, sampling="centre", crop=1.0)
    assert not [note for note in fitted(run_config(data=plain), described)[1] if "on disk" in note]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"stored_size": 16}, "data.stored_size must be 0 or above data.size=16, not 16"),
        ({"crop": 0.0}, "data.crop must be a share of a frame's area in (0, 1], not 0.0"),
        ({"crop": 1.5}, "data.crop must be a share"),
        ({"flip": -0.1}, "data.flip must be a number in [0, 1], not -0.1"),
        ({"jitter": float("nan")}, "data.jitter must be a number in [0, 1], not nan"),
    ],
)
def test_a_value_that_cannot_be_is_refused(change, said):
    with pytest.raises(UserError) as caught:
        config(**change)
    assert str(caught.value).startswith(said)
    assert "\n" not in str(caught.value)


def test_data_that_are_only_evaluated_are_not_changed():
    with pytest.raises(UserError, match="evaluate_on must leave them"):
        run_config(evaluate_on=(DataConfig(name="other", frames=FRAMES, size=SIZE, flip=0.5),))
