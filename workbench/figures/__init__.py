"""Figures of a study. Each has a table function, which is tested, and a figure function, which draws it.

    sweep    the metric over an axis, with intervals; also over budgets (`scaling_table`)
    grid     the metric over two axes as a map
    cost     the metric against cost, with the Pareto front
    curves   learning curves over steps, PFLOPs and seconds
    effects  differences to the baseline, with intervals; also registered contrasts (`contrasts_table`) and
             those of levels (`factors_table`)
    parallel every cell as a line through its choices to what it reached

`tables` makes the tables, `interactive` draws them with plotly (for pages and the dashboard), `paper` with
matplotlib (PDF and PNG). Table functions return None if a study lacks the axes for a figure. Torch is not
needed.
"""

from workbench.figures.interactive import (
    cost_figure,
    curves_figure,
    effects_figure,
    grid_figure,
    grid_width,
    sweep_figure,
)
from workbench.figures.parallel import Dimension, dimensions, parallel_figure
from workbench.figures.style import MOST_BARS
from workbench.figures.tables import (
    Layout,
    contrasts_table,
    cost_table,
    curves_table,
    effects_table,
    factors_table,
    grid_table,
    layout,
    named,
    scaling_table,
    smoothed,
    sweep_table,
)

__all__ = [
    "MOST_BARS",
    "Dimension",
    "Layout",
    "cost_figure",
    "cost_table",
    "curves_figure",
    "curves_table",
    "dimensions",
    "contrasts_table",
    "effects_figure",
    "effects_table",
    "factors_table",
    "grid_figure",
    "grid_table",
    "grid_width",
    "layout",
    "named",
    "parallel_figure",
    "scaling_table",
    "smoothed",
    "sweep_figure",
    "sweep_table",
]
