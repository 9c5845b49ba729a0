"""A worker that stays: it answers again and again, and what kills it costs one task only."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from workbench.data.workers import Helper
from workbench.errors import UserError


def work(task: dict[str, Any]) -> tuple[dict[str, Any], bytes]:
    """What the helper runs."""
    match task["do"]:
        case "refuse":
            raise UserError("this is not allowed")
        case "fail":
            raise RuntimeError("a fault")
        case "die":
            os.kill(os.getpid(), signal.SIGKILL)
        case "sleep":
            time.sleep(600)
        case "begin":  # the answer, and never end it
            for descriptor in range(3, 20):
                with contextlib.suppress(OSError):
                    os.write(descriptor, b"\0")
            time.sleep(600)
    return {"pid": os.getpid(), "said": task["do"]}, task["do"].encode()


@pytest.fixture
def helper(monkeypatch: pytest.MonkeyPatch) -> Iterator[Helper]:
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parent))
    helper = Helper("test_helper:work", 60.0)
    yield helper
    helper.close()


def test_one_process_answers_many_tasks(helper: Helper) -> None:
    first, second = helper.ask({"do": "one"}), helper.ask({"do": "two"})
    assert (second.answer["said"], second.payload) == ("two", b"two")
    assert first.answer["pid"] == second.answer["pid"] != os.getpid()


def test_a_refusal_is_its_sentence_and_a_fault_says_its_kind(helper: Helper) -> None:
    assert helper.ask({"do": "refuse"}).failure == "this is not allowed"
    assert helper.ask({"do": "fail"}).failure == "RuntimeError: a fault"


def test_a_process_that_died_is_replaced(helper: Helper) -> None:
    pid = helper.ask({"do": "one"}).answer["pid"]
    assert "SIGKILL" in helper.ask({"do": "die"}).failure
    assert helper.ask({"do": "one"}).answer["pid"] != pid


def test_a_hanging_task_is_given_up_and_the_next_is_answered(helper: Helper) -> None:
    helper.ask({"do": "one"})  # what a first task may take longer is over
    helper._worker.deadline = 1.0  # type: ignore[union-attr]
    assert "no answer within" in helper.ask({"do": "sleep"}).failure
    assert helper.ask({"do": "two"}).answer["said"] == "two"


def test_threads_get_their_own_answers(helper: Helper) -> None:
    found: dict[str, str] = {}

    def ask(word: str) -> None:
        found[word] = helper.ask({"do": word}).answer["said"]

    threads = [threading.Thread(target=ask, args=(f"word {i}",)) for i in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == {f"word {i}": f"word {i}" for i in range(6)}


def test_a_closed_helper_leaves_no_process_and_starts_again(helper: Helper) -> None:
    pid = helper.ask({"do": "one"}).answer["pid"]
    helper.close()
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
    assert helper.ask({"do": "one"}).answer["pid"] != pid


def test_an_answer_that_is_begun_and_never_ended_costs_its_deadline(
    monkeypatch: pytest.MonkeyPatch, helper: Helper
) -> None:
    first = helper.ask({"do": "one"})
    monkeypatch.setattr(helper, "_deadline", 2.0)
    assert helper._worker is not None
    helper._worker.deadline = 2.0
    began = time.monotonic()
    assert helper.ask({"do": "begin"}).failure == "no answer within 2 seconds"
    assert time.monotonic() - began < 60
    helper._deadline = 60.0
    assert helper.ask({"do": "again"}).answer["pid"] != first.answer["pid"]
