"""The study command over runs that take a fraction of a second, for faults that are not about training."""

import os
import subprocess
import sys

from real import HERE, Study, environment

FAKE = HERE.parent / "study" / "fake_train.py"
STEPS = 10


class QuickStudy(Study):
    """`python -m workbench.study quick`, whose runs write the same record without torch."""

    def __init__(self, results, **variables):
        super().__init__(results, results / "data", name="quick")
        self.logfile = results.with_name(f"{results.name}.log")
        paths = os.pathsep.join([str(FAKE.parent), str(HERE.parents[1])])
        self.variables = {"PYTHONPATH": paths} | variables

    @property
    def log(self):
        return self.logfile.read_text()

    def start(self, *options):
        words = [sys.executable, str(FAKE), self.name, *options]
        words += ["--results", str(self.results), "--data-root", str(self.data_root)]
        with open(self.logfile, "a") as log:
            self.process = subprocess.Popen(
                words,
                cwd=HERE,
                env=environment(**self.variables),
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        return self

    def whole(self):
        """Every run is complete, and every step is on record once."""
        runs = self.directories()
        for run in runs:
            steps = [row["step"] for row in run.read_metrics().rows if "train/loss" in row]
            assert steps == list(range(1, STEPS + 1))
            assert run.status().state == "complete"
        return len(runs)
