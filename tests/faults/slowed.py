"""`workbench.train` that dwells at one place, so that a test can send a signal at just that moment.

The place is the first argument, or `SLOWED`: `training`, `evaluation`, `test` (the last one), `data`,
`saving` (between the tensors and the record of the last checkpoint). On
arriving there it leaves a file `at-PLACE` in the run directory; where that file is already, it hurries on.
"""

import os
import time
from pathlib import Path

from workbench.data.loader import Loader
from workbench.tasks.gallery import Judged
from workbench.train import checkpoint
from workbench.train import loop as train
from workbench.train import run as execute

STEP = 60


def main(arguments):
    place = os.environ.get("SLOWED", "nowhere")
    if arguments[0] in (*SLOW, "nowhere"):
        place, *arguments = arguments
    note = Path(arguments[0]) / f"at-{place}"
    if place != "nowhere" and not note.exists():
        SLOW[place](note)
    return execute.main(arguments)


def arrive(note, seconds):
    """Stays for so long, or until it is asked to stop; a signal alone would not end a sleep."""
    note.touch()
    end = time.monotonic() + seconds
    while time.monotonic() < end and not execute._stop:
        time.sleep(0.02)


def slow_training(note):
    step = train._step

    def slow(session, *rest):
        row = step(session, *rest)
        if session.progress.step == STEP:
            arrive(note, 30)
        return row

    train._step = slow


def slow_evaluation(note):
    batches = Judged.batches

    def slow(self, count):
        for rows in batches(self, count):
            if not note.exists():
                arrive(note, 30)
                self.between()
            yield rows

    Judged.batches = slow


def slow_test(note):
    test = execute.measure

    def slow(*arguments):
        slow_evaluation(note)
        return test(*arguments)

    execute.measure = slow


def no_data(note):
    batch = Loader.batch

    def never(self, step):
        if step == STEP:
            note.touch()
            time.sleep(10_000)
        return batch(self, step)

    Loader.batch = never


def slow_saving(note):
    digest = checkpoint.sha256

    def slow(path):
        if not note.exists():
            arrive(note, 30)
        return digest(path)

    checkpoint.sha256 = slow


SLOW = {
    "training": slow_training,
    "evaluation": slow_evaluation,
    "test": slow_test,
    "data": no_data,
    "saving": slow_saving,
}
