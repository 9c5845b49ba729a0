"""Statistics of ablation: pure functions on arrays, no files, no torch.

`compare` and `compare_family` pair cells by seed and by query, `factor_effects` averages over a grid,
`pareto` finds fronts, `power` tells what a number of seeds can show. They return numbers and kinds and know
no name of a metric; `workbench.answer.wording` makes sentences. Read `docs/statistics.md` for the reasons.
"""

from workbench.stats.compare import Comparison, Outcome, adjust, compare, compare_family, holm, sign_flip
from workbench.stats.components import Components
from workbench.stats.effects import Effect, FactorEffects, factor_effects
from workbench.stats.inputs import Runs
from workbench.stats.intervals import Interval, Summary, iqm, summarise, summarise_cells
from workbench.stats.pareto import ParetoPoint, pareto, pareto_front
from workbench.stats.power import detectable, power, seeds_needed, smallest_p

__all__ = [
    "Comparison",
    "Components",
    "Effect",
    "FactorEffects",
    "Interval",
    "Outcome",
    "ParetoPoint",
    "Runs",
    "Summary",
    "adjust",
    "compare",
    "compare_family",
    "detectable",
    "factor_effects",
    "holm",
    "iqm",
    "pareto",
    "pareto_front",
    "power",
    "seeds_needed",
    "sign_flip",
    "smallest_p",
    "summarise",
    "summarise_cells",
]
