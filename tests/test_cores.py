"""A run knows how much of the processor it had."""

import math
import os
import subprocess
import sys

import pytest

from workbench.metrics import DISTURBED, disturbed
from workbench.train import cores

WORK = """
import os, sys, time
os.sched_setaffinity(0, {int(sys.argv[1])})
from workbench.train.cores import core_time
start, before = time.perf_counter(), core_time()
while core_time().since(before).used < 0.3:
    pass
found = core_time().since(before)
print(found.used, found.waited, time.perf_counter() - start)
"""
BUSY = "import os, sys; os.sched_setaffinity(0, {int(sys.argv[1])})\nprint(flush=True)\nwhile True: pass"


def measured(core: int) -> tuple[float, float, float]:
    said = subprocess.run(
        [sys.executable, "-c", WORK, str(core)], capture_output=True, text=True, check=True, timeout=60
    )
    used, waited, seconds = map(float, said.stdout.split())
    return used, waited, seconds


@pytest.mark.skipif(not cores.TASKS.exists(), reason="only Linux tells how long a thread waited")
def test_a_neighbour_on_the_same_core_shows_as_waiting():
    core = min(os.sched_getaffinity(0))
    with subprocess.Popen([sys.executable, "-c", BUSY, str(core)], stdout=subprocess.PIPE) as neighbour:
        try:
            assert neighbour.stdout is not None
            neighbour.stdout.readline()
            used, waited, seconds = measured(core)
        finally:
            neighbour.kill()
    assert used >= 0.3
    assert used + waited == pytest.approx(seconds, rel=0.2), (
        "on one core a thread that is ready runs or waits"
    )
    assert disturbed(waited / seconds)


def test_a_thread_that_sleeps_neither_uses_a_core_nor_waits_for_one():
    before = cores.core_time()
    subprocess.run([sys.executable, "-c", "import time; time.sleep(0.2)"], check=True)
    found = cores.core_time().since(before)
    assert found.used < 0.1
    assert found.waited < 0.1 or math.isnan(found.waited)


def test_what_the_system_does_not_tell_is_no_number_and_no_verdict(monkeypatch, tmp_path):
    monkeypatch.setattr(cores, "TASKS", tmp_path)
    assert math.isnan(cores.core_time().waited)
    assert math.isnan(cores.core_time().since(cores.core_time()).waited)
    (tmp_path / "1").mkdir()
    (tmp_path / "1/schedstat").write_text("not numbers")
    assert math.isnan(cores.core_time().waited)
    assert not disturbed(None)
    assert not disturbed(DISTURBED)
    assert disturbed(2 * DISTURBED)


def test_a_clock_that_went_back_is_no_negative_wait():
    assert cores.CoreTime(2.0, 1.0).since(cores.CoreTime(1.0, 3.0)) == (1.0, 0.0)
