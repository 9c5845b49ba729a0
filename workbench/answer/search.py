"""Results that only searches have: the Pareto front and the axes' importances."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import polars as pl

from workbench import naming, stats, tables, tasks
from workbench.answer.evidence import Evidence
from workbench.answer.study_record import StudyRecord


def front(asked: StudyRecord, evidence: Evidence) -> tuple[str, ...]:
    """Keys on the Pareto front of cost and the metric on val, the cheapest first; test is not used.

    Trials that cannot be compared on test are left out; the caveats name them.
    """
    names = [f"metric.{asked.cost}", f"metric.val/{asked.metric}"]
    done = evidence.done
    if not asked.cost or not set(names) <= set(done.columns):
        return ()
    usable = pl.col("key").is_in(list(evidence.with_cost(asked.cost)[0]))
    table = done.filter(usable).select("key", *names).drop_nulls().sort(names[0], maintain_order=True)
    if table.is_empty():
        return ()
    sign = 1 if asked.maximize else -1
    on = stats.pareto_front(table[names[0]].to_numpy(), sign * table[names[1]].to_numpy())
    return tuple(table.filter(pl.Series(on))["key"])


def points(asked: StudyRecord, evidence: Evidence, cost: str) -> dict[str, stats.ParetoPoint]:
    """Each complete trial as a point of cost and test metric; the front is the one selected on val."""
    found = stats.pareto(*evidence.with_cost(cost), groups=evidence.groups, higher_is_better=asked.maximize)
    chosen = front(asked, evidence)
    return {key: replace(point, on_front=key in chosen) for key, point in found.items()}


def front_table(
    asked: StudyRecord, evidence: Evidence, cells: pl.DataFrame, found: Sequence[str]
) -> pl.DataFrame:
    """The front, the cheapest first: axes, cost, val, test with interval, how often on the front by test;
    with titles in words."""
    metric = f"test/{asked.metric}"
    often = points(asked, evidence, asked.cost)
    order = {key: i for i, key in enumerate(found)}
    rows = cells.filter(pl.col("key").is_in(list(found)))
    rows = rows.sort(pl.col("key").replace_strict(order, return_dtype=pl.Int64))
    keys = rows["key"].to_list()
    table = tables.readable(rows.select("key", "cell", *_axes(asked, rows), metric, "low", "high"), metric)
    cost = tables.numbers(often[key].cost for key in keys)
    seen = [next(iter(evidence.per_seed(key, f"val/{asked.metric}").values())) for key in keys]
    val = tables.scores((value, None, None) for value in seen)
    at = table.columns.index(metric)
    table.insert_column(at, pl.Series(asked.cost, cost)).insert_column(
        at + 1, pl.Series(f"val/{asked.metric}", val)
    )
    share = [f"{100 * often[key].frequency:.0f} %" for key in keys]
    return tables.rename(table.with_columns(pl.Series("front by test", share)), front_heads(asked))


def front_heads(asked: StudyRecord) -> dict[str, str]:
    """Column of the front's table -> its title."""
    metrics = (asked.cost, f"val/{asked.metric}", f"test/{asked.metric}")
    return {axis: naming.axis(axis, asked.says) for axis in asked.axes} | {
        name: tasks.head(name) for name in metrics if name
    }


def importance_table(asked: StudyRecord) -> pl.DataFrame:
    """A table of axes and their importances with intervals."""
    rows: Sequence[Mapping[str, object]] = asked.importances
    return pl.DataFrame(
        {
            "axis": [naming.axis(str(row["axis"]), asked.says) for row in rows],
            "importance": [
                "{share:.0f} % [{low:.0f}, {high:.0f}]".format(
                    **{name: 100 * float(str(row[name])) for name in ("share", "low", "high")}
                )
                for row in rows
            ],
        }
    )


def _axes(asked: StudyRecord, rows: pl.DataFrame) -> list[str]:
    return [axis for axis in asked.axes if axis in rows.columns]
