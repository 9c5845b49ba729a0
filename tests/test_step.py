"""A step never waits for the host, and how gradients are made: in parts, with blocks computed again."""

import ctypes
import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from small import FRAMES, SIZE, build, recipe_module, recipe_names, run_config, shrink
from torch._subclasses.fake_tensor import DynamicOutputShapeException, FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from toys import Config as ToyConfig

from workbench import losses
from workbench.config import Budget, OptimConfig, Stage
from workbench.errors import UserError
from workbench.masking import positions
from workbench.recipe.batch import Batch, BatchRng, Draw, Layout, Text
from workbench.train import loop
from workbench.train.cost import StepCounter
from workbench.train.loop import NotFinite, train
from workbench.train.session import check, open_session
from workbench.train.step.deferred import DeferredScalars
from workbench.train.step.gradients import Gradients

CPU = torch.device("cpu")
ROOT = Path(__file__).parents[1]


class TestPlaces:
    """What is known of a mask gives what its values would."""

    def test_a_mask_that_says_its_number_is_read_as_one_that_does_not(self):
        mask = torch.rand(5, 7, generator=torch.Generator().manual_seed(0)) < 0.4
        x = torch.randn(5, 7, 3)
        known = positions.counted(mask.clone(), int(mask.sum()))
        for one in (mask, known):
            assert torch.equal(torch.stack(positions.places(one), 1), mask.nonzero())
            assert torch.equal(positions.pick(x, one), x[mask])
        even = positions.counted_each(torch.tensor([[True, False, True], [False, True, True]]), 2)
        assert positions.columns(even).tolist() == [[0, 2], [1, 2]]
        assert positions.columns(positions.opposite(even)).tolist() == [[1], [0]]
        assert positions.total_of(positions.opposite(even)) == 2
        assert positions.total_of(positions.some_rows(even, slice(1, 2))) == 2
        assert positions.total_of(positions.some_rows(known, slice(1, 2))) is None, "rows differ"

    def test_a_wrong_number_is_noticed_where_the_host_sees_the_values(self):
        mask = torch.tensor([[True, True], [False, False]])
        with pytest.raises(AssertionError, match="the stored number is not"):
            positions.counted(mask, 3)
        with pytest.raises(AssertionError, match="the stored number is not"):
            positions.counted_each(mask, 1)

    def test_captions_on_an_accelerator_are_known_to_the_host(self, batch):
        text = batch.text
        away = Text(text.tokens.to("meta"), Layout(*(x.to("meta") for x in text.layout)), text.layout)
        assert torch.equal(away.select(slice(2, 4)).known.valid, text.layout.valid[2:4])
        assert text.to(torch.device("meta")).known is text.layout
        assert text.known is text.layout


def fake(value, mode, device):
    """Tensors that have a shape, lie on a device, and have no values at all."""
    if isinstance(value, torch.Tensor):
        there = mode.from_tensor(value).detach().to(device)
        for name in (positions.TOTAL, positions.EACH):
            if hasattr(value, name):
                setattr(there, name, getattr(value, name))
        return there
    if isinstance(value, dict):
        return {name: fake(one, mode, device) for name, one in value.items()}
    return value


def moved(recipe, mode, device):
    for module in recipe.modules():
        for name, own in module._parameters.items():
            if own is not None:
                there = torch.nn.Parameter(fake(own, mode, device), requires_grad=own.requires_grad)
                module._parameters[name] = there
        for name, own in module._buffers.items():
            module._buffers[name] = None if own is None else fake(own, mode, device)
    return recipe


def asks_nothing(recipe, batch, device, objective="recipe"):
    """One step of tensors without values: whatever would read one raises.

    Torch goes back on a device only where there is one, so that gradients are left out on `cuda`.
    """
    draw, mode = recipe.draw(batch, BatchRng.seeded(0), objective=objective), FakeTensorMode()
    with mode:
        recipe = moved(recipe, mode, device)
        video, tokens, *rest = (fake(x, mode, device) for x in batch.tensors)
        there = Batch(video, Text(tokens, Layout(*rest[:3])), *rest[3:])
        drawn = Draw(*(fake(x, mode, device) for x in (*draw[:2], dict(draw.chosen))))
        terms = recipe(there, drawn, objective=objective)
        assert {term.device.type for term in terms.values()} == {device}
        if device == "cpu":
            sum(terms.values()).backward()
        recipe.after_step(0.5)


def quiet(name):
    """The tiny recipe, without what asks the device by its nature.

    Where what gets attention is hidden, nobody knows beforehand how many words are among it.
    """
    config = shrink(recipe_module(name).Config())
    return replace(config, attended=0.0) if name == "violet" else config


@pytest.mark.parametrize("device", ["cuda", "cpu"])
@pytest.mark.parametrize("name", recipe_names())
def test_a_step_asks_the_device_for_nothing(name, device, vocabulary, batch, monkeypatch):
    monkeypatch.setattr(positions, "_seen", lambda mask: False)
    asks_nothing(build(name, vocabulary, config=quiet(name)), batch, device)


