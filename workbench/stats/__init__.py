"""Statistics of ablation: pure functions on arrays, no files, no torch.

`compare` and `compare_family` pair cells by seed and by query, `factor_effects` averages over a grid,
`families` defines which tests are corrected together, `pareto` finds fronts, `power` computes what a number
of seeds can detect. They return numbers and kinds, without names of metrics; `workbench.answer.wording` makes
sentences. Read `docs/statistics.md` for the reasons.
"""

import hashlib
from pathlib import Path

from workbench.stats.compare import (
    Comparison,
    Outcome,
    adjust,
    adjust_in_order,
    compare,
    compare_family,
    sign_flip,
)
from workbench.stats.components import Components
from workbench.stats.effects import Effect, FactorEffects, adjust_together, distinct_tests, factor_effects
from workbench.stats.families import Family, claimed_level, holm, in_order
from workbench.stats.incomplete_grids import blocks, shared_effects
from workbench.stats.inputs import Runs
from workbench.stats.intervals import Interval, Summary, iqm, summarise, summarise_cells
from workbench.stats.pareto import ParetoPoint, pareto, pareto_front
from workbench.stats.power import detectable, power, seeds_needed

CODE = hashlib.blake2b(
    b"".join(path.read_bytes() for path in sorted(Path(__file__).parent.rglob("*.py"))), digest_size=16
).hexdigest()
"""Digest of this package when it was loaded; cached results of other code are not used."""

__all__ = [
    "Comparison",
    "Components",
    "Effect",
    "FactorEffects",
    "Family",
    "Interval",
    "Outcome",
    "ParetoPoint",
    "Runs",
    "Summary",
    "adjust",
    "adjust_in_order",
    "adjust_together",
    "blocks",
    "claimed_level",
    "compare",
    "compare_family",
    "detectable",
    "distinct_tests",
    "factor_effects",
    "holm",
    "in_order",
    "iqm",
    "pareto",
    "pareto_front",
    "power",
    "seeds_needed",
    "shared_effects",
    "sign_flip",
    "summarise",
    "summarise_cells",
]
