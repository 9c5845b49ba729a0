"""Made-up cells, of which figures are drawn."""

import polars as pl

METRIC = "test/t2v_r1"


def cells_of(axes, means, *, interval=3.0):
    """A cell table: a row for each dict of axes."""
    names = list(dict.fromkeys(name for cell in axes for name in cell))
    columns = {name: [cell.get(name) for cell in axes] for name in names}
    return pl.DataFrame(
        {
            "key": [f"k{i}" for i in range(len(axes))],
            "cell": [" ".join(f"{k}={v}" for k, v in cell.items()) for cell in axes],
            **columns,
            METRIC: means,
            "low": [None if m is None or interval is None else m - interval for m in means],
            "high": [None if m is None or interval is None else m + interval for m in means],
        },
        schema_overrides={METRIC: pl.Float64(), "low": pl.Float64(), "high": pl.Float64()},
        strict=False,
    )


def two_axes(strategies=("tube", "frame"), ratios=(0.9, 0.0, 0.5)):
    axes = [{"strategy": s, "ratio": r} for s in strategies for r in ratios]
    return cells_of(axes, [float(i) for i in range(len(axes))])