def test_a_question_to_the_device_would_be_noticed(vocabulary, batch, monkeypatch):
    monkeypatch.setattr(positions, "_seen", lambda mask: False)
    monkeypatch.setattr(positions, "total_of", lambda mask: None)
    with pytest.raises(DynamicOutputShapeException):
        asks_nothing(build("mac", vocabulary), batch, "cuda")


class Questions(TorchDispatchMode):
    """Counts what a device would be asked: a single number, or where a mask holds."""

    def __init__(self):
        super().__init__()
        self.count = 0

    def __torch_dispatch__(self, operation, types, args=(), kwargs=None):
        aten = torch.ops.aten
        if operation is aten.index.Tensor:
            self.count += any(index is not None and index.dtype is torch.bool for index in args[1])
        self.count += operation in (aten.nonzero.default, aten._local_scalar_dense.default)
        return operation(*args, **(kwargs or {}))


@torch.no_grad()
def test_where_attention_hides_each_mask_is_asked_for_once(vocabulary, batch, monkeypatch):
    module = recipe_module("violet")
    recipe = build("violet", vocabulary, config=shrink(module.Config())).eval()
    draw = recipe.draw(batch, BatchRng.seeded(0))
    patches, words = draw.video_mask, draw.text_mask
    assert patches.any()
    assert words.any()
    assert positions.total_of(patches) is None
    with Questions() as questions:
        found = recipe(batch, draw)
    assert questions.count == 2
    fused = recipe._read(recipe.video(batch.video, patches).tokens, batch.text, words)
    mlm = losses.mlm(recipe.word_head(fused.text[words]), batch.text.tokens[words])
    codes = recipe.codebook(recipe.video.patches(batch.video)[patches])
    assert torch.equal(found["mlm"], mlm)
    assert torch.equal(found["mvm"], losses.mvm_codes(recipe.code_head(fused.video[patches]), codes))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("name", recipe_names())
def test_twenty_steps_on_a_gpu_never_wait(name, store):
    config = run_config(quiet(name), steps=20 * loop.ROWS, evaluations=1)
    rows = train(open_session(config, store, device=torch.device("cuda")))
    next(rows)  # the first step is measured
    torch.cuda.set_sync_debug_mode("error")
    try:
        step, _ = next(rows)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert step == 20


@pytest.mark.parametrize("name", ["mac", "simvtp"])
def test_forward_and_loss_are_one_graph(name, vocabulary, batch):
    recipe = build(name, vocabulary)
    draw = recipe.draw(batch, BatchRng.seeded(0))
    found = torch._dynamo.explain(lambda own, drawn: sum(recipe(own, drawn).values()))(batch, draw)
    assert (found.graph_count, found.graph_break_count) == (1, 0), found.break_reasons


class TestReadLate:
    """As beside an accelerator: what a step found is read one step later."""

    @pytest.fixture
    def session(self, store, monkeypatch):
        """Its third step is not finite; few of its steps are recorded."""
        monkeypatch.setattr(DeferredScalars, "of", lambda device: DeferredScalars(1))
        session = open_session(run_config("simvtp", steps=20 * loop.ROWS, evaluations=1), store, device=CPU)
        losses = session.recipe.losses

        def diverging(batch, draw):
            terms = losses(batch, draw)
            return terms | {"mlm": terms["mlm"] * float("nan")} if session.progress.step == 2 else terms

        monkeypatch.setattr(session.recipe, "losses", diverging)
        return session

    @pytest.mark.parametrize(
        ("save_every", "stop_at", "reached", "saved"),
        [(1e9, 99, 3, None), (-1.0, 99, 3, 2), (1e9, 3, 3, None)],
        ids=["a step later", "before it is saved", "before it stops"],
    )
    def test_the_run_ends_with_the_step_and_leaves_no_spoilt_checkpoint(
        self, session, tmp_path, save_every, stop_at, reached, saved
    ):
        at = session.progress
        rows = train(session, checkpoints=tmp_path, save_every=save_every, stop=lambda: at.step == stop_at)
        with pytest.raises(NotFinite, match=r"^the loss mlm is not finite at step 3$"):
            list(rows)
        assert at.step == reached
        last = tmp_path / "last.json"
        kept = json.loads(last.read_text())["progress"]["step"] if last.exists() else None
        assert kept == saved

    def test_what_is_recorded_is_read_at_once(self, store, monkeypatch):
        found = []
        for lag in (0, 1):
            monkeypatch.setattr(DeferredScalars, "of", lambda device, lag=lag: DeferredScalars(lag))
            rows = train(open_session(run_config(steps=4), store, device=CPU))
            found.append([{k: v for k, v in row.items() if k.startswith("train/")} for _, row in rows])
        assert found[0] == found[1]
        assert "train/grad_norm" in found[1][0]


def gradients(recipe, batch, draw, parts, objective="recipe"):
    """Loss, gradients by name, and the cost of both."""
    recipe.zero_grad(set_to_none=True)
    stage = Stage(objective=objective, budget=Budget(unit="steps", amount=1))
    run = Gradients(recipe, stage, parts=parts, precision=torch.float32)
    with StepCounter(recipe, len(batch.video)) as counter:
        loss = float(run(batch, draw)["loss"].detach())
    grads = {n: p.grad.clone() for n, p in recipe.named_parameters() if p.grad is not None}
    return loss, grads, counter.cost


