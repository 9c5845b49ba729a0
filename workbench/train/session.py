"""Objects of one run in memory: model, optimiser, batches, galleries."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path

import torch

from workbench import extensions, tasks
from workbench.config import DataConfig, RunConfig, Stage
from workbench.data import known_of, knows_motion, truth_of
from workbench.data.loader import Batches, Loader, Mixture
from workbench.data.store import FrameStore
from workbench.data.texts import with_training_texts
from workbench.errors import UserError
from workbench.metrics import full_name
from workbench.models.attention import attention_kernels, set_attention_kernels
from workbench.models.text import Vocabulary, vocabulary
from workbench.recipe.base import ABILITIES, EMBEDDINGS, BaseRecipe
from workbench.recipe.batch import Batch, BatchRng
from workbench.tasks.gallery import Gallery, Judged, TaskResult, gallery
from workbench.train import environment
from workbench.train.checkpoint import Progress
from workbench.train.groups import parameter_groups
from workbench.train.init_from import start_from
from workbench.train.step.compiled import compile_blocks, compiles
from workbench.train.step.deferred import DeferredScalars
from workbench.train.step.gradients import Gradients, check_even, check_parts
from workbench.train.step.recompute import recompute
from workbench.train.step.transfer import Transfer
from workbench.train.world import World, check_shared


class Interrupted(Exception):
    """The run was asked to stop; its checkpoint is complete."""


Stop = Callable[[], bool]


def untrained(recipe: BaseRecipe, stages: Sequence[Stage]) -> frozenset[str]:
    """Which of `ABILITIES` mean nothing after these stages: embeddings that none of them has trained, and of
    the others what the last one has not."""
    objectives = [stage.objective for stage in stages]
    counts = {a: objectives if a in EMBEDDINGS else objectives[-1:] for a in ABILITIES}
    return frozenset(a for a, by in counts.items() if not set(by) & set(recipe.trained_by(a)))


def ask(wanted: Sequence[str], judged: Judged, precision: torch.dtype) -> dict[str, TaskResult]:
    """Task -> what it finds of a model and a gallery, unmasked, of those that can be asked of its clips.

    The recipe is left in the state of evaluation.
    """
    judged.recipe.eval()
    shown = attention_kernels(judged.recipe, fused=True)
    with shown, environment.autocast(judged.device, precision), torch.no_grad():
        able = tasks.askable(wanted, known_of(judged.gallery.store))
        return {name: tasks.load(name).evaluate(judged) for name in able}


@dataclass
class Session:
    """All objects of one run in memory."""

    config: RunConfig
    device: torch.device
    precision: torch.dtype
    vocabulary: Vocabulary
    recipe: BaseRecipe
    optimizer: torch.optim.Optimizer
    loaders: dict[DataConfig, Loader]
    """Loaders for the data of each stage."""
    galleries: dict[str, dict[str, Gallery]]
    """Name of the data (empty for the run's own) -> split -> its gallery."""
    stores: Mapping[DataConfig, FrameStore]
    progress: Progress = field(default_factory=Progress)
    world: World = field(default_factory=World)
    origin: dict[str, str] = field(default_factory=dict)
    """Device and code of the training, saved with each checkpoint."""
    started_from: list[dict[str, str]] = field(default_factory=list)
    """Runs whose weights parts of the recipe started from, with their SHA-256."""
    findings: DeferredScalars = field(default_factory=lambda: DeferredScalars(0))
    """Losses of the latest steps, as far as the device has computed them."""
    moves: int = 0
    """Number of steps and evaluated batches; while it does not change there is no progress."""

    def __post_init__(self) -> None:
        self.transfer = Transfer(self.device)
        self.trained = {name for name, p in self.recipe.named_parameters() if p.requires_grad}

    @property
    def store(self) -> FrameStore:
        """The run's own data."""
        return self.stores[self.config.data]

    @property
    def costs(self) -> dict[str, float]:
        """`cost/*` per clip, the mean over all steps so far, whatever their stage."""
        return {name: total / self.progress.step for name, total in self.progress.costs.items()}

    @property
    def tasks(self) -> list[str]:
        """The run's tasks that its recipe supports."""
        return tasks.possible(self.config.tasks, type(self.recipe))

    @property
    def untrained(self) -> frozenset[str]:
        """Abilities of the recipe that are untrained so far, see `untrained`."""
        return untrained(self.recipe, self.config.stages[: self.progress.stage + 1])

    @property
    def autocast(self) -> AbstractContextManager[object]:
        return environment.autocast(self.device, self.precision)

    def gradients(self, stage: Stage) -> Gradients:
        """The object that computes the gradients of the stage's batches."""
        parts = self.config.optim.accumulate
        return Gradients(self.recipe, stage, parts=parts, precision=self.precision)

    def loader(self, stage: Stage) -> Batches:
        own = self.loaders[stage.data or self.config.data]
        others = [(self.loaders[one.data], one.share) for one in stage.mix]
        return Mixture(own, others) if others else own

    def enter(self, stage: Stage) -> None:
        """Enables gradients only for parameters that the stage's phase trains."""
        for name, parameter in self.recipe.named_parameters():
            parameter.requires_grad_(name in self.trained and self.recipe.learns(name, stage.objective))

    def evaluate(
        self, split: str, stop: Stop = lambda: False, *, last: bool = True, trained: bool = False
    ) -> dict[str, float]:
        """The metrics of a split by their full names, unmasked. Raises `Interrupted`.

        Of several processes the first one evaluates, the others wait and have none.

        last: also by those tasks that take so long that they are left to the ends of the stages.
        trained: only by those tasks of whose needs the stages so far have trained everything.
        """
        if not self.world.first:
            if self.world.follow(stop):
                raise self._interrupted()
            return {}
        found = self.judge(split, stop, last=last, trained=trained)
        self.world.done()
        return {
            full_name(split, data, name): value
            for data, results in found.items()
            for result in results.values()
            for name, value in result.values.items()
        }

    def judge(
        self, split: str, stop: Stop = lambda: False, *, last: bool = True, trained: bool = False
    ) -> dict[str, dict[str, TaskResult]]:
        """Name of the data -> task -> what was found on a split."""

        def between() -> None:
            self.moves += 1
            self.give_way(stop)

        start = time.perf_counter()
        wanted = [name for name in self.tasks if last or tasks.load(name).EACH_TIME]
        if trained:
            wanted = [name for name in wanted if tasks.done_by(name, type(self.recipe), self.untrained)]
        found = {
            data: ask(
                wanted,
                Judged(
                    self.recipe,
                    parts[split],
                    untrained=self.untrained,
                    device=self.device,
                    between=between,
                    encode=self.vocabulary.encode,
                ),
                self.precision,
            )
            for data, parts in self.galleries.items()
        }
        self.recipe.train()
        self.progress.eval_seconds += time.perf_counter() - start
        return found

    def hidden_shares(self) -> dict[str, float]:
        """What the first masked stage really hides, see `BaseRecipe.hidden_shares`; empty without one."""
        stage = next((stage for stage in self.config.stages if stage.masked), None)
        if stage is None:
            return {}
        loader, rng = self.loader(stage).parts[0], BatchRng.seeded(self.config.seed, self.device)
        if type(self.recipe).masks is BaseRecipe.masks:  # by the captions alone, so that all of them count
            batch = Batch.of(torch.empty(0), loader.text)
        else:
            batch = loader.batch(0)
        with torch.no_grad():
            return self.recipe.hidden_shares(batch, rng)

    def give_way(self, stop: Stop) -> None:
        """Raises `Interrupted` when `stop` says so, in any of the processes."""
        if self.world.any_process(stop()):
            raise self._interrupted()

    def wait(self, stop: Stop) -> None:
        """While data are waited for, of which the others know nothing: one process alone may stop here."""
        if stop() and self.world.size == 1:
            raise self._interrupted()

    def alone(self) -> None:
        """From here on this process works without the others, on whole batches."""
        self.world.leave()
        self.world = World()
        for loader in self.loaders.values():
            loader.own = slice(None)

    def _interrupted(self) -> Interrupted:
        return Interrupted(f"stopped at step {self.progress.step}")


def open_session(
    config: RunConfig,
    store: FrameStore | Mapping[DataConfig, FrameStore],
    *,
    device: torch.device,
    precision: torch.dtype | None = None,
    runs: Path | None = None,
    resuming: bool = False,
    world: World | None = None,
) -> Session:
    """Builds tokenizer, model, optimiser and loaders; the seed fixes the initial weights.

    A batch larger than a training split is made as large as the split.

    Args:
        store: that of the run's own data, or one for each of `config.all_data`.
        runs: folder of the studies' run directories, for `init_from`.
        resuming: weights come from a checkpoint, so that those of `init_from` need not be there any more.
        world: the processes that train it together; without it, this one alone.
    """
    stores = {config.data: store} if isinstance(store, FrameStore) else store
    world = world or World()
    check(config, world.size)
    training = [with_training_texts(stores[data], data) for data in config.training_data]
    evaluated = {"": config.data} | {data.name: data for data in config.evaluate_on}
    known = {data.name: known_of(stores[data]) for data in evaluated.values()}
    if refusal := tasks.unknown(tasks.possible(config.tasks, recipe_class(config)), known):
        raise UserError(refusal)
    captions = [caption for one in training for caption in one.splits["train"].captions]
    captions += [text for one in training for text in tasks.texts(config.tasks, one, "train")]
    # Captions of other data are cut where they are longer: what a run is evaluated on changes no model. But a
    # question without its last words is another question.
    own = [stores[config.data].splits[split] for split in ("val", "test")]
    held_out = [caption for part in own for caption in part.captions]
    for data in evaluated.values():
        held_out += [
            text for split in ("val", "test") for text in tasks.texts(config.tasks, stores[data], split)
        ]
    words = vocabulary(captions, config.recipe.text, held_out)
    torch.manual_seed(config.seed)
    recipe = recipe_class(config)(
        config.recipe, frames=config.data.frames, size=config.data.size, vocabulary=words
    ).to(device)
    asked = [data in config.recipe_data for data in config.training_data]
    recipe.attach([truth_of(one) if own else None for one, own in zip(training, asked, strict=True)])
    started_from = [] if resuming else start_from(recipe, config.init_from, words, runs)
    set_attention_kernels(recipe, fused=device.type != "cpu")
    if compiles(config.optim, device):
        compile_blocks(recipe)
    if config.optim.recompute:
        recompute(recipe)
    loaders = {}
    for source, (data, one) in enumerate(zip(config.training_data, training, strict=True)):
        part = one.splits["train"]
        # Videos that cannot be decoded may leave fewer clips than the plan counted.
        batch = min(config.optim.batch_size, len(set(part.groups)))
        check_shared(batch, world.size)
        check_even(batch, config.optim.accumulate, world.size)
        loaders[data] = Loader(
            one,
            words.encode(part.captions),
            batch_size=batch,
            seed=config.seed,
            data=data,
            source=source,
            rank=world.rank,
            size=world.size,
        )
    return Session(
        config=config,
        device=device,
        precision=precision or environment.pick_precision(device),
        vocabulary=words,
        recipe=recipe,
        optimizer=_optimizer(config, recipe),
        loaders=loaders,
        galleries={
            name: {split: _gallery(data, stores[data], split, words) for split in ("val", "test")}
            for name, data in evaluated.items()
        },
        stores=stores,
        started_from=started_from,
        world=world,
        findings=DeferredScalars.of(device),
    )


def _gallery(data: DataConfig, store: FrameStore, split: str, words: Vocabulary) -> Gallery:
    return gallery(store, split, words.encode(store.splits[split].captions), data)


def check(config: RunConfig, processes: int = 1) -> None:
    """Refuses objectives and tasks that the run's recipe does not have, and what it says cannot be run."""
    recipe = recipe_class(config)
    check_shared(config.optim.batch_size, processes)
    if processes > 1 and not recipe.DISTRIBUTED:
        raise UserError(f"{config.recipe_name} cannot share a batch between processes; give it one process")
    frames = {data.frames for data in config.all_data}
    if len(frames) > 1 and not recipe.READS_IMAGES:
        raise UserError(
            f"{config.recipe_name} reads clips of one length only; an image is a still clip of "
            f"{config.data.frames} frames to it"
        )
    for stage in config.stages:
        recipe.check_objective(stage.objective)
        check_parts(recipe, config.optim, stage.objective, processes)
    if not tasks.possible(config.tasks, recipe):
        raise UserError(tasks.refusal(config.tasks, [recipe]))
    recipe.check_run(config, [data.name for data in config.all_data if knows_motion(data.name)])


def try_to_build(config: RunConfig) -> None:
    """Builds the model and discards it. Raises `UserError` if that fails, before data are prepared."""
    check(config)
    words = vocabulary(["a"], config.recipe.text)
    recipe_class(config)(config.recipe, frames=config.data.frames, size=config.data.size, vocabulary=words)


def recipe_class(config: RunConfig) -> type[BaseRecipe]:
    """The class that belongs to the configuration's recipe."""
    found: type[BaseRecipe] = extensions.module(type(config.recipe).__module__).Recipe
    return found


def _optimizer(config: RunConfig, recipe: BaseRecipe) -> torch.optim.Optimizer:
    """AdamW over the groups that the recipe's parts ask for."""
    groups = parameter_groups(recipe, config.optim.weight_decay)
    return torch.optim.AdamW(groups, lr=config.optim.lr, betas=config.optim.betas, fused=True)
