"""Statistics of ablation: pure functions on arrays, no files, no torch.

`compare` and `compare_family` pair cells by seed and by query; `claim` turns a comparison into a
sentence; `gates` says what the answer cannot show. Read `docs/statistics.md` for the reasons.
"""

from workbench.stats.claims import claim
from workbench.stats.compare import Comparison, adjust, compare, compare_family, holm, sign_flip
from workbench.stats.components import Components
from workbench.stats.effects import Effect, FactorEffects, factor_effects
from workbench.stats.inputs import Runs, query_values, unit
from workbench.stats.intervals import Interval, Summary, iqm, summarise, summarise_cells
from workbench.stats.pareto import ParetoPoint, pareto, pareto_front
from workbench.stats.power import detectable, power, seeds_needed, smallest_p

__all__ = [
    "Comparison",
    "Components",
    "Effect",
    "FactorEffects",
    "Interval",
    "ParetoPoint",
    "Runs",
    "Summary",
    "adjust",
    "claim",
    "compare",
    "compare_family",
    "detectable",
    "factor_effects",
    "holm",
    "iqm",
    "pareto",
    "pareto_front",
    "power",
    "query_values",
    "seeds_needed",
    "sign_flip",
    "smallest_p",
    "summarise",
    "summarise_cells",
    "unit",
]
