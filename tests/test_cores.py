"""A run knows how much of the processor it had."""

import math
import subprocess
import sys

import pytest
import torch
from small import run_config
from toys import Config as ToyConfig

from workbench.metrics import DISTURBED, disturbed
from workbench.train import cores, loop
from workbench.train.loop import ROWS, train
from workbench.train.session import open_session


def test_waits_of_all_threads_are_added_up_in_seconds(monkeypatch, tmp_path):
    monkeypatch.setattr(cores, "TASKS", tmp_path)
    for thread, waited in (("7", 250_000_000), ("8", 1_500_000_000)):
        (tmp_path / thread).mkdir()
        (tmp_path / thread / "schedstat").write_text(f"900000000 {waited} 12\n")
    before = cores.core_time()
    assert before.waited == pytest.approx(1.75)
    (tmp_path / "8/schedstat").write_text("900000000 1900000000 15\n")
    assert cores.core_time().since(before).waited == pytest.approx(0.4)


def test_this_process_uses_a_core_while_it_works():
    before = cores.core_time()
    while (found := cores.core_time().since(before)).used < 0.05:
        pass
    assert found.waited >= 0 or math.isnan(found.waited)


def test_a_thread_that_sleeps_uses_no_core():
    before = cores.core_time()
    subprocess.run([sys.executable, "-c", "import time; time.sleep(0.2)"], check=True)
    found = cores.core_time().since(before)
    assert found.used < 0.15


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


class Fake:
    """A clock of core time that goes on when it is told to."""

    def __init__(self):
        self.now = 0.0

    def __call__(self):
        return cores.CoreTime(self.now, 2 * self.now)


def test_a_run_counts_the_core_time_of_its_steps_and_not_what_is_done_between(store, tmp_path, monkeypatch):
    fake = Fake()
    monkeypatch.setattr(loop, "core_time", fake)
    config = run_config(ToyConfig(), steps=10 * ROWS, evaluations=1, tasks=("pair_retrieval",))
    session = open_session(config, store, device=torch.device("cpu"))
    true = session.transfer

    def transfer(batch):
        fake.now += 1
        return true(batch)

    monkeypatch.setattr(session, "transfer", transfer)
    rows = train(session)
    for steps in (1, 10, 20):
        assert next(rows)[0] == steps
        assert session.progress.core_seconds == steps
        fake.now += 100  # what is done with a row
    rows.close()
