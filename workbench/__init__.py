"""An experiment-tracking ablation workbench for masked video-text pre-training.

Importing the package loads nothing heavy; every layer is a module of its own (see README). In a notebook:

    import workbench as wb
    wb.runs("mask_ratio"); wb.answer("mask_ratio"); wb.compare(a, b); wb.figure("mask_ratio")

These come from `workbench.notebook`, which is imported when the first of them is used.
"""

__version__ = "0.1.0"

import importlib
import os
from typing import Any

_FUNCTIONS = ("runs", "compare", "figure")
"""Functions of `workbench.notebook.functions`. `answer` is one as well, as the package can be called."""


def __getattr__(name: str) -> Any:
    if name in _FUNCTIONS:
        return getattr(importlib.import_module("workbench.notebook.functions"), name)
    if name == "answer":
        return importlib.import_module("workbench.answer")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *_FUNCTIONS, "answer"])


# OpenMP's threads wait for each other by spinning. Where other processes want the cores too, a step takes
# three times as long or more; after so many rounds they sleep instead. It has to be said before torch loads
# OpenMP, and a user's own choice stands. Figures: docs/log.md.
if not {"GOMP_SPINCOUNT", "OMP_WAIT_POLICY"} & set(os.environ):
    os.environ["GOMP_SPINCOUNT"] = "1000"

# Tensors of 2 MB and more get huge pages where the system grants them on request: most of the time of reading
# and writing a fresh large tensor goes into its page faults otherwise. A user's own choice stands.
os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")
