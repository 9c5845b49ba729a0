"""The answer of a study, computed from its run directories alone.

`study_record` is the question, `evidence` the values of the runs. `results` combines the answer, with
`search` (the Pareto front), `effects`, `verdicts` on published claims and `facts` (its limitations).
`wording` and `caveats` make the sentences on certainty. `grouped` averages over axes, `progress` reports how
much is done.

In a notebook the package is called, `workbench.answer("mask_ratio")`: see `workbench.notebook`.
"""

import importlib
import sys
from types import ModuleType
from typing import Any


class _Called(ModuleType):
    """`workbench.answer` is both this package and the function for notebooks."""

    def __call__(self, *studies: str, **options: Any) -> Any:
        return importlib.import_module("workbench.notebook.functions").answer(*studies, **options)


sys.modules[__name__].__class__ = _Called
