"""The codebook: nearest patches, by brute force and by others, fitted alike from the same numbers."""

from functools import partial
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from workbench.data.store import FrameStore
from workbench.models.codebook import Codebook
from workbench.models.video import VideoConfig, VideoEncoder
from workbench.recipe.codes import fit_codes


def patches(count, pixels=12, seed=0):
    made = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (count, pixels), generator=made, dtype=torch.uint8)


def clusters(seed=0):
    """Patches around five centres that lie far apart."""
    centres = torch.tensor([10, 60, 120, 180, 240])[:, None].expand(-1, 12)
    noise = torch.randint(-5, 6, (40, 5, 12), generator=torch.Generator().manual_seed(seed))
    return (centres + noise).to(torch.uint8).flatten(0, 1)


def book(codes=16, pixels=12):
    torch.manual_seed(0)
    return Codebook(codes, pixels)


def rng(seed=0):
    return torch.Generator().manual_seed(seed)


def test_a_code_is_the_nearest_centroid_by_brute_force():
    made = book()
    found = made(patches(40).view(4, 10, 12))
    assert found.shape == (4, 10)
    assert found.dtype == torch.int64
    for patch, code in zip(patches(40), found.flatten().tolist(), strict=True):
        distances = [float(((patch.double() / 255 - c.double()) ** 2).sum()) for c in made.centroids]
        assert code == int(np.argmin(distances))
    assert len(found.unique()) > 5


def test_codes_are_those_of_k_means_of_scikit_learn():
    cluster = pytest.importorskip("sklearn.cluster")
    made = book()
    made.fit(patches(300), rng())
    other = cluster.KMeans(16, init=made.centroids.numpy(), n_init=1, max_iter=1)
    other.fit(made.centroids.numpy())
    other.cluster_centers_ = made.centroids.numpy()
    asked = patches(200, seed=1)
    assert made(asked).tolist() == other.predict(asked.numpy().astype(np.float32) / 255).tolist()


def test_codes_are_exact_under_autocast():
    made = book()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = made(patches(200))
    assert torch.equal(found, made(patches(200)))


def distortion(made, asked):
    return float((asked / 255 - made.centroids[made(asked)]).square().mean())


def test_fitting_brings_the_centroids_to_the_patches():
    made, asked = book(), patches(300)
    before = distortion(made, asked)
    made.fit(asked, rng())
    assert distortion(made, asked) < 0.8 * before
    for code in made(asked).unique().tolist():  # it has settled: each is the mean of its own
        own = asked[made(asked) == code] / 255
        assert (own.mean(0) - made.centroids[code]).abs().max() < 0.15


def test_clusters_that_lie_far_apart_are_told_apart():
    made = book(codes=40)
    made.fit(clusters(), rng())
    codes = made(clusters(seed=1)).view(40, 5)
    sets = [set(codes[:, i].tolist()) for i in range(5)]
    assert sum(map(len, sets)) == len(set.union(*sets))


def test_the_generator_alone_decides():
    found = []
    for _ in range(2):
        made = book()
        cost = made.fit(patches(300), rng(3))
        found.append(made.centroids.clone())
    assert torch.equal(*found)
    assert cost == 2 * 10 * 300 * 12 * 16
    other = book()
    other.fit(patches(300), rng(4))
    assert not torch.equal(other.centroids, found[0])


@pytest.mark.parametrize("count", [1, 5, 16])
def test_fewer_distinct_patches_than_codes_are_codes_themselves(count):
    made = book()
    few = patches(count)
    assert made.fit(few.repeat(50, 1), rng()) == 0
    assert made.centroids.shape == (16, 12)
    assert torch.isfinite(made.centroids).all()
    assert len(made(few).unique()) == count
    assert torch.allclose(made.centroids[made(few)], few / 255)


def test_codes_that_lose_all_their_patches_do_no_harm():
    """Nearly all patches are one, so that most clusters starve."""
    made = book()
    made.fit(torch.cat([patches(1).repeat(500, 1), patches(17, seed=1)]), rng())
    assert torch.isfinite(made.centroids).all()


def test_a_checkpoint_holds_it():
    made = book()
    made.fit(patches(300), rng())
    other = Codebook(16, 12)
    other.load_state_dict(made.state_dict())
    assert torch.equal(other(patches(50, seed=2)), made(patches(50, seed=2)))
    assert not list(made.parameters())


def test_it_is_fitted_to_patches_of_training_clips_only():
    """Clips of the other splits are white, and so are the frames that no step takes: 1 and 3 are centres."""
    video = VideoEncoder(VideoConfig(width=32, depth=1, heads=2, patch=8, tubelet=1), frames=2, size=16)
    frames = np.full((20, 5, 16, 16, 3), 255, np.uint8)
    frames[:12] = np.random.default_rng(0).integers(0, 100, (12, 5, 16, 16, 3), np.uint8)
    frames[:12, [0, 2, 4]] = 255
    store = SimpleNamespace(
        frames=frames, splits={"train": SimpleNamespace(clips=np.array([0, 0, 3, 5, 7, 11]))}
    )
    store.centred = partial(FrameStore.centred, store)
    made = book(codes=8, pixels=8 * 8 * 3)
    assert fit_codes(made, video, store, rng()) > 0
    assert made.centroids.max() < 0.4
