"""The gradients of a batch: of the whole at once, or of a contrast whose embeddings are made part by part."""

from __future__ import annotations

import torch
from torch import Tensor

from workbench.config import OptimConfig, Stage
from workbench.errors import UserError
from workbench.recipe.base import BaseRecipe
from workbench.recipe.batch import Batch, Draw
from workbench.recipe.dual import DualEncoder, rows_of
from workbench.train import environment


def check_parts(recipe: type[BaseRecipe], optim: OptimConfig, objective: str, processes: int = 1) -> None:
    """Refuses to embed a batch in parts where more than embeddings is compared, or where parts are uneven."""
    if optim.accumulate == 1:
        return
    name = recipe.__module__.rpartition(".")[2]
    if objective not in recipe.CONTRASTS:
        has = " and ".join(map(repr, recipe.CONTRASTS)) or "none"
        raise UserError(
            "optim.accumulate above 1 needs an objective that contrasts embeddings and nothing else: for "
            f"{name} that is {has}, not {objective!r}"
        )
    check_even(optim.batch_size, optim.accumulate, processes)


def check_even(batch: int, parts: int, processes: int) -> None:
    """Refuses a batch that does not divide into the parts of all processes."""
    if batch % (parts * processes):
        raise UserError(
            f"a batch of {batch} does not divide into optim.accumulate={parts} parts of {processes} "
            f"process{'es' if processes > 1 else ''} each"
        )


class Gradients:
    """Runs a recipe forward and back, and leaves the gradients at its parameters."""

    def __init__(self, recipe: BaseRecipe, stage: Stage, *, parts: int, precision: torch.dtype) -> None:
        self.recipe, self.stage, self.parts, self.precision = recipe, stage, parts, precision

    def __call__(self, batch: Batch, draw: Draw) -> dict[str, Tensor]:
        """The unweighted terms and, as `loss`, their weighted sum."""
        return self._at_once(batch, draw) if self.parts == 1 else self._in_parts(batch, draw)

    def _at_once(self, batch: Batch, draw: Draw) -> dict[str, Tensor]:
        with environment.autocast(batch.video.device, self.precision):
            terms = self.recipe(batch, draw, objective=self.stage.objective)
            found = self._weighted(terms)
        found["loss"].backward()
        return found

    def _in_parts(self, batch: Batch, draw: Draw) -> dict[str, Tensor]:
        """GradCache (arXiv:2101.06983): all embeddings without their graphs, the gradient of the loss with
        respect to them, then each part once more, to which its share of that gradient is handed down."""
        recipe, device = self.recipe, batch.video.device
        assert isinstance(recipe, DualEncoder), "see `check_parts`"
        size = len(batch.video) // self.parts
        parts = [slice(start, start + size) for start in range(0, len(batch.video), size)]
        given = [rows_of(batch, draw, rows) for rows in parts]
        with torch.no_grad(), environment.autocast(device, self.precision):
            every = zip(*(recipe.embedded(*one) for one in given), strict=True)
            video, text = (torch.cat(side).requires_grad_() for side in every)  # [B, E] each
        with environment.autocast(device, self.precision):
            found = self._weighted(recipe.contrast_of(video, text))
        found["loss"].backward()
        for rows, one in zip(parts, given, strict=True):
            with environment.autocast(device, self.precision):
                sides = recipe.embedded(*one)
            grads = [side.grad[rows] for side in (video, text) if side.grad is not None]
            torch.autograd.backward(sides, grads)
        return found

    def _weighted(self, terms: dict[str, Tensor]) -> dict[str, Tensor]:
        weights = self.recipe.weights(self.stage.objective)
        loss = sum((weights[name] * term for name, term in terms.items()), torch.zeros(()))
        return {**terms, "loss": loss}
