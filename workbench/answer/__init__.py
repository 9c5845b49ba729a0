"""What a study says, from its run directories alone.

`asked` is what the study wanted, `evidence` the values of its runs. `results` puts the answer together, with
`search` (the front), `effects`, `verdicts` on published claims and `facts` (what limits it). Its sentences
on certainty are made in `wording` and `caveats`. `grouped` averages over axes, `progress` says how far a
study is.

In a notebook the package is called, `workbench.answer("mask_ratio")`: see `workbench.notebook`.
"""

import importlib
import sys
from types import ModuleType
from typing import Any


class _Called(ModuleType):
    """`workbench.answer` is both this package and what one calls in a notebook."""

    def __call__(self, *studies: str, **options: Any) -> Any:
        return importlib.import_module("workbench.notebook.functions").answer(*studies, **options)


sys.modules[__name__].__class__ = _Called
