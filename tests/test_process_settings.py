"""What importing the package sets for its process before torch loads, unless the user has set it."""

import os
import subprocess
import sys

import pytest

NAMES = ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY", "THP_MEM_ALLOC_ENABLE")
SAY = "import workbench, os; print(*map(os.environ.get, {names!r}))"


@pytest.mark.parametrize(
    ("given", "found"),
    [
        ({}, "1000 None 1"),
        ({"GOMP_SPINCOUNT": "5"}, "5 None 1"),
        ({"OMP_WAIT_POLICY": "ACTIVE"}, "None ACTIVE 1"),
        ({"THP_MEM_ALLOC_ENABLE": "0"}, "1000 None 0"),
    ],
)
def test_importing_the_package_settles_waiting_and_pages_and_a_users_choice_stands(given, found):
    known = {k: v for k, v in os.environ.items() if k not in NAMES}
    said = subprocess.run(
        [sys.executable, "-c", SAY.format(names=NAMES)],
        env=known | given,
        capture_output=True,
        text=True,
        check=True,
    )
    assert said.stdout.strip() == found


def test_importing_the_package_loads_no_torch_that_would_have_read_it_before():
    said = subprocess.run(
        [sys.executable, "-c", "import workbench, sys; print('torch' in sys.modules)"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert said.stdout.strip() == "False"
