"""Bad values: refused in one sentence that names the field, or stopped with step and term."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from small import recipe_module, recipe_names, run_config, shrink, write_store
from transformers import BertConfig, BertModel
from videos import moving

from workbench.config import Budget, DataConfig, OptimConfig, RunConfig, Stage
from workbench.data import describe, prepare
from workbench.data.decode import encode
from workbench.data.store import FrameStore
from workbench.errors import UserError
from workbench.models.text import TextConfig, TextEncoder, vocabulary
from workbench.recipe.batch import Batch, BatchRng
from workbench.tasks.gallery import rank_metrics, ranks, similarities
from workbench.tracking.run_dir import RunDir
from workbench.train.loop import train
from workbench.train.run import main
from workbench.train.session import open_session

pytestmark = pytest.mark.fault

Leaf = tuple[tuple[str | int, ...], Any]


def leaves(value: Any, at: tuple[str | int, ...] = ()) -> Iterator[Leaf]:
    """Every number, text and truth value of a configuration's JSON, with the way to it."""
    if isinstance(value, dict):
        for name, inner in value.items():
            yield from leaves(inner, (*at, name))
    elif isinstance(value, list):
        for number, inner in enumerate(value):
            yield from leaves(inner, (*at, number))
    elif value is not None and at[-1] != "type":
        yield at, value


def changed(config: RunConfig, at: tuple[str | int, ...], value: Any) -> str:
    """The configuration as JSON with one value replaced."""
    fields = json.loads(config.to_json())
    inner = fields
    for step in at[:-1]:
        inner = inner[step]
    inner[at[-1]] = value
    return json.dumps(fields)


def refusal(text: str) -> str:
    with pytest.raises(UserError) as caught:
        RunConfig.from_json(text)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def field(at: tuple[str | int, ...]) -> str:
    return str([step for step in at if isinstance(step, str)][-1])


@pytest.mark.parametrize("recipe", recipe_names())
class TestEveryFieldOfEveryRecipe:
    """Found by themselves, so that a new recipe's fields are held to the same."""

    def test_another_type_is_refused_by_its_name(self, recipe: str) -> None:
        config = run_config(recipe)
        found = list(leaves(json.loads(config.to_json())))
        assert len(found) > 30
        for at, value in found:
            wrong: list[Any] = [[1], {"type": "config.DataConfig"}]
            wrong += [7] if isinstance(value, str) else ["7", None]
            for other in wrong:
                assert field(at) in refusal(changed(config, at, other)), (at, other)

    def test_numbers_that_are_none_are_refused(self, recipe: str) -> None:
        config = run_config(recipe)
        numbers = [
            at
            for at, value in leaves(json.loads(config.to_json()))
            if isinstance(value, int | float) and not isinstance(value, bool)
        ]
        for at in numbers:
            for other in (float("nan"), float("inf"), -1, -0.5, True):
                message = refusal(changed(config, at, other))
                # A budget and the shares of masking are named by what they are.
                assert any(word in message for word in (field(at), "budget", "mask ratio")), message

    def test_an_unknown_or_missing_field_is_refused(self, recipe: str) -> None:
        fields = json.loads(run_config(recipe).to_json())
        assert "colour" in refusal(json.dumps(fields | {"colour": 1}))
        del fields["stages"]
        assert "stages" in refusal(json.dumps(fields))


