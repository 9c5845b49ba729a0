"""What limits an answer: every gate of `workbench.stats.gates`, given the study's runs."""

from __future__ import annotations

from collections.abc import Mapping

import polars as pl

from workbench import stats, tables
from workbench.answer import search
from workbench.answer.asked import Asked
from workbench.answer.evidence import Evidence
from workbench.stats import gates

CODE = ("commit", "dirty", "torch")


def limits(
    asked: Asked, evidence: Evidence, told: str | None,
    comparisons: Mapping[str, stats.Comparison], refused: Mapping[str, str],
) -> list[str]:  # fmt: skip
    """Sentences: the comparison behind the answer (`told`, a key) first, then the table as a whole."""
    found: list[str] = []
    if told is not None and told in comparisons:
        found += gates.comparison_gates(comparisons[told])
        diffs = {asked.labels[key]: _differing(asked, key) for key in comparisons}
        found += gates.confounded(asked.labels[told], diffs, _settings(asked, evidence, told))
    if asked.search:
        found += search.gates(asked, evidence)
    else:
        found += [f"{asked.labels[key]} is not compared: {why}." for key, why in refused.items()]
        found += _unequal_budgets(asked, evidence.done)
        found += _missing(asked, evidence)
    facts = {
        row["run"]: {fact: row.get(f"env.{fact}", "unknown") for fact in (*gates.HARDWARE, *CODE)}
        for row in evidence.done.iter_rows(named=True)
    }
    found += gates.unequal_hardware(facts)
    found += gates.unequal_code({run: _code(mine) for run, mine in facts.items()})
    if evidence.others:
        belong = "run of this study belongs" if evidence.others == 1 else "runs of this study belong"
        text = f"{evidence.others} complete {belong} to other plans"
        found.append(f"{text} (budget, data or study file differ).")
    return found


def _missing(asked: Asked, evidence: Evidence) -> list[str]:
    done, lost = evidence.done, evidence.runs.filter(pl.col("state").is_in(["failed", "unreadable"]))
    label = asked.labels
    failed: dict[str, dict[int, str]] = {}
    for row in lost.iter_rows(named=True):
        key, _, seed = row["run"].rpartition("-s")  # an unreadable run has no other columns
        reason = next(iter((row["reason"] or row["failure"] or "").splitlines()), "")[:200]
        failed.setdefault(label[key], {})[int(seed)] = reason
    expected = dict.fromkeys(label.values(), asked.seeds)
    complete: dict[str, list[int]] = {name: [] for name in label.values()}
    for key, seed in done.select("key", "seed").iter_rows():
        complete[label[key]].append(seed)
    there = {name: seeds for name, seeds in complete.items() if seeds}
    return gates.missing_cells(expected, complete, failed) + gates.unequal_seeds(there)


def _differing(asked: Asked, key: str) -> list[str]:
    """Axes in which a compared cell differs from its baseline."""
    mine, base = asked.cells[key], asked.cells[_base(asked, key)]
    # An axis that exists only under a choice differs because of that choice, not besides it: where no words
    # are hidden there is nothing to say of which words, so hiding some is one difference, not three.
    return [axis for axis in mine if axis in base and mine[axis] != base[axis]]


def _settings(asked: Asked, evidence: Evidence, key: str) -> list[str]:
    """Settings of the configuration in which a compared cell differs from its baseline."""
    both = {name: name for name in (key, _base(asked, key))}
    found = tables.differences(evidence.runs.filter(pl.col("key").is_in(list(both))), both)
    return found["setting"].to_list()


def _base(asked: Asked, key: str) -> str:
    base = asked.base_of(key)
    assert base is not None  # what is compared has something that it is compared with
    return base


def _unequal_budgets(asked: Asked, done: pl.DataFrame) -> list[str]:
    """Budgets are to be equal among cells that are compared with each other."""
    places: dict[str, dict[str, str]] = {}
    for key, budget in _budgets(done).items():
        places.setdefault(asked.place(key), {})[asked.labels[key]] = budget
    found = [sentence for cells in places.values() for sentence in gates.unequal_budgets(cells)]
    if asked.within:
        apart = " and ".join(asked.within)
        found.append(f"Cells are compared only with those of the same {apart}; no other comparison is meant.")
    return found


def _budgets(done: pl.DataFrame) -> dict[str, str]:
    """Key of a cell -> its budget in words, summed over stages of one unit."""
    out = {}
    stages = [c.removesuffix(".budget.unit") for c in done.columns if c.endswith(".budget.unit")]
    for row in done.unique("key", maintain_order=True).iter_rows(named=True):
        total: dict[str, float] = {}
        for stage in stages:
            if (unit := row[f"{stage}.budget.unit"]) is not None:
                total[unit] = total.get(unit, 0.0) + float(row[f"{stage}.budget.amount"])
        out[row["key"]] = " + ".join(f"{amount:.6g} {unit}" for unit, amount in total.items())
    return out


def _code(facts: Mapping[str, object]) -> str:
    """The version of the code behind a run, in words."""
    commit = str(facts["commit"] or "unknown")
    changed = " with changes" if facts["dirty"] in (True, "true") else ""
    return f"commit {commit[:10]}{changed}, torch {facts['torch']}"
