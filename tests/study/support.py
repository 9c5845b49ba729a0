"""What the tests of studies share: commands in processes of their own, and looks at their runs."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from workbench.tracking.run_dir import RunDir

HERE = Path(__file__).parent


class Command:
    """The same command in a process of its own, that one can signal."""

    def __init__(self, *arguments, **environment):
        self.process = subprocess.Popen(
            [sys.executable, str(HERE / "fake_train.py"), *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=os.environ | environment,
            start_new_session=True,
        )

    def signal(self, number=signal.SIGINT):
        self.process.send_signal(number)

    def finish(self, timeout=240):
        out, err = self.process.communicate(timeout=timeout)
        return self.process.returncode, out, err


def run_dirs(results="results", study="fake"):
    return [RunDir(path.parent) for path in sorted(Path(results, "runs", study).glob("*/run.json"))]


def starts(results="results", study="fake"):
    """How often each run was started."""
    return {
        run.path.name: len((run.path / "starts.txt").read_text().split()) for run in run_dirs(results, study)
    }


def begun(results="results", study="fake"):
    """Whether some run has taken its first step; from then on its status tells its process."""
    return any(run.read_metrics().rows for run in run_dirs(results, study))


def kill_all(command, run):
    """SIGKILL to a study process, the process that starts its runs, and the run."""
    pid = command.process.pid
    victims = [pid, *map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text().split()), run.status().pid]
    assert all(victim > 1 for victim in victims)
    for victim in victims:
        os.kill(victim, signal.SIGKILL)
    command.finish()


def until(condition, timeout=240):
    end = time.monotonic() + timeout
    while not condition():
        assert time.monotonic() < end, "waited for too long"
        time.sleep(0.02)