@pytest.mark.parametrize(
    ("at", "value", "message"),
    [
        (("recipe", "text", "max_tokens"), 0, "text.max_tokens must be a whole number of at least 1, not 0"),
        (("recipe", "text", "heads"), 3, "text.heads must divide text.width=32, not be 3"),
        (("recipe", "video", "heads"), 5, "video.heads must divide video.width=32, not be 5"),
        (("recipe", "video", "pool"), "max", "recipe.video.pool must be 'cls' or 'mean' or 'own', not 'max'"),
        (("recipe", "temperature"), 0.0, "recipe.temperature must be a number of at least 0.01, not 0.0"),
        (("recipe", "temperature"), "hot", "recipe.temperature must be a number, not 'hot'"),
        (("recipe", "weights", "vtc"), 0.0, "all of recipe.weights are 0"),
        (("recipe", "video"), None, "recipe.video must be a VideoConfig, not None"),
        (("optim", "lr"), 0, "optim.lr must be a positive number, not 0"),
        (("optim", "lr"), "1e-3", "optim.lr must be a number, not '1e-3'"),
        (("optim", "betas"), [0.9, 1.0], "optim.betas must be a number in [0, 1), not 1.0"),
        (("optim", "betas"), [0.9], "optim.betas must be a list of 2 numbers"),
        (("optim", "batch_size"), 0, "optim.batch_size must be a whole number of at least 2, not 0"),
        (("optim", "batch_size"), 8.0, "optim.batch_size must be a whole number, not 8.0"),
        (("data", "digest"), "/../../x", "data.digest must consist of letters and digits"),
        (("data", "frames"), 0, "data.frames must be a whole number of at least 1, not 0"),
        (("stages",), [], "a run must have at least one stage"),
        (("stages", 0, "masked"), "yes", "stages.masked must be true or false, not 'yes'"),
        (("stages", 0, "budget", "unit"), "days", "stages.budget.unit must be 'steps' or 'epochs'"),
        (("seed",), 2**63, "seed must be below 2**63"),
        (("recipe", "type"), "os.path", "a configuration cannot name os.path"),
        (("recipe", "type"), "models.text.TextEncoder", "models.text.TextEncoder is not a configuration"),
        (("recipe", "type"), "recipes.none.Config", "there is no workbench.recipes.none"),
    ],
)
def test_what_is_allowed_is_said(at: tuple[str | int, ...], value: Any, message: str) -> None:
    assert refusal(changed(run_config("mac"), at, value)).startswith(message)


@pytest.mark.parametrize(
    "text",
    ["", "null", "3", "[]", "{}", '{"type": 5}', '{"type": "config.Budget", "amount": 1}', "[" * 100_000,
     '{"type": "config.\\u0000"}', '{"type": "config.RunConfig", "seed": ' + "9" * 5000 + "}"],
)  # fmt: skip
def test_json_that_is_no_configuration(text: str) -> None:
    assert refusal(text)


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["type", "ratio", "x"]), inner)
    ),
    max_leaves=4,
)


