"""Compiled blocks give what blocks as they are written give, and leave everything else as it was."""

import pytest
import torch
from small import build, run_config

from workbench.config import OptimConfig
from workbench.serial import canonical
from workbench.testing.world import step
from workbench.train import session as sessions
from workbench.train.checkpoint import resume, save
from workbench.train.cost import StepCounter
from workbench.train.loop import train
from workbench.train.session import open_session
from workbench.train.step import compiled

CPU = torch.device("cpu")
ASKED = OptimConfig(batch_size=8, compile=True)


@pytest.fixture(autouse=True)
def traced(monkeypatch):
    """What is compiled is traced, forward and back, and run without making kernels, which takes a minute."""
    monkeypatch.setattr(compiled, "BACKEND", "aot_eager")
    torch._dynamo.reset()


@pytest.mark.parametrize("name", ["mac", "smaug"])  # smaug looks into the pass of a block
def test_losses_gradients_names_and_costs_are_the_same(vocabulary, batch, name):
    plain, other = (build(name, vocabulary) for _ in range(2))
    compiled.compile_blocks(other)
    with StepCounter(plain, len(batch.video)) as once, StepCounter(other, len(batch.video)) as again:
        pass
    found = []
    for recipe, counter in ((plain, once), (other, again)):
        with counter:  # as in a first step, which is counted
            step(recipe, batch)
        loss = sum(step(recipe, batch).values())
        loss.backward()
        found.append((loss.detach(), {name: p.grad for name, p in recipe.named_parameters()}))
    assert torch._dynamo.utils.counters["frames"]["ok"] > 0, "something was compiled"
    assert torch.allclose(found[0][0], found[1][0], atol=1e-5)
    assert list(found[0][1]) == list(found[1][1])
    for name, grad in found[0][1].items():
        assert torch.allclose(grad, found[1][1][name], atol=1e-5), name
    assert list(plain.state_dict()) == list(other.state_dict())
    assert once.cost == again.cost


def test_a_run_goes_on_from_the_checkpoint_of_one_that_was_not_compiled(store, tmp_path, monkeypatch):
    config = run_config("mac", steps=4, evaluations=1, optim=ASKED)

    def losses(session, **options):
        return [row["train/loss"] for _, row in train(session, **options) if "train/loss" in row]

    whole = losses(open_session(config, store, device=CPU, precision=torch.float32))
    first = open_session(config, store, device=CPU, precision=torch.float32)
    rows = train(first)
    found = [next(rows)[1]["train/loss"] for _ in range(2)]
    save(tmp_path, first.recipe, first.optimizer, first.progress, config, {})
    monkeypatch.setattr(sessions, "compiles", lambda optim, device: optim.compile)
    second = open_session(config, store, device=CPU, precision=torch.float32)
    second.progress = resume(tmp_path, second.recipe, second.optimizer, config, "")
    found += losses(second)
    assert torch._dynamo.utils.counters["frames"]["ok"] > 0, "something was compiled"
    assert found == pytest.approx(whole, rel=1e-5)


def test_processors_run_blocks_as_they_are_and_keys_stay():
    assert not compiled.compiles(ASKED, CPU)
    assert compiled.compiles(ASKED, torch.device("cuda"))
    assert not compiled.compiles(OptimConfig(), torch.device("cuda"))
    assert run_config().key() == run_config(optim=OptimConfig(batch_size=8, compile=False)).key()
    assert "compile" not in canonical(run_config())["optim"]
    assert canonical(run_config(optim=ASKED))["optim"]["compile"] is True
