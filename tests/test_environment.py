"""Where a run happens: devices by name, precision by ability, and a record of both."""

import json
import subprocess
from contextlib import nullcontext
from pathlib import Path

import pytest
import torch

from workbench.errors import UserError
from workbench.train import environment

CPU = torch.device("cpu")
ROOT = Path(__file__).parents[1]


@pytest.mark.parametrize("name", ["nonsense", "", "cuda:99", "cpu:x"])
def test_a_device_that_is_not_there_is_refused_with_those_allowed(name):
    with pytest.raises(UserError, match="auto, cpu, cuda and cuda:N"):
        environment.pick_device(name)


def test_devices_are_found_by_name():
    assert environment.pick_device("cpu") == CPU
    assert environment.pick_device("auto").type == ("cuda" if torch.cuda.is_available() else "cpu")


@pytest.mark.parametrize(
    ("abilities", "precision"),
    [
        ({"amx_bf16": True}, torch.bfloat16),
        ({"avx512_bf16": True}, torch.bfloat16),
        ({"avx2": True}, torch.float32),
        ({}, torch.float32),
    ],
)
def test_a_processor_gets_bfloat16_only_where_it_is_fast_in_it(monkeypatch, abilities, precision):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: abilities)
    assert environment.pick_precision(CPU) == precision


def test_full_precision_needs_no_autocast():
    assert isinstance(environment.autocast(CPU, torch.float32), nullcontext)
    with environment.autocast(CPU, torch.bfloat16):
        assert (torch.ones(2, 2) @ torch.ones(2, 2)).dtype == torch.bfloat16


def test_the_record_is_plain_json():
    found = environment.describe(CPU, torch.bfloat16)
    assert json.loads(json.dumps(found)) == found
    assert found["precision"] == "bfloat16"
    assert found["device_name"]


@pytest.mark.skipif(not (ROOT / ".git").exists(), reason="no checkout: a wheel knows no commit")
def test_a_run_records_the_commit_of_its_code():
    head = subprocess.run(
        ["git", "-C", str(ROOT), "rev-parse", "HEAD"], capture_output=True, text=True, check=True
    ).stdout.strip()
    assert environment.describe(CPU, torch.float32)["commit"] == head