class TestParts:
    """GradCache: a contrast of embeddings that are made part by part."""

    @pytest.mark.parametrize(("name", "objective", "hidden"), [
        ("mac", "recipe", "replace"), ("mac", "recipe", "drop"), ("vlc", "align", "replace"),
    ])  # fmt: skip
    def test_512_pairs_in_parts_give_the_gradient_of_all_at_once(
        self, name, objective, hidden, store, vocabulary
    ):
        config = shrink(recipe_module(name).Config())
        config = replace(config, text=replace(config.text, hidden=hidden))
        recipe = build(name, vocabulary, config=config)
        shape = (512, FRAMES, SIZE, SIZE, 3)
        video = torch.randint(0, 256, shape, dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
        captions = (store.splits["train"].captions * 32)[:512]
        batch = Batch.of(video, vocabulary.encode(captions))
        draw = recipe.draw(batch, BatchRng.seeded(1), objective=objective)
        whole, wanted, once = gradients(recipe, batch, draw, 1, objective)
        loss, found, twice = gradients(recipe, batch, draw, 8, objective)
        assert loss == pytest.approx(whole, rel=1e-5)
        assert found.keys() == wanted.keys()
        assert "temperature.log_scale" in found
        largest = max(float(grad.abs().max()) for grad in wanted.values())
        for parameter, grad in wanted.items():
            assert torch.allclose(found[parameter], grad, rtol=1e-5, atol=1e-5 * largest), parameter
        assert twice.passes("video") == 2 * once.passes("video")
        assert twice.flops > once.flops + 0.99 * once.encoders["video"].flops, "the extra pass is paid for"

    def test_a_run_trains_so(self, store):
        def first(parts):
            config = run_config("mac", steps=2, optim=OptimConfig(batch_size=8, accumulate=parts))
            rows = train(open_session(config, store, device=CPU, precision=torch.float32))
            _, row = next(found for found in rows if "train/loss" in found[1])
            return [row["train/loss"], row["train/grad_norm"]]

        assert first(4) == pytest.approx(first(1), rel=1e-5)

    @pytest.mark.parametrize(("recipe", "objective", "processes", "said"), [
        ("simvtp", "recipe", 1, "for simvtp that is 'align', not 'recipe'"),
        (ToyConfig(), "recipe", 1, "for toys that is none, not 'recipe'"),
        ("mac", "recipe", 4, "a batch of 24 does not divide into optim.accumulate=4 parts of 4 processes"),
    ])  # fmt: skip
    def test_what_compares_more_than_embeddings_is_refused(self, recipe, objective, processes, said):
        stages = (Stage(objective=objective, budget=Budget(unit="steps", amount=1)),)
        tasks = ("pair_retrieval",) if isinstance(recipe, ToyConfig) else ("retrieval",)
        optim = OptimConfig(batch_size=24, accumulate=4)
        with pytest.raises(UserError, match=said) as caught:
            check(run_config(recipe, stages=stages, tasks=tasks, optim=optim), processes)
        assert "\n" not in str(caught.value)

    def test_a_batch_divides_into_its_parts(self):
        with pytest.raises(UserError, match=r"optim.accumulate must divide optim.batch_size=8, not be 3"):
            OptimConfig(batch_size=8, accumulate=3)


@pytest.mark.parametrize("name", ["mac", "coca", "smaug", "omnivl"])
def test_blocks_that_are_computed_again_change_the_cost_and_nothing_else(name, store):
    def trained(again):
        config = run_config(name, steps=2, evaluations=1, optim=OptimConfig(batch_size=8, recompute=again))
        rows = [row for _, row in train(open_session(config, store, device=CPU)) if "train/loss" in row]
        own = ({k: v for k, v in row.items() if k.startswith("train/")} for row in rows)
        return list(own), rows[-1]["pflops"]

    (plain, cost), (again, more) = trained(False), trained(True)
    assert again == plain
    assert 1.02 * cost < more < 1.34 * cost


PAGES = """
import resource
import torch
from workbench.train.step.memory import Kept

def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(20):
        torch.ones(12 << 20)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

print(faults())
one, other = Kept(torch.device("cpu")), Kept(torch.device("cpu"))
for _ in range(5):
    faults()
print(faults())
one.release()
one.release()
print(faults())
other.release()
print(faults())
"""
"""Says how many pages the system hands out for large tensors, made and freed one after another. Some of the
first twenty miss the place that is free, where something small has come to lie in it."""


@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "mallopt"), reason="the C library is not glibc")
def test_memory_of_a_step_is_used_again_by_the_next_until_it_is_released():
    # In a process of its own, since the heap of an older one is in no known order.
    ran = subprocess.run([sys.executable, "-c", PAGES], check=True, capture_output=True, text=True, cwd=ROOT)
    usual, kept, kept_by_the_other, released = map(int, ran.stdout.split())
    assert usual > 200
    assert kept < usual / 2
    assert kept_by_the_other < usual / 2
    assert released > usual / 2
