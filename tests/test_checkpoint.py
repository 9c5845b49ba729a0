"""Checkpoints: atomic, refused where they belong to something else, and never unpickled."""

import json
import pickle
from dataclasses import replace

import pytest
import torch
from small import run_config

from workbench.config import OptimConfig
from workbench.errors import UserError
from workbench.train import checkpoint
from workbench.train.checkpoint import Progress


class Touch:
    """Unpickled, it leaves a file behind."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (open, (str(self.path), "w"))


def part(seed=0, steps=2):
    """A model that has taken a few steps, with its optimiser."""
    torch.manual_seed(seed)
    model = torch.nn.Sequential(torch.nn.Linear(4, 4), torch.nn.BatchNorm1d(4), torch.nn.Linear(4, 2))
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.1, fused=True)
    for _ in range(steps):
        optimizer.zero_grad()
        model(torch.randn(8, 4)).square().sum().backward()
        optimizer.step()
    return model, optimizer


def step(model, optimizer):
    torch.manual_seed(9)
    optimizer.zero_grad()
    model(torch.randn(8, 4)).square().sum().backward()
    optimizer.step()


def same(a, b):
    return all(
        torch.equal(x, y) for x, y in zip(a.state_dict().values(), b.state_dict().values(), strict=True)
    )


CONFIG = run_config()


@pytest.fixture
def saved(tmp_path):
    """A folder with a checkpoint of step 2."""
    model, optimizer = part()
    checkpoint.save(tmp_path, model, optimizer, Progress(step=2, seconds=1.5, evaluated=1), CONFIG)
    return tmp_path


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_what_is_saved_comes_back_and_the_next_step_is_the_same(saved):
    model, optimizer = part()
    other, other_optimizer = part(seed=1, steps=0)
    progress = checkpoint.resume(saved, other, other_optimizer, CONFIG)
    assert progress == Progress(step=2, seconds=1.5, evaluated=1)
    assert same(model, other)
    step(model, optimizer)
    step(other, other_optimizer)
    assert same(model, other)


def test_without_a_checkpoint_there_is_nothing_to_resume(tmp_path):
    assert checkpoint.resume(tmp_path, *part(), CONFIG) is None
    assert checkpoint.resume(tmp_path / "never", *part(), CONFIG) is None


def test_the_last_checkpoint_counts_and_the_one_before_is_kept(saved):
    for at in (3, 4):
        checkpoint.save(saved, *part(steps=at), Progress(step=at), CONFIG)
    assert names(saved) == ["last-3.safetensors", "last-4.safetensors", "last.json", "previous.json"]
    assert checkpoint.resume(saved, *part(steps=0), CONFIG).step == 4


def test_the_same_step_saved_twice_keeps_the_one_before(saved):
    for at in (3, 3):
        checkpoint.save(saved, *part(steps=at), Progress(step=at), CONFIG)
    assert names(saved) == ["last-2.safetensors", "last-3.safetensors", "last.json", "previous.json"]


def flip(path):
    """One bit in the middle, which leaves a file that can be read."""
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


DAMAGES = {
    "half a file": lambda path: path.write_bytes(path.read_bytes()[: path.stat().st_size // 2]),
    "nothing": lambda path: path.write_bytes(b""),
    "gone": lambda path: path.unlink(),
    "one bit": flip,
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_checkpoint_falls_back_to_the_one_before_and_says_so(saved, damage, capsys):
    checkpoint.save(saved, *part(steps=3), Progress(step=3), CONFIG)
    DAMAGES[damage](saved / "last-3.safetensors")
    model, optimizer = part(seed=1, steps=0)
    assert checkpoint.resume(saved, model, optimizer, CONFIG).step == 2
    assert same(model, part()[0])
    said = capsys.readouterr().err
    assert said.startswith(f"warning: the weights {saved / 'last-3.safetensors'} cannot be read")
    assert said.endswith("; going on from step 2, the one before\n")
    checkpoint.save(saved, *part(steps=3), Progress(step=3), CONFIG)
    assert names(saved) == ["last-2.safetensors", "last-3.safetensors", "last.json", "previous.json"]
    assert checkpoint.resume(saved, *part(steps=0), CONFIG).step == 3


def test_a_damaged_record_falls_back_to_the_one_before(saved, capsys):
    checkpoint.save(saved, *part(steps=3), Progress(step=3), CONFIG)
    (saved / "last.json").write_text("{")
    assert checkpoint.resume(saved, *part(steps=0), CONFIG).step == 2
    assert "last.json is damaged" in capsys.readouterr().err


def test_where_both_are_damaged_the_run_is_refused(saved):
    checkpoint.save(saved, *part(steps=3), Progress(step=3), CONFIG)
    for path in saved.glob("last-*"):
        DAMAGES["half a file"](path)
    with pytest.raises(UserError, match="cannot be read"):
        checkpoint.resume(saved, *part(), CONFIG)


def test_one_bit_alone_is_noticed(saved):
    flip(saved / "last-2.safetensors")
    with pytest.raises(UserError, match="not what was saved"):
        checkpoint.resume(saved, *part(), CONFIG)


@pytest.mark.parametrize("name", ["save_file", "write_atomic"])
def test_a_save_that_fails_leaves_the_one_before_in_force(saved, monkeypatch, name):
    def full(*arguments):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(checkpoint, name, full)
    with pytest.raises(OSError, match="No space left"):
        checkpoint.save(saved, *part(seed=3), Progress(step=3), CONFIG)
    monkeypatch.undo()
    model, optimizer = part(seed=1, steps=0)
    assert checkpoint.resume(saved, model, optimizer, CONFIG).step == 2
    assert same(model, part()[0])
    checkpoint.finish(saved, model)
    checkpoint.drop(saved)
    assert names(saved) == ["model.safetensors"], "leftovers go when the run is finished"


def test_another_configuration_is_refused_and_the_difference_named(saved):
    other = replace(CONFIG, optim=OptimConfig(batch_size=8, lr=0.5))
    model, optimizer = part(seed=1, steps=0)
    before = {k: v.clone() for k, v in model.state_dict().items()}
    with pytest.raises(UserError, match=r"optim\.lr: 0\.001 -> 0\.5") as caught:
        checkpoint.resume(saved, model, optimizer, other)
    assert "batch_size" not in str(caught.value)
    assert all(torch.equal(v, before[k]) for k, v in model.state_dict().items()), "nothing was loaded"


def test_another_seed_is_another_run(saved):
    with pytest.raises(UserError, match="seed: 0 -> 1"):
        checkpoint.resume(saved, *part(), replace(CONFIG, seed=1))


@pytest.mark.parametrize("share", [0.0, 0.01, 0.5, 0.99])
def test_truncated_weights_are_refused(saved, share):
    path = saved / "last-2.safetensors"
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    with pytest.raises(UserError, match="cannot be read"):
        checkpoint.resume(saved, *part(), CONFIG)


def test_missing_weights_are_refused(saved):
    (saved / "last-2.safetensors").unlink()
    with pytest.raises(UserError, match=r"last-2\.safetensors"):
        checkpoint.resume(saved, *part(), CONFIG)


def test_a_pickle_under_another_name_is_refused_and_not_run(saved, tmp_path):
    (saved / "last-2.safetensors").write_bytes(pickle.dumps(Touch(tmp_path / "touched")))
    with pytest.raises(UserError, match="cannot be read"):
        checkpoint.resume(saved, *part(), CONFIG)
    torch.save({"weight": Touch(tmp_path / "touched")}, saved / "last-2.safetensors")
    with pytest.raises(UserError, match="cannot be read"):
        checkpoint.resume(saved, *part(), CONFIG)
    assert not (tmp_path / "touched").exists()


def test_weights_of_another_model_are_refused(saved):
    model = torch.nn.Linear(3, 3)
    with pytest.raises(UserError, match="another model"):
        checkpoint.resume(saved, model, torch.optim.AdamW(model.parameters()), CONFIG)


def change(saved, **fields):
    record = json.loads((saved / "last.json").read_text())
    (saved / "last.json").write_text(json.dumps(record | fields))


@pytest.mark.parametrize(
    "damage",
    [
        lambda folder: (folder / "last.json").write_text("{"),
        lambda folder: (folder / "last.json").write_bytes(b"\xff\xfe"),
        lambda folder: (folder / "last.json").write_text("[]"),
        lambda folder: (folder / "last.json").write_text("{}"),
        lambda folder: change(folder, progress={"steps": 3}),
        lambda folder: change(folder, config={"type": "config.RunConfig", "unknown": 1}),
    ],
    ids=["torn", "not text", "a list", "empty", "other progress", "other version"],
)
def test_a_damaged_record_is_refused_in_one_sentence(saved, damage):
    damage(saved)
    with pytest.raises(UserError) as caught:
        checkpoint.resume(saved, *part(), CONFIG)
    assert "\n" not in str(caught.value)


def test_a_record_cannot_point_outside_its_folder(saved):
    outside = saved.parent / f"{saved.name}-outside.safetensors"
    (saved / "last-2.safetensors").rename(outside)
    change(saved, tensors=f"../{outside.name}")
    with pytest.raises(UserError):
        checkpoint.resume(saved, *part(), CONFIG)


def test_a_finished_run_keeps_its_weights_only(saved):
    model, _ = part(seed=4)
    checkpoint.finish(saved, model)
    assert checkpoint.resume(saved, *part(), CONFIG).step == 2, "until the record says that it is complete"
    checkpoint.drop(saved)
    assert names(saved) == ["model.safetensors"]
    other, _ = part(seed=5)
    checkpoint.load_model(saved, other)
    assert same(model, other)
    assert checkpoint.resume(saved, *part(), CONFIG) is None
