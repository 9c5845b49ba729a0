"""A part of a recipe starts from the weights of another run of this workbench."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch

from workbench.config import InitFrom
from workbench.errors import UserError
from workbench.models.text import Vocabulary
from workbench.recipe.base import BaseRecipe
from workbench.tracking.run_dir import RunDir
from workbench.train import checkpoint


@torch.no_grad()
def start_from(
    recipe: BaseRecipe, wanted: Sequence[InitFrom], words: Vocabulary, runs: Path | None
) -> list[dict[str, str]]:
    """Copies the weights that are asked for into the recipe; returns what is to be recorded of each.

    Raises `UserError` where the other run or its weights are not there, are not those that are asked for, fit
    in no name or in another shape, or belong to other words.
    """
    return [_start_part(recipe, one, words, runs) for one in wanted]


def _start_part(recipe: BaseRecipe, one: InitFrom, words: Vocabulary, runs: Path | None) -> dict[str, str]:
    run = find_run(one.run, runs)
    path = run.file("checkpoints") / checkpoint.MODEL
    if not path.is_file():
        raise UserError(f"init_from: {one.run} has no weights ({path} is not there); run it to its end first")
    sha256 = checkpoint.sha256(path)
    if one.sha256 and sha256 != one.sha256:
        raise UserError(f"init_from: the weights of {one.run} are not those that are asked for: {sha256}")
    there = checkpoint.load_tensors(path)
    start, source = one.part, one.source or one.part
    own = {n: p for n, p in recipe.state_dict(keep_vars=True).items() if _below(n, start)}
    if not own:
        raise UserError(f"init_from: the recipe has no part {start!r}; it has {', '.join(_parts(recipe))}")
    for name, tensor in own.items():
        other = there.get(source + name.removeprefix(start))
        if other is None or other.shape != tensor.shape:
            shape = "is not there" if other is None else f"has shape {list(other.shape)}"
            raise UserError(
                f"init_from: {name} of shape {list(tensor.shape)} cannot start from {one.run}, "
                f"where it {shape}"
            )
    if any(words.size in tensor.shape for tensor in own.values()) and not _same_words(run, words):
        raise UserError(f"init_from: {one.run} knows other words, so its weights mean nothing here")
    for name, tensor in own.items():
        tensor.copy_(there[source + name.removeprefix(start)])
    return {"part": start, "run": one.run, "sha256": sha256}


def find_run(name: str, runs: Path | None) -> RunDir:
    """The run that `InitFrom.run` names; runs: folder of the studies' run directories. Raises `UserError`."""
    beside = runs / name if runs is not None else Path(name)
    path = beside if beside.is_dir() else Path(name)
    if not path.is_dir():
        raise UserError(f"init_from: there is no run {name!r}; give STUDY/KEY-sSEED or a run directory")
    return RunDir(path)


def _below(name: str, start: str) -> bool:
    return not start or name == start or name.startswith(f"{start}.")


def _parts(recipe: BaseRecipe) -> list[str]:
    return [name for name, _ in recipe.named_children()]


def _same_words(run: RunDir, words: Vocabulary) -> bool:
    path = run.file("tokenizer.json")
    return (
        path.is_file() and Vocabulary.load(path, words.length).tokenizer.to_str() == words.tokenizer.to_str()
    )
