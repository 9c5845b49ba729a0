"""Batches for training: what step s sees is a function of (seed, s) alone, so resuming needs no state."""

from __future__ import annotations

import contextlib
import math
import queue
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Generator, Mapping, Sequence
from fractions import Fraction
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from workbench.data.augment.views import augmented
from workbench.data.sampling import frames_of
from workbench.data.store import FrameStore
from workbench.errors import UserError
from workbench.recipe.batch import Batch, Text

if TYPE_CHECKING:
    from workbench.config import DataConfig

AHEAD = 2
"""Batches prepared while the model computes."""
POLL = 0.2
"""Seconds between looks at whether to go on waiting, for a batch or for room to put one."""
LONGEST = 5.0
"""Seconds that the end waits for a read that does not come back."""


class Batches(ABC):
    """What a stage trains on: for each of its steps a batch, made ahead of its use."""

    batch_size: float
    """Clips of a step of all processes; of several data sets the mean."""
    per_epoch: int
    """Steps in which each clip of the stage's own data is seen once."""
    parts: tuple[Loader, ...]
    """Of each data set, the stage's own first."""
    shares: tuple[float, ...]
    """Of the steps that each of them has."""

    @abstractmethod
    def batch(self, step: int) -> Batch:
        """The rows of this process."""

    @abstractmethod
    def read_by(self, step: int) -> Loader:
        """What the step reads, for whoever counts the steps of each data set."""

    @abstractmethod
    def resumed(self, step: int, steps_on: Mapping[str, int]) -> tuple[Batches, int]:
        """The same where each data set goes on with its epochs, and the number of the batch to begin with.

        Args:
            step: of the stage, the next one.
            steps_on: number of a data set, as a text -> steps that the run has had on it.
        """

    def batches(
        self, start: int, waiting: Callable[[], None] = lambda: None, *, pinned: bool = False
    ) -> Generator[Batch]:
        """Endless batches from step `start`, prepared by a thread ahead of their use.

        Args:
            start: number of the first batch.
            waiting: called every `POLL` seconds while no batch is ready; may raise to end the wait.
            pinned: whether the batches lie in memory that a GPU reads by itself, see `Batch.pinned`.
        """
        ready: queue.Queue[Batch | BaseException] = queue.Queue(AHEAD)
        stop = threading.Event()

        def put(item: Batch | BaseException) -> None:
            while not stop.is_set():
                try:
                    ready.put(item, timeout=POLL)
                    break
                except queue.Full:
                    continue

        def work() -> None:
            step = start
            try:
                while not stop.is_set():
                    batch = self.batch(step)
                    put(batch.pinned() if pinned else batch)
                    step += 1
            except BaseException as error:  # noqa: BLE001 - raised again where the batch is awaited
                put(error)

        thread = threading.Thread(target=work, name="loader", daemon=True)
        thread.start()
        try:
            while True:
                try:
                    item = ready.get(timeout=POLL)
                except queue.Empty:
                    waiting()
                    continue
                if isinstance(item, BaseException):
                    raise item
                yield item
        finally:
            stop.set()
            with contextlib.suppress(queue.Empty):
                ready.get_nowait()  # room for the batch the thread may be waiting to hand over
            thread.join(LONGEST)


