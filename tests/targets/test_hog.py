"""Oriented gradients: against scikit-image, and on pictures of one edge."""

import math

import pytest
import torch

from workbench.targets.hog import histograms, hog_image


def pictures(*shape, seed=0):
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("shape", [(16, 16, 3), (64, 64, 3), (20, 28, 3), (17, 9, 3), (24, 32, 1)])
def test_picture_and_histograms_are_those_of_scikit_image(shape):
    feature = pytest.importorskip("skimage.feature")
    frame = pictures(*shape)
    blocks, drawn = feature.hog(
        frame.numpy(), orientations=9, pixels_per_cell=(8, 8), cells_per_block=(1, 1), block_norm="L1",
        visualize=True, channel_axis=2, feature_vector=False,
    )  # fmt: skip
    assert hog_image(frame).numpy() == pytest.approx(drawn, abs=1e-4)
    found = histograms(frame)
    shares = found / (found.sum(-1, keepdim=True) + 1e-5)
    assert shares.numpy() == pytest.approx(blocks[:, :, 0, 0], abs=1e-4)


def test_equal_channels_and_flat_places_are_those_of_scikit_image():
    feature = pytest.importorskip("skimage.feature")
    frame = (pictures(32, 32, 3) * 4).floor().repeat_interleave(2, 0).repeat_interleave(2, 1)
    drawn = feature.hog(
        frame.numpy(), pixels_per_cell=(8, 8), cells_per_block=(1, 1), visualize=True, channel_axis=2
    )[1]
    assert hog_image(frame).numpy() == pytest.approx(drawn, abs=1e-4)


@pytest.mark.parametrize("degrees", range(10, 180, 20))
def test_a_slope_is_found_in_its_direction_as_steep_as_it_is(degrees):
    y, x = torch.meshgrid(torch.arange(24.0), torch.arange(24.0), indexing="ij")
    angle = math.radians(degrees)
    slope = 0.3 * (math.cos(angle) * x + math.sin(angle) * y)
    found = histograms(slope[..., None].expand(-1, -1, 3))
    expected = torch.zeros(9)
    expected[degrees // 20] = 0.6  # from the pixel before to the pixel after
    assert torch.allclose(found[1, 1], expected, atol=1e-5), "the cell that touches no border"
    assert torch.equal(histograms(-slope[..., None])[1, 1], histograms(slope[..., None])[1, 1]), "no sign"


def test_the_channel_with_the_largest_gradient_counts():
    frame = torch.zeros(24, 24, 3)
    frame[..., 0] = torch.arange(24.0)[None]
    frame[..., 1] = 3 * torch.arange(24.0)[:, None]
    assert histograms(frame)[1, 1].tolist() == pytest.approx([0, 0, 0, 0, 6, 0, 0, 0, 0])


def test_frames_of_a_batch_are_drawn_each_by_itself():
    clips = pictures(2, 3, 16, 24, 3)
    drawn = hog_image(clips)
    assert drawn.shape == (2, 3, 16, 24)
    assert torch.isfinite(drawn).all()
    assert torch.equal(drawn[1, 2], hog_image(clips[1, 2]))
    assert (hog_image(torch.ones(1, 16, 16, 3)) == 0).all()


def test_it_is_exact_under_autocast():
    frame = pictures(16, 16, 3)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = hog_image(frame)
    assert torch.equal(found, hog_image(frame))
