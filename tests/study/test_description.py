"""`study.json` holds the arguments that make its plan again."""

from types import SimpleNamespace

import pytest

from workbench.answer.asked import Asked
from workbench.study.__main__ import _parser
from workbench.study.cells.options import Options, parse_seeds
from workbench.study.description import arguments


@pytest.mark.parametrize(
    "options",
    [
        Options(),
        Options(smoke=True, recipe="simvtp"),
        Options(quick=True),
        Options(seeds=(0,), budget="2x", data="folder:/own videos/it's"),
        Options(seeds=(4, 7), single=True, trials=30),
        Options(budget="2x", settings=("optim.betas=0.8,0.95", "optim.lr=0.0003")),
        Options(data="moving_shapes", more_data=("folder:/own", "other:/there")),
    ],
)
def test_the_command_line_reads_them_as_the_same_options(options):
    plan = SimpleNamespace(options=options, study=SimpleNamespace(name="mask_ratio-simvtp-single"))
    read = _parser().parse_args(arguments(plan))
    assert read.study == "mask_ratio"
    again = Options(
        seeds=parse_seeds(read.seeds) if read.seeds else (),
        data=next(iter(read.data), ""),
        more_data=tuple(read.data[1:]),
        settings=tuple(read.set),
        **{name: getattr(read, name) for name in ("budget", "recipe", "trials", "single", "smoke", "quick")},
    )
    assert again == options


def test_the_command_is_quoted_for_the_shell():
    asked = {"study": "a", "question": "", "metric": "t2v_r1", "direction": "maximize", "axes": [],
             "baseline": None, "seeds": [0], "reads": [], "smoke": True, "plan": "", "cells": []}  # fmt: skip
    assert Asked.of(asked).command == "python -m workbench.study a --smoke"
    command = Asked.of(asked | {"arguments": ["a", "--data", "folder:/own videos"]}).command
    assert command == "python -m workbench.study a --data 'folder:/own videos'"