class Loader(Batches):
    """Clips of the training split in a new order every epoch, each with one of its captions at random.

    An epoch visits every clip once and drops the last incomplete batch. No clip is twice in a batch, so
    that no caption counts as a wrong answer for its own clip.

    Args:
        text: captions of the training split.
        data: says which of the stored frames a step takes; without it, all of them.
        source: number of the data set among those that a run trains on.
        rank, size: which of several processes this is; each reads its rows of every batch.
    """

    def __init__(
        self,
        store: FrameStore,
        text: Text,
        *,
        batch_size: int,
        seed: int,
        data: DataConfig | None = None,
        source: int = 0,
        rank: int = 0,
        size: int = 1,
    ) -> None:
        part = store.splits["train"]
        self.frames, self.text, self.seed = store.frames, text, seed
        self.batch_size: int = batch_size
        self.data, self.labels, self.source = data, store.labels, source
        self.streamed = store.streamed
        self.own = slice(rank * batch_size // size, (rank + 1) * batch_size // size)
        # The captions of clip i are the rows `order[first[i] : first[i] + count[i]]`.
        self.order = np.argsort(part.clips, kind="stable")
        self.clips, self.first, self.count = np.unique(
            part.clips[self.order], return_index=True, return_counts=True
        )
        self.several = bool((self.count > 1).any())
        if batch_size > len(self.clips):
            raise UserError(
                f"a batch of {batch_size} is larger than the training split; "
                f"2 to {len(self.clips)} clips are allowed"
            )
        self.per_epoch = len(self.clips) // batch_size
        self.parts, self.shares = (self,), (1.0,)
        self._permutation: tuple[int, np.ndarray] = (-1, np.empty(0, np.int64))
        """Epoch that was asked for last, and the order of the clips in it."""

    def indices(self, step: int) -> tuple[np.ndarray, np.ndarray]:
        """Clips (rows of the frame store) and caption rows of step `step`, both [B], of all processes."""
        epoch, offset = divmod(step, self.per_epoch)
        chosen = self._clips_in(epoch)[offset * self.batch_size :][: self.batch_size]
        row = self.first[chosen]
        if self.several:
            rng = np.random.default_rng([self.seed, epoch, offset])
            row = row + rng.integers(0, self.count[chosen])
        return self.clips[chosen], self.order[row]

    def _clips_in(self, epoch: int) -> np.ndarray:
        """The order of all clips in an epoch, drawn once and kept until another epoch is asked for."""
        known, order = self._permutation  # read at once: the thread of an earlier stage may still ask
        if known != epoch:
            order = np.random.default_rng([self.seed, epoch]).permutation(len(self.clips))
            self._permutation = epoch, order
        return order

    def video(self, step: int, clips: np.ndarray, own: slice | np.ndarray | None = None) -> np.ndarray:
        """The frames of this process' rows among the clips of step `step`, uint8 [B / size, T, H, W, 3].

        own: other rows, by their places in the batch.
        """
        own = self.own if own is None else own
        if self.data is None:
            return np.take(self.frames, clips[own], axis=0)
        # Streams of their own: how many captions a clip has changes no frames, and frames no crops.
        here = [self.seed, *divmod(step, self.per_epoch)]
        taken = frames_of(self.frames, clips, self.data, np.random.default_rng([*here, 1]), own)
        return augmented(taken, len(clips), self.data, np.random.default_rng([*here, 2]), own)

    def read_by(self, step: int) -> Loader:
        return self

    def resumed(self, step: int, steps_on: Mapping[str, int]) -> tuple[Loader, int]:
        return self, steps_on.get(str(self.source), 0)

    def tags(self, clips: np.ndarray) -> dict[str, Tensor]:
        """What is known of clips beside what is seen, int64 [B] each.

        `index`: row of the frame store; `label`: number of the class, 0 for none; `source`: of the data set.
        """
        known = {"index": clips, "label": self.labels[clips], "source": np.full_like(clips, self.source)}
        return {name: torch.from_numpy(values) for name, values in known.items()}

    def batch(self, step: int) -> Batch:
        clips, rows = self.indices(step)
        video = self.video(step, clips)
        self._replace_bad(step, clips, rows, video)
        tags = self.tags(clips[self.own])
        text = self.text.select(torch.from_numpy(rows[self.own]))
        return Batch(torch.from_numpy(video), text, **tags)

    def _replace_bad(self, step: int, clips: np.ndarray, rows: np.ndarray, video: np.ndarray) -> None:
        """Puts the clip and caption at the same place of the epoch's next step where a clip is bad.

        So no clip is twice in a batch, and no process has to know what another one cannot decode. Of clips
        and rows of the whole batch, those of this process are changed, in place; `video` are its own.
        """
        if self.streamed is None:
            return
        own = np.arange(len(clips))[self.own]
        epoch, offset = divmod(step, self.per_epoch)
        for further in range(1, self.per_epoch):
            gone = self.streamed.gone(clips[own])
            if not gone.any():
                return
            at = own[gone]
            others, captions = self.indices(epoch * self.per_epoch + (offset + further) % self.per_epoch)
            clips[at], rows[at] = others[at], captions[at]
            video[gone] = self.video(step, clips, at)
        if self.streamed.gone(clips[own]).any():
            raise UserError(
                "clips of a batch cannot be decoded, and there are none to take their place: make "
                f"optim.batch_size smaller than {self.batch_size}"
            )


class Mixture(Batches):
    """Batches of several data sets by turns, each of one of them.

    Which one a step of the stage reads follows from its number alone: of the first n steps, data with the
    share p have had n p, to within two steps, and the stage's own data the rest. The first step is theirs.
    Each goes through its own epochs.

    Args:
        own: of the stage's own data.
        others: of the data that are mixed in, each with its share of the steps.
        begun: steps that each of them, own first, has had before the stage; without it, none.
    """

    def __init__(
        self, own: Loader, others: Sequence[tuple[Loader, float]], begun: Sequence[int] = ()
    ) -> None:
        self.parts = (own, *(loader for loader, _ in others))
        self._others = others
        # As they are written: 0.1 is a tenth, not the nearest of the numbers with two as their base.
        self._exact = [Fraction(repr(share)) for _, share in others]
        rest = 1 - sum(self._exact)
        self.shares = (float(rest), *(share for _, share in others))
        self.per_epoch = math.ceil(own.per_epoch / rest)
        self.batch_size = sum(s * part.batch_size for s, part in zip(self.shares, self.parts, strict=True))
        self._begun = tuple(begun) or (0,) * len(self.parts)

    def counts(self, steps: int) -> list[int]:
        """How many of the first steps each data set has had, the stage's own first."""
        found, rest, left = [], steps, Fraction(1)
        for share in self._exact:  # of the steps that the ones before have left
            found.append(math.floor(rest * share / left))
            rest, left = rest - found[-1], left - share
        return [rest, *found]

    def batch(self, step: int) -> Batch:
        number, before = self._place(step)
        return self.parts[number].batch(self._begun[number] + before)

    def read_by(self, step: int) -> Loader:
        return self.parts[self._place(step)[0]]

    def resumed(self, step: int, steps_on: Mapping[str, int]) -> tuple[Mixture, int]:
        had = [steps_on.get(str(part.source), 0) for part in self.parts]
        begun = [count - here for count, here in zip(had, self.counts(step), strict=True)]
        return Mixture(self.parts[0], self._others, begun), step

    def _place(self, step: int) -> tuple[int, int]:
        """Which data set a step reads, and how many steps of the stage it has had before."""
        before, after = self.counts(step), self.counts(step + 1)
        number = next(i for i, count in enumerate(before) if after[i] > count)
        return number, before[number]
