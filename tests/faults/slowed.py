"""`workbench.train` that dwells at one place, so that a test can send a signal at just that moment.

The place is the first argument, or `SLOWED`: `training`, `evaluation`, `test` (the last one), `data`. On
arriving there it leaves a file `at-PLACE` in the run directory; where that file is already, it hurries on.
"""

import os
import time
from pathlib import Path

from workbench import evaluate, execute, train
from workbench.data.loader import Loader

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
    note.touch()
    time.sleep(seconds)


def slow_training(note):
    step = train._step

    def slow(session, *rest):
        row = step(session, *rest)
        if session.progress.step == STEP:
            arrive(note, 30)
        return row

    train._step = slow


def slow_evaluation(note):
    embed = evaluate.embed

    def slow(*arguments, between, **options):
        def between_batches():
            if not note.exists():
                arrive(note, 30)
            between()

        return embed(*arguments, between=between_batches, **options)

    train.embed = slow


def slow_test(note):
    test = execute._test

    def slow(*arguments):
        slow_evaluation(note)
        return test(*arguments)

    execute._test = slow


def no_data(note):
    batch = Loader.batch

    def never(self, step):
        if step == STEP:
            arrive(note, 10_000)
        return batch(self, step)

    Loader.batch = never


SLOW = {"training": slow_training, "evaluation": slow_evaluation, "test": slow_test, "data": no_data}
