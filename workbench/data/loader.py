"""Batches for training: what step s sees is a function of (seed, s) alone, so resuming needs no state."""

from __future__ import annotations

import contextlib
import queue
import threading
from collections.abc import Callable, Generator
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
"""Seconds between looks at whether to go on waiting."""
LONGEST = 5.0
"""Seconds that the end waits for a read that does not come back."""


class Loader:
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
        self.frames, self.text, self.batch_size, self.seed = store.frames, text, batch_size, seed
        self.data, self.labels, self.source = data, store.labels, source
        self.streamed = store.streamed
        self.own = slice(rank * batch_size // size, (rank + 1) * batch_size // size)
        order = np.argsort(part.clips, kind="stable")
        self.clips, first = np.unique(part.clips[order], return_index=True)
        self.rows = np.split(order, first[1:])  # caption rows of each clip
        self.several = any(len(rows) > 1 for rows in self.rows)
        if batch_size > len(self.clips):
            raise UserError(
                f"a batch of {batch_size} is larger than the training split; "
                f"2 to {len(self.clips)} clips are allowed"
            )

    @property
    def per_epoch(self) -> int:
        """Steps of one epoch."""
        return len(self.clips) // self.batch_size

    def indices(self, step: int) -> tuple[np.ndarray, np.ndarray]:
        """Clips (rows of the frame store) and caption rows of step `step`, both [B], of all processes."""
        epoch, offset = divmod(step, self.per_epoch)
        rng = np.random.default_rng([self.seed, epoch])
        chosen = rng.permutation(len(self.clips))[offset * self.batch_size :][: self.batch_size]
        if not self.several:
            return self.clips[chosen], np.array([self.rows[i][0] for i in chosen])
        rng = np.random.default_rng([self.seed, epoch, offset])
        return self.clips[chosen], np.array([rng.choice(self.rows[i]) for i in chosen])

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

    def batches(
        self, start: int, waiting: Callable[[], None] = lambda: None, *, pinned: bool = False
    ) -> Generator[Batch]:
        """Endless batches from step `start`, prepared by a thread ahead of their use.

        pinned: in memory that a GPU reads by itself, see `Batch.pinned`.

        `waiting` is called again and again while there is none; what it raises ends the wait.
        """
        ready: queue.Queue[Batch | BaseException] = queue.Queue(AHEAD)
        stop = threading.Event()

        def put(item: Batch | BaseException) -> None:
            while not stop.is_set():
                try:
                    ready.put(item, timeout=0.2)
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
