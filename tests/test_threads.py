"""OpenMP's threads do not spin against busy neighbours, unless the user wants it so."""

import os
import subprocess
import sys

import pytest

SAY = "import workbench, os; print(os.environ.get('GOMP_SPINCOUNT'), os.environ.get('OMP_WAIT_POLICY'))"


@pytest.mark.parametrize(
    ("given", "found"),
    [
        ({}, "1000 None"),
        ({"GOMP_SPINCOUNT": "5"}, "5 None"),
        ({"OMP_WAIT_POLICY": "ACTIVE"}, "None ACTIVE"),
    ],
)
def test_importing_the_package_says_how_to_wait_and_a_users_choice_stands(given, found):
    known = {k: v for k, v in os.environ.items() if k not in ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY")}
    said = subprocess.run(
        [sys.executable, "-c", SAY], env=known | given, capture_output=True, text=True, check=True
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
