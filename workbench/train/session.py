"""What one run holds in memory: model, optimiser, batches, galleries."""

from __future__ import annotations

import importlib
import time
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import torch

from workbench.config import RunConfig
from workbench.data.loader import Loader
from workbench.data.store import FrameStore
from workbench.models.attention import attention, explicit_attention
from workbench.models.text import Vocabulary, vocabulary
from workbench.recipe.base import BaseRecipe
from workbench.recipe.batch import Text
from workbench.tasks.gallery import Gallery, embed, gallery, metrics, ranks
from workbench.train import environment
from workbench.train.checkpoint import Progress


class Interrupted(Exception):
    """The run was asked to stop; its checkpoint is complete."""


@dataclass
class Session:
    """Everything one run holds in memory."""

    config: RunConfig
    device: torch.device
    precision: torch.dtype
    vocabulary: Vocabulary
    recipe: BaseRecipe
    optimizer: torch.optim.Optimizer
    loader: Loader
    galleries: dict[str, Gallery]
    store: FrameStore
    progress: Progress = field(default_factory=Progress)
    place: dict[str, str] = field(default_factory=dict)
    """Where it trains and on what code, kept with each checkpoint."""
    moves: int = 0
    """Counts steps and evaluated batches: while it stands still there is no progress."""

    @property
    def costs(self) -> dict[str, float]:
        """`cost/*` per clip, the mean over all steps so far, whatever their stage."""
        return {name: total / self.progress.step for name, total in self.progress.costs.items()}

    def evaluate(self, split: str, stop: Callable[[], bool] = lambda: False) -> dict[str, float]:
        """Retrieval on a whole split, unmasked: `split/t2v_r1` and so on. Raises `Interrupted`."""
        video, text = self.embed(split, stop)
        found = ranks(video, text, self.galleries[split].owner)
        return {f"{split}/{name}": value for name, value in metrics(found).items()}

    def embed(
        self, split: str, stop: Callable[[], bool] = lambda: False
    ) -> tuple[torch.Tensor, torch.Tensor]:
        def between() -> None:
            self.moves += 1
            self.give_way(stop)

        start = time.perf_counter()
        self.recipe.eval()
        fused = attention(self.recipe, explicit=False)
        with fused, environment.autocast(self.device, self.precision):
            out = embed(self.recipe, self.store, self.galleries[split], device=self.device, between=between)
        self.recipe.train()
        self.progress.eval_seconds += time.perf_counter() - start
        return out

    def give_way(self, stop: Callable[[], bool]) -> None:
        """Raises `Interrupted` when `stop` says so."""
        if stop():
            raise Interrupted(f"stopped at step {self.progress.step}")


def open_session(
    config: RunConfig, store: FrameStore, *, device: torch.device, precision: torch.dtype | None = None
) -> Session:
    """Builds tokenizer, model, optimiser and loader; the seed fixes the initial weights.

    A batch larger than the training split is made as large as the split.
    """
    splits = store.splits
    held_out = [caption for name in ("val", "test") for caption in splits[name].captions]
    words = vocabulary(splits["train"].captions, config.recipe.text, held_out)
    torch.manual_seed(config.seed)
    recipe = recipe_class(config)(
        config.recipe, frames=config.data.frames, size=config.data.size, vocabulary=words
    ).to(device)
    explicit_attention(recipe, explicit=device.type == "cpu")
    # Videos that cannot be decoded may leave fewer clips than the plan counted.
    batch = min(config.optim.batch_size, len(set(splits["train"].groups)))
    texts: dict[str, Text] = {name: words.encode(part.captions) for name, part in splits.items()}
    return Session(
        config=config,
        device=device,
        precision=precision or environment.pick_precision(device),
        vocabulary=words,
        recipe=recipe,
        optimizer=_optimizer(config, recipe),
        loader=Loader(store, texts["train"], batch_size=batch, seed=config.seed),
        galleries={name: gallery(store, name, texts[name]) for name in ("val", "test")},
        store=store,
    )


def try_to_build(config: RunConfig) -> None:
    """Builds the model and throws it away; raises `UserError` where that is impossible, before any data."""
    words = vocabulary(["a"], config.recipe.text)
    recipe_class(config)(config.recipe, frames=config.data.frames, size=config.data.size, vocabulary=words)


def recipe_class(config: RunConfig) -> type[BaseRecipe]:
    """The class that belongs to the configuration's recipe."""
    return importlib.import_module(type(config.recipe).__module__).Recipe


def step_generator(device: torch.device, seed: int, step: int) -> torch.Generator:
    """Where the masks and negatives of one step come from.

    Seed and step are mixed by a hash: on processors torch keeps only the low 32 bits of a seed, so that
    placing them side by side would give runs of all seeds the same masks.
    """
    mixed = np.random.SeedSequence([seed, step]).generate_state(1, np.uint64)
    return torch.Generator(device).manual_seed(int(mixed[0]))


def _optimizer(config: RunConfig, recipe: BaseRecipe) -> torch.optim.Optimizer:
    """AdamW; vectors (biases, norms), BERT's embeddings and the temperature do not decay."""
    trained = [(n, p) for n, p in recipe.named_parameters() if p.requires_grad]
    decay = [p for n, p in trained if p.ndim >= 2 and "embeddings" not in n]
    rest = [p for n, p in trained if not (p.ndim >= 2 and "embeddings" not in n)]
    groups = [
        {"params": decay, "weight_decay": config.optim.weight_decay},
        {"params": rest, "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=config.optim.lr, betas=config.optim.betas, fused=True)
