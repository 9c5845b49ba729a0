"""Losses and targets, each against a naive loop of its formula."""

import math

import pytest
import torch
import torch.nn.functional as F

from workbench import losses, targets
from workbench.targets import error


def rows(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float32)


def unit(x):
    return x / x.norm(dim=-1, keepdim=True)


def naive_cross_entropy(logits, target):
    """Mean of -log softmax, summed in plain Python."""
    total = 0.0
    for row, right in zip(logits.tolist(), target.tolist(), strict=True):
        top = max(row)
        total -= row[right] - top - math.log(sum(math.exp(x - top) for x in row))
    return total / len(logits)


@pytest.mark.parametrize("batch", [1, 2, 7])
@pytest.mark.parametrize("scale", [1.0, 20.0, 100.0])
def test_vtc_is_the_mean_of_both_directions(batch, scale):
    video, text = unit(rows(batch, 5)), unit(rows(batch, 5, seed=1))
    scores = [
        [scale * sum(a * b for a, b in zip(v, t, strict=True)) for t in text.tolist()] for v in video.tolist()
    ]
    forth = naive_cross_entropy(torch.tensor(scores), torch.arange(batch))
    back = naive_cross_entropy(torch.tensor(scores).T, torch.arange(batch))
    assert losses.vtc(video, text, scale).item() == pytest.approx((forth + back) / 2, rel=1e-4, abs=1e-6)


def test_vtc_stays_exact_under_autocast():
    video, text = unit(rows(7, 5)), unit(rows(7, 5, seed=1))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = losses.vtc(video, text, 100.0)
    assert found.dtype == torch.float32
    assert found.item() == losses.vtc(video, text, 100.0).item()


def test_vtc_of_vectors_that_tell_nothing_is_the_logarithm_of_the_batch():
    same = unit(torch.ones(8, 4))
    assert losses.vtc(same, same, 20.0).item() == pytest.approx(math.log(8), rel=1e-5)


def test_vtc_is_computed_in_float32_whatever_comes_in():
    video, text = unit(rows(4, 8)), unit(rows(4, 8, seed=1))
    low = losses.vtc(video.bfloat16(), text.bfloat16(), 100.0)
    assert low.dtype == torch.float32
    exact = losses.vtc(video.bfloat16().double().float(), text.bfloat16().double().float(), 100.0)
    assert low.item() == pytest.approx(exact.item(), rel=1e-5)


def test_vtm_is_two_class_cross_entropy():
    logits, matched = rows(6, 2), torch.tensor([True, True, True, False, False, False])
    expected = naive_cross_entropy(logits, matched.long())
    assert losses.vtm(logits, matched).item() == pytest.approx(expected, rel=1e-5)


def test_mlm_is_cross_entropy_over_the_hidden_words_only():
    logits, tokens = rows(5, 11), torch.tensor([0, 3, 10, 3, 7])
    assert losses.mlm(logits, tokens).item() == pytest.approx(naive_cross_entropy(logits, tokens), rel=1e-5)


@pytest.mark.parametrize("kind", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("size", [1000, 2500])  # a single part, and a last one that is shorter
def test_mvm_in_parts_has_the_gradient_of_mse_loss_bit_for_bit(monkeypatch, kind, size):
    monkeypatch.setattr(error, "PART", 1000)
    torch.manual_seed(0)
    one = torch.randn(size // 10, 10).T.to(kind).requires_grad_()  # not contiguous
    other = one.detach().clone().requires_grad_()
    target = torch.randn(10, size // 10)
    losses.mvm(one, target).mul(0.3).backward()
    F.mse_loss(other.float(), target).mul(0.3).backward()
    torch.testing.assert_close(losses.mvm(one, target), F.mse_loss(other.float(), target), rtol=1e-6, atol=0)
    assert torch.equal(one.grad, other.grad)
    assert one.grad.dtype == kind


def test_mvm_is_the_mean_squared_error():
    prediction, target = rows(2, 3, 4), rows(2, 3, 4, seed=1)
    pairs = zip(prediction.flatten().tolist(), target.flatten().tolist(), strict=True)
    expected = sum((p - t) ** 2 for p, t in pairs) / 24
    assert losses.mvm(prediction, target).item() == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize(
    "loss",
    [
        lambda x: losses.mlm(x.view(0, 7), torch.zeros(0, dtype=torch.long)),
        lambda x: losses.mvm(x.view(4, 0, 7), torch.zeros(4, 0, 7)),
    ],
    ids=["mlm", "mvm"],
)
def test_where_nothing_is_hidden_the_loss_is_zero_and_gradients_are_finite(loss):
    weight = torch.ones(3, requires_grad=True)
    empty = (weight.sum() * torch.ones(1))[:0]
    value = loss(empty)
    value.backward()
    assert value.item() == 0
    assert torch.isfinite(weight.grad).all()


@pytest.mark.parametrize("low", [torch.bfloat16, torch.float16])
def test_every_loss_is_float32_under_low_precision(low):
    logits = rows(4, 6).to(low)
    assert losses.mlm(logits, torch.arange(4)).dtype == torch.float32
    assert losses.mvm(logits, logits).dtype == torch.float32
    assert losses.vtm(logits[:, :2], torch.ones(4, dtype=torch.bool)).dtype == torch.float32


# Targets


def test_normalised_pixels_are_standardised_per_cube_and_channel():
    patches = torch.randint(0, 256, (2, 3, 5 * 3), generator=torch.Generator().manual_seed(0)).to(torch.uint8)
    out = targets.normalised_pixels(patches)
    for b in range(2):
        for m in range(3):
            for channel in range(3):
                values = [v / 255 for v in patches[b, m, channel::3].tolist()]
                mean = sum(values) / 5
                deviation = math.sqrt(sum((v - mean) ** 2 for v in values) / 4)
                expected = [(v - mean) / (deviation + 1e-6) for v in values]
                found = out[b, m, 5 * channel : 5 * channel + 5].tolist()
                assert found == pytest.approx(expected, rel=1e-4, abs=1e-5)


def test_a_flat_patch_is_a_finite_target():
    out = targets.normalised_pixels(torch.full((1, 2, 12), 200, dtype=torch.uint8))
    assert torch.isfinite(out).all()
    assert out.abs().max() < 1e-1