def nodes(value: Any, at: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    """The way to every value of a JSON document but its root."""
    for step, inner in value.items() if isinstance(value, dict) else enumerate(value):
        yield (*at, step)
        if isinstance(inner, dict | list):
            yield from nodes(inner, (*at, step))


@given(data=st.data())
@settings(max_examples=200, deadline=None)
def test_whatever_stands_in_a_configuration_it_is_read_or_refused(data: st.DataObject) -> None:
    config = run_config("simvtp")
    at = data.draw(st.sampled_from(list(nodes(json.loads(config.to_json())))))
    text = changed(config, at, data.draw(ANYTHING))
    with suppress(UserError):
        found = RunConfig.from_json(text)
        assert RunConfig.from_json(found.to_json()) == found
        assert len(found.key()) == 12


def test_a_part_is_no_recipe() -> None:
    part = {"type": "models.text.TextConfig"}
    assert "recipe must be the Config of a recipe" in refusal(changed(run_config(), ("recipe",), part))


@pytest.mark.parametrize(
    ("at", "value", "word"),
    [
        (("recipe", "temperature"), float("nan"), "temperature"),
        (("optim", "batch_size"), -4, "batch_size"),
        (("recipe", "text", "width"), "wide", "recipe.text.width"),
    ],
)
def test_the_command_line_refuses_with_one_sentence(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], at: tuple[str, ...], value: Any, word: str
) -> None:
    (tmp_path / "config.json").write_text(changed(run_config(), at, value))
    assert main([str(tmp_path), "--device", "cpu"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: ")
    assert word in line
    assert [path.name for path in tmp_path.iterdir()] == ["config.json"]


# Captions


HOSTILE = [
    "",
    " ",
    "\0",
    "🟥🌙",
    "a\0red\0moon",
    "word " * 2000,
    "x" * 10_000,
    "\u202ered",
    "a" * 500 + " moon",
]


@pytest.mark.parametrize("recipe", recipe_names())
@pytest.mark.parametrize("hidden", ["drop", "replace"])
def test_no_caption_breaks_a_recipe(recipe: str, hidden: str, store: FrameStore) -> None:
    """Empty, endless, emoji, NUL: each is embedded as something finite, and can be trained on."""
    config = shrink(recipe_module(recipe).Config())
    if recipe == "mac":
        config = replace(config, text=replace(config.text, hidden=hidden))
    words = vocabulary([*store.splits["train"].captions, *HOSTILE], config.text)
    torch.manual_seed(0)
    model = recipe_module(recipe).Recipe(config, frames=4, size=16, vocabulary=words)
    text = words.encode(HOSTILE)
    assert text.tokens.shape == (len(HOSTILE), config.text.max_tokens)
    if hasattr(model, "embed_text"):
        assert torch.isfinite(model.embed_text(text)).all()
    batch = Batch.of(torch.from_numpy(store.frames[: len(HOSTILE)].copy()), text)
    terms = model(batch, model.draw(batch, BatchRng.seeded(0)))
    loss = torch.stack(list(terms.values())).sum()
    loss.backward()
    assert torch.isfinite(loss)
    assert all(torch.isfinite(p.grad).all() for p in model.parameters() if p.grad is not None)


def test_a_vocabulary_of_nothing_but_emptiness_still_encodes() -> None:
    words = vocabulary(["", "", " "], TextConfig())
    assert not words.encode(["", "unknown"]).layout.valid[0].any()


def test_captions_longer_than_a_pretrained_model_reads(tmp_path: Path) -> None:
    words = vocabulary(["a red moon rises"], TextConfig())
    words.tokenizer.save(str(tmp_path / "tokenizer.json"))
    shape = BertConfig(vocab_size=words.size, hidden_size=16, num_hidden_layers=1, num_attention_heads=2,
                       intermediate_size=32, max_position_embeddings=9)  # fmt: skip
    BertModel(shape, add_pooling_layer=False).save_pretrained(tmp_path)
    for most in (8, 9):
        config = TextConfig(pretrained=str(tmp_path), max_tokens=most)
        long = vocabulary(["moon " * 40], config)
        if most == 8:
            encoded = TextEncoder(config, long)(long.encode(["moon " * 40]))
            assert encoded.tokens.shape == (1, 8, 16)
        else:
            with pytest.raises(UserError, match=r"up to 8 tokens: set text\.max_tokens"):
                TextEncoder(config, long)


# Numbers of clips, and clips that are alike


def session_over(path: Path, change: Callable[[dict[str, Any]], None], **changes: Any) -> Any:
    """A session over the random store with its record changed."""
    write_store(path)
    record = json.loads((path / "store.json").read_text())
    change(record)
    (path / "store.json").write_text(json.dumps(record))
    return open_session(run_config(**changes), FrameStore.open(path), device=torch.device("cpu"))


def test_a_gallery_of_one(tmp_path: Path) -> None:
    def one_test_clip(record: dict[str, Any]) -> None:
        tests = [clip for clip in record["clips"] if clip["split"] == "test"]
        for clip in tests[1:]:
            clip["split"] = "train"
        tests[0]["captions"] = tests[0]["captions"][:1]

    session = session_over(tmp_path / "store", one_test_clip)
    found = session.evaluate("test")
    assert {found[f"test/{way}_{k}"] for way in ("t2v", "v2t") for k in ("r1", "r5", "r10")} == {100.0}
    assert found["test/t2v_medr"] == found["test/v2t_meanr"] == 1.0


def test_equal_clips_and_captions_count_against_the_model(tmp_path: Path) -> None:
    """All test clips the same and all captions the same: everything ties, so every rank is the last."""

    def same(record: dict[str, Any]) -> None:
        for clip in record["clips"]:
            if clip["split"] == "test":
                clip["captions"] = ["a red moon"]

    session = session_over(tmp_path / "store", same)
    part = session.galleries[""]["test"]
    frames = np.array(session.store.frames)
    frames[part.clips] = frames[part.clips[0]]
    session.store.frames = frames
    found = session.evaluate("test")
    assert found["test/t2v_r1"] == found["test/v2t_r1"] == 0.0
    assert found["test/t2v_meanr"] == found["test/v2t_meanr"] == len(part.clips)


def test_one_pair_of_twins_costs_only_the_twins() -> None:
    video = torch.eye(4)[[0, 0, 1, 2]]
    found = ranks(similarities(video, video.clone()), np.arange(4))
    assert found.t2v.tolist() == found.v2t.tolist() == [2, 2, 1, 1]
    assert rank_metrics(found)["t2v_r1"] == 50.0


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_similarities_that_are_not_finite_are_no_ranks(bad: float) -> None:
    video = torch.eye(3)
    video[1, 1] = bad
    with pytest.raises(FloatingPointError, match="diverged"):
        ranks(similarities(video, torch.eye(3)), np.arange(3))


def test_a_batch_larger_than_the_data_is_made_as_large_as_the_data(tmp_path: Path) -> None:
    session = session_over(tmp_path / "store", lambda record: None, optim=OptimConfig(batch_size=25))
    loader = session.loader(session.config.stages[0])
    assert loader.batch_size == 24
    assert loader.batch(0).video.shape[0] == 24


# Losses that are not finite


def own_data(folder: Path) -> DataConfig:
    """Six real clips, decoded."""
    (folder / "own").mkdir()
    rows = [("video", "caption", "split")]
    for number, split in enumerate(("train", "train", "train", "train", "val", "test")):
        encode(folder / "own" / f"{number}.mp4", np.roll(moving(8), 9 * number, 2), rate=8, crf=20)
        rows.append((f"{number}.mp4", f"clip number {number}", split))
    with open(folder / "own" / "captions.csv", "w", newline="", encoding="utf-8") as stream:
        csv.writer(stream).writerows(rows)
    source = str(folder / "own")
    data = describe(DataConfig(name="folder", frames=4, size=16), source).data
    prepare(data, source=source, root=folder / "data", progress=False)
    return data


def test_a_run_that_diverges_stops_with_step_and_term(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A learning rate far too high, through the command line: no later step, no summary, no checkpoint."""
    monkeypatch.setattr("workbench.train.run.signal.signal", lambda number, handler: None)
    run = RunDir(tmp_path / "run")
    run.create()
    stages = (Stage(budget=Budget(unit="steps", amount=50)),)
    run.write_config(
        run_config(
            data=own_data(tmp_path), stages=stages, optim=OptimConfig(batch_size=4, lr=1e38, warmup=0.0)
        )
    )
    assert main([str(run.path), "--data-root", str(tmp_path / "data"), "--device", "cpu"]) == 1
    status = run.status()
    assert status is not None
    assert (status.state, status.failure) == ("failed", "not_finite")
    step = int(status.reason.rpartition(" ")[2])
    assert 1 < step < 50
    assert "loss vtc is not finite" in status.reason or "gradient is not finite" in status.reason
    assert all(row["step"] < step for row in run.read_metrics().rows)
    assert not run.file("summary.json").exists()
    assert not list(run.path.rglob("*.safetensors"))
    capsys.readouterr()


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_the_term_that_is_not_finite_is_named(store: FrameStore, bad: float) -> None:
    """Weights gone bad in one part only: the term that reads them is named, not the sum."""
    session = open_session(run_config("simvtp"), store, device=torch.device("cpu"))
    with torch.no_grad():
        session.recipe.get_parameter("word_head.bias").fill_(bad)
    with pytest.raises(ArithmeticError, match=r"the loss mlm is not finite at step 1$"):
        next(train(session))
