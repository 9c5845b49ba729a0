"""Batches for training: the batch of step s depends only on (seed, s), so resuming needs no state."""

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
"""Seconds between checks while waiting for a batch or for space in the queue."""
LONGEST = 5.0
"""Seconds that closing waits for a read that does not return."""


class Batches(ABC):
    """Batches of a stage's training data, prepared ahead of their use."""

    batch_size: float
    """Clips of a step in all processes; the mean over several data sets."""
    per_epoch: int
    """Steps of an epoch of the stage's own data."""
    parts: tuple[Loader, ...]
    """Loaders of the data sets, the stage's own first."""
    shares: tuple[float, ...]
    """Share of the steps of each loader."""

    @abstractmethod
    def batch(self, step: int) -> Batch:
        """The rows of this process."""

    @abstractmethod
    def read_by(self, step: int) -> Loader:
        """The loader of a step, for counting the steps of each data set."""

    @abstractmethod
    def resumed(self, step: int, steps_on: Mapping[str, int]) -> tuple[Batches, int]:
        """Batches in which each data set continues its epochs, and the number of the batch to begin with.

        Args: step: next step of the stage. steps_on: number of a data set, as a string -> steps that the run
            has had on it.
        """

    def batches(
        self, start: int, waiting: Callable[[], None] = lambda: None, *, pinned: bool = False
    ) -> Generator[Batch]:
        """Endless batches from step `start`, prepared by a thread ahead of their use.

        Args:
            start: number of the first batch.
            waiting: called every `POLL` seconds while no batch is ready; may raise to end the wait.
            pinned: whether batches are in page-locked memory, see `Batch.pinned`.
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
                ready.get_nowait()  # make room for the batch that the thread may be waiting to queue
            thread.join(LONGEST)


class Loader(Batches):
    """Clips of the training split in a new order every epoch, each with one of its captions at random.

    An epoch visits every clip once and drops the last incomplete batch. No clip is twice in a batch, so that
    no caption is a negative of its own clip.

    Args:
        text: captions of the training split.
        data: defines which of the stored frames a step uses; None for all of them.
        source: number of the data set among those of the run.
        rank, size: index of this process and number of processes; each reads its rows of every batch.
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
        """The latest epoch, and the order of the clips in it."""

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
        """The order of all clips in an epoch, cached until another epoch is requested."""
        known, order = self._permutation  # read at once: the thread of an earlier stage may still ask
        if known != epoch:
            order = np.random.default_rng([self.seed, epoch]).permutation(len(self.clips))
            self._permutation = epoch, order
        return order

    def video(self, step: int, clips: np.ndarray, own: slice | np.ndarray | None = None) -> np.ndarray:
        """The frames of this process' rows among the clips of step `step`, uint8 [B / size, T, H, W, 3].

        own: other rows, by their positions in the batch.
        """
        own = self.own if own is None else own
        if self.data is None:
            return np.take(self.frames, clips[own], axis=0)
        # Separate streams, so that frames do not depend on the number of captions, nor crops on frames.
        here = [self.seed, *divmod(step, self.per_epoch)]
        taken = frames_of(self.frames, clips, self.data, np.random.default_rng([*here, 1]), own)
        return augmented(taken, len(clips), self.data, np.random.default_rng([*here, 2]), own)

    def read_by(self, step: int) -> Loader:
        return self

    def resumed(self, step: int, steps_on: Mapping[str, int]) -> tuple[Loader, int]:
        return self, steps_on.get(str(self.source), 0)

    def tags(self, clips: np.ndarray) -> dict[str, Tensor]:
        """Further properties of clips, int64 [B] each.

        `index`: row of the frame store; `label`: number of the class, 0 for none; `source`: number of the
        data set.
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
        """Replaces a bad clip by the clip and caption at the same position of the epoch's next step.

        So no clip is twice in a batch, and processes need not know what others cannot decode. Clips and rows
        of the whole batch are changed in place for this process's positions; `video` contains its own clips.
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
    """Batches of alternating data sets, each batch from one of them.

    The data set of a step depends only on its number: of the first n steps, data with the share p have had n
    p, to within two steps, and the stage's own data the rest, including the first step. Each data set goes
    through its own epochs.

    Args: own: loader of the stage's own data. others: loaders of the data that are mixed in, each with its
        share of the steps. begun: steps that each of them, own first, has had before the stage; None for
        none.
    """

    def __init__(
        self, own: Loader, others: Sequence[tuple[Loader, float]], begun: Sequence[int] = ()
    ) -> None:
        self.parts = (own, *(loader for loader, _ in others))
        self._others = others
        # Decimal values: 0.1 is exactly a tenth, not the nearest binary number.
        self._exact = [Fraction(repr(share)) for _, share in others]
        rest = 1 - sum(self._exact)
        self.shares = (float(rest), *(share for _, share in others))
        self.per_epoch = math.ceil(own.per_epoch / rest)
        self.batch_size = sum(s * part.batch_size for s, part in zip(self.shares, self.parts, strict=True))
        self._begun = tuple(begun) or (0,) * len(self.parts)

    def counts(self, steps: int) -> list[int]:
        """Number of the first steps that each data set has had, the stage's own first."""
        found, rest, left = [], steps, Fraction(1)
        for share in self._exact:  # of the steps that the previous ones have left
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
        """The data set of a step, and the number of steps of the stage that it has had before."""
        before, after = self.counts(step), self.counts(step + 1)
        number = next(i for i, count in enumerate(before) if after[i] > count)
        return number, before[number]
