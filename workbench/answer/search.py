"""What is particular to a search: the Pareto front, the axes' importances, and why its winner is no claim."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import polars as pl

from workbench import stats, tables
from workbench.answer.asked import Asked
from workbench.answer.evidence import Evidence


def front(asked: Asked, evidence: Evidence) -> tuple[str, ...]:
    """Keys on the Pareto front of cost and the metric on val, the cheapest first; test has no say.

    Trials that cannot be compared on test are left out; the gates name them.
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


def points(asked: Asked, evidence: Evidence, cost: str) -> dict[str, stats.ParetoPoint]:
    """Each complete trial as a point of cost and test metric; on the front is what val put there."""
    found = stats.pareto(*evidence.with_cost(cost), groups=evidence.groups, higher_is_better=asked.maximize)
    chosen = front(asked, evidence)
    return {key: replace(point, on_front=key in chosen) for key, point in found.items()}


def sentence(asked: Asked, evidence: Evidence, best: str, found: Sequence[str]) -> str:
    """The answer, which is a statement about these trials and no claim."""
    many = _trials(evidence.done.height)
    if found:
        ends = [found[0]] if len(found) == 1 else [found[0], found[-1]]
        said = " to ".join(_reached(asked, evidence, key) for key in ends)
        against = f"val/{asked.metric} against {asked.cost}"
        text = f"{len(found)} of {many} are on the Pareto front of {against}: {said}"
    else:
        text = f"Of {many}, {_reached(asked, evidence, best)} is best by val/{asked.metric}"
    return f"{text}. Selected on val among {many} with one seed each, this is no claim."


def gates(asked: Asked, evidence: Evidence) -> list[str]:
    """What limits the answer of a search."""
    found = [
        "The best of many trials is in part the luckiest, and one seed says nothing about others: to claim a "
        "difference, run the cells in question as an ablation with several seeds."
    ]
    state = dict(evidence.runs.group_by("state").agg(pl.len()).iter_rows())
    if pruned := state.get("pruned", 0):
        text = f"{_trials(pruned)} {'was' if pruned == 1 else 'were'} pruned, that is stopped for lagging"
        found.append(f"{text}; no table and no comparison has them.")
    lost = evidence.runs.filter(pl.col("state").is_in(["failed", "unreadable"]))
    for row in lost.iter_rows(named=True):
        reason = next(iter((row["reason"] or row["failure"] or "").splitlines()), "")[:200]
        found.append(f"{asked.labels[row['run'].rpartition('-s')[0]]} failed: {reason}.")
    found += [
        f"{asked.labels[key]} is left out of the front: {why}." for key, why in evidence.refused.items()
    ]
    if (left := asked.trials - evidence.done.height - pruned) > 0:
        found.append(f"{_trials(left)} of {asked.trials} not done; `{asked.command}` goes on.")
    if not asked.importances:
        found.append("Importances of the axes are computed at the end, from 20 complete trials on.")
    return found


def front_table(asked: Asked, evidence: Evidence, cells: pl.DataFrame, found: Sequence[str]) -> pl.DataFrame:
    """The front, the cheapest first: axes, cost, val, test with interval, how often on the front by test."""
    metric = f"test/{asked.metric}"
    often = points(asked, evidence, asked.cost)
    place = {key: i for i, key in enumerate(found)}
    rows = cells.filter(pl.col("key").is_in(list(found)))
    rows = rows.sort(pl.col("key").replace_strict(place, return_dtype=pl.Int64))
    keys = rows["key"].to_list()
    table = tables.readable(rows.select("key", "cell", *_axes(asked, rows), metric, "low", "high"), metric)
    cost = [tables.number(often[key].cost) for key in keys]
    val = [tables.number(next(iter(evidence.per_seed(key, f"val/{asked.metric}").values()))) for key in keys]
    at = table.columns.index(metric)
    table.insert_column(at, pl.Series(asked.cost, cost)).insert_column(
        at + 1, pl.Series(f"val/{asked.metric}", val)
    )
    share = [f"{100 * often[key].frequency:.0f} %" for key in keys]
    return table.with_columns(pl.Series("front by test", share))


FRONT_LEGEND = (
    "The front is chosen by val. Intervals are over the queries of test; FLOPs are counted, not sampled, and "
    "have none. Front by test: in how many resamples of the test queries the cell is on the front."
)


def importance_table(asked: Asked) -> pl.DataFrame:
    """Axis and its share with interval."""
    rows: Sequence[Mapping[str, object]] = asked.importances
    return pl.DataFrame(
        {
            "axis": [str(row["axis"]) for row in rows],
            "importance": [
                "{share:.0f} % [{low:.0f}, {high:.0f}]".format(
                    **{name: 100 * float(str(row[name])) for name in ("share", "low", "high")}
                )
                for row in rows
            ],
        }
    )


IMPORTANCE_LEGEND = (
    "Share of each axis in what sets the best quarter of the trials apart (PED-ANOVA), with 95 % bootstrap "
    "intervals over trials. It says where to look, not that a choice is better."
)


def _axes(asked: Asked, rows: pl.DataFrame) -> list[str]:
    return [axis for axis in asked.axes if axis in rows.columns]


def _reached(asked: Asked, evidence: Evidence, key: str) -> str:
    test = next(iter(evidence.per_seed(key, f"test/{asked.metric}").values()))
    text = f"{asked.labels[key]} (test/{asked.metric} {test:.1f}"
    if asked.cost:
        text += f" for {asked.cost} {tables.number(next(iter(evidence.per_seed(key, asked.cost).values())))}"
    return text + ")"


def _trials(count: int) -> str:
    return f"{count} trial{'' if count == 1 else 's'}"
