"""Facts for the caveats of an answer: budgets, settings, machines and code of runs, and missing runs."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import polars as pl

from workbench import stats, tables
from workbench.answer import caveats
from workbench.answer.contrasts import Registered
from workbench.answer.evidence import Evidence
from workbench.answer.study_record import StudyRecord
from workbench.metrics import CORE_WAIT
from workbench.tracking.runs import MENDING, unknown_settings

CODE = ("commit", "dirty", "torch")


def limiting(
    asked: StudyRecord, evidence: Evidence, told: str | None, contrasts: Sequence[Registered],
    comparisons: Mapping[str, stats.Comparison], refused: Mapping[str, str],
) -> list[str]:  # fmt: skip
    """All caveats: those of the comparison behind the answer first, then those of the table as a whole.

    told: key of the cell that the answer compares with the baseline; contrasts: the registered contrasts,
    which make up the answer if there are any.
    """
    found: list[str] = []
    if asked.registered:
        found += _of_contrasts(asked, contrasts)
    elif told is not None and told in comparisons:
        found += caveats.of_comparison(comparisons[told], asked.measure.reach)
        axes = {asked.labels[key]: _differing_axes(asked, key) for key in comparisons}
        found += caveats.confounded(asked.labels[told], axes, _differing_settings(asked, evidence, told))
    if asked.search:
        found += _of_search(asked, evidence)
    else:
        found += [caveats.not_compared(asked.labels[key], why) for key, why in refused.items()]
        found += _unequal_budgets(asked, evidence.done)
        found += _missing(asked, evidence)
    known = [*caveats.HARDWARE, *CODE]
    rows = evidence.done.select("run", *(_column(evidence.done, f"env.{fact}", "unknown") for fact in known))
    facts = {run: dict(zip(known, values, strict=True)) for run, *values in rows.iter_rows()}
    found += caveats.unequal_hardware(facts)
    if any(name.startswith("speed/") for name in (*asked.reads, asked.cost)):
        rows = evidence.done.select("key", "seed", _column(evidence.done, f"metric.{CORE_WAIT}"))
        waits = {f"{asked.labels[key]} seed {seed}": wait for key, seed, wait in rows.iter_rows()}
        found += caveats.beside_other_work(waits)
    found += caveats.unequal_code({run: _version(mine) for run, mine in facts.items()})
    found += _unknown_settings(asked, evidence.done)
    found += _unequal_files(asked, evidence.done) + _unequal_frames(evidence.done)
    return found + caveats.other_plans(evidence.others, evidence.smoke_others)


def _of_contrasts(asked: StudyRecord, contrasts: Sequence[Registered]) -> list[str]:
    """Of each contrast the seeds that it leaves out; what the one that is not significant may have missed."""
    found = [s for contrast in contrasts for s in caveats.seeds_of_contrast(contrast.text, contrast.left_out)]
    failed = next((contrast for contrast in contrasts if not contrast.claimed), None)
    if failed is not None and failed.comparison is not None:
        found += caveats.of_comparison(failed.comparison, asked.measure.reach)
    return found


def _of_search(asked: StudyRecord, evidence: Evidence) -> list[str]:
    pruned = evidence.runs.filter(pl.col("state") == "pruned").height
    return caveats.of_search(
        pruned,
        {asked.labels[key]: why for key, _, why in _lost(evidence)},
        {asked.labels[key]: why for key, why in evidence.refused.items()},
        asked.trials - evidence.done.height - pruned,
        asked,
    )


def _missing(asked: StudyRecord, evidence: Evidence) -> list[str]:
    label = asked.labels
    failed: dict[str, dict[int, str]] = {}
    for key, seed, why in _lost(evidence):
        failed.setdefault(label[key], {})[seed] = why
    expected = dict.fromkeys(label.values(), asked.seeds)
    complete: dict[str, list[int]] = {name: [] for name in label.values()}
    for key, seed in evidence.done.select("key", "seed").iter_rows():
        complete[label[key]].append(seed)
    there = {name: seeds for name, seeds in complete.items() if seeds}
    return caveats.missing_runs(expected, complete, failed) + caveats.unequal_seeds(there)


def _lost(evidence: Evidence) -> list[tuple[str, int, str]]:
    """Key, seed and reason of each run that failed or cannot be read."""
    found = []
    for row in evidence.runs.filter(pl.col("state").is_in(["failed", "unreadable"])).iter_rows(named=True):
        key, _, seed = row["run"].rpartition("-s")  # an unreadable run has no other columns
        reason = next(iter((row["reason"] or row["failure"] or "").splitlines()), "")[:200]
        found.append((key, int(seed), f"{reason}; {MENDING}" if row["state"] == "unreadable" else reason))
    return found


def odd_records(asked: StudyRecord, evidence: Evidence) -> list[str]:
    """A sentence for each run whose record cannot be read, or has settings that are not known."""
    there = dict(evidence.runs.select("run", "state").iter_rows())
    lost = [
        f"{asked.labels[key]} seed {seed} failed: {why}."
        for key, seed, why in _lost(evidence)
        if there[f"{key}-s{seed}"] == "unreadable"
    ]
    return lost + _unknown_settings(asked, evidence.done)


def _unknown_settings(asked: StudyRecord, done: pl.DataFrame) -> list[str]:
    names = [name.removeprefix("config.") for name in done.columns if name.startswith("config.")]
    odd = [name for name in names if unknown_settings([name])]
    found = []
    for key, seed, *values in done.select("key", "seed", *(f"config.{name}" for name in odd)).iter_rows():
        own = [name for name, value in zip(odd, values, strict=True) if value is not None]
        if own:
            found.append(f"{asked.labels[key]} seed {seed}: {unknown_settings(own)}.")
    return found


def _differing_axes(asked: StudyRecord, key: str) -> list[str]:
    """Axes in which a compared cell differs from its baseline."""
    mine, base = asked.cells[key], asked.cells[_base(asked, key)]
    # An axis that exists only under a choice differs because of that choice, not besides it: where no words
    # are hidden there is nothing to say of which words, so hiding some is one difference, not three.
    return [axis for axis in mine if axis in base and mine[axis] != base[axis]]


def _differing_settings(asked: StudyRecord, evidence: Evidence, key: str) -> list[str]:
    """Settings of the configuration in which a compared cell differs from its baseline.

    One that only one of them has, of something that both have, is no difference by itself: it follows from
    another, as what only one kind of masking has, or its run is younger than the setting.
    """
    both = {name: name for name in (key, _base(asked, key))}
    runs = evidence.runs.filter(pl.col("key").is_in(list(both)))
    names = tables.differences(runs, both)["setting"].to_list()
    has = []
    for cell in both:
        own = runs.filter(pl.col("key") == cell).row(0, named=True)
        has.append({name.removeprefix("config.") for name, value in own.items() if value is not None})
    owners = [{name.rpartition(".")[0] for name in own} for own in has]
    return [
        name
        for name in names
        if all(name in own or name.rpartition(".")[0] not in of for own, of in zip(has, owners, strict=True))
    ]


def _base(asked: StudyRecord, key: str) -> str:
    base = asked.base_of(key)
    assert base is not None  # a compared cell has a baseline
    return base


def _unequal_budgets(asked: StudyRecord, done: pl.DataFrame) -> list[str]:
    """A caveat if cells that are compared with each other have unequal budgets."""
    strata: dict[str, dict[str, str]] = {}
    for key, budget in _budgets(done).items():
        strata.setdefault(asked.stratum(key), {})[asked.labels[key]] = budget
    found = [sentence for cells in strata.values() for sentence in caveats.unequal_budgets(cells)]
    return found + ([caveats.apart(asked.separating)] if asked.within else [])


def _budgets(done: pl.DataFrame) -> dict[str, str]:
    """Key of a cell -> its budget in words, summed over stages of one unit."""
    out = {}
    stages = [c.removesuffix(".budget.unit") for c in done.columns if c.endswith(".budget.unit")]
    parts = [f"{stage}.budget.{part}" for stage in stages for part in ("unit", "amount")]
    for row in done.unique("key", maintain_order=True).select("key", *parts).iter_rows(named=True):
        total: dict[str, float] = {}
        for stage in stages:
            if (unit := row[f"{stage}.budget.unit"]) is not None:
                total[unit] = total.get(unit, 0.0) + float(row[f"{stage}.budget.amount"])
        out[row["key"]] = " + ".join(f"{amount:.6g} {unit}" for unit, amount in total.items())
    return out


def _unequal_files(asked: StudyRecord, done: pl.DataFrame) -> list[str]:
    """Files of the user's own of which runs had different versions, see `workbench.extensions.facts`."""
    digests: dict[str, Counter[str]] = {}
    changed = []
    names = [name for name in ("env.own", "env.earlier") if name in done.columns]
    for row in done.select("key", "seed", *names).iter_rows(named=True) if names else ():
        own = str(row.get("env.own") or "")
        for part in filter(None, own.split(", ")):
            file, _, digest = part.rpartition(" ")
            digests.setdefault(file, Counter())[digest] += 1
        begun = [str(one.get("own", "")) for one in _listed(row.get("env.earlier"))]
        if any(before and before != own for before in begun):
            changed.append(f"{asked.labels[row['key']]} seed {row['seed']}")
    found = [
        f"Runs were made by different versions of {file}, which may make a difference: {_counted(versions)}."
        for file, versions in sorted(digests.items())
        if len(versions) > 1
    ]
    if changed:
        runs = caveats.some(changed)
        found.append(f"Begun by one version of the user's own files and ended by another: {runs}.")
    return found


def _unequal_frames(done: pl.DataFrame) -> list[str]:
    """Data of the same content whose frames are not the same to the last bit."""
    kinds: dict[tuple[Any, ...], Counter[str]] = {}
    names = ("env.data", "env.data_digest", *(f"config.data.{part}" for part in ("frames", "size", "stored")))
    rows = done.select(*(_column(done, name) for name in ("env.frames_sha256", *names)))
    for digest, *kind in rows.iter_rows() if "env.frames_sha256" in done.columns else ():
        if digest:
            kinds.setdefault(tuple(kind), Counter())[str(digest)[:12]] += 1
    return [
        f"Runs read other frames of the same {data}, as of another decoder, which may make a difference: "
        f"{_counted(versions)}."
        for (data, *_), versions in kinds.items()
        if len(versions) > 1
    ]


def _column(table: pl.DataFrame, name: str, without: Any = None) -> pl.Expr:
    """A column of the run table; one value for all runs where no run has it."""
    return pl.col(name) if name in table.columns else pl.lit(without).alias(name)


def _counted(versions: Mapping[str, int]) -> str:
    return ", ".join(f"{name} ({n} run{'' if n == 1 else 's'})" for name, n in sorted(versions.items()))


def _listed(text: Any) -> list[dict[str, Any]]:
    """A list of objects as the run table has it; empty where a run has none."""
    try:
        found = json.loads(text) if isinstance(text, str) else []
    except ValueError:
        return []
    return [one for one in found if isinstance(one, dict)] if isinstance(found, list) else []


def _version(facts: Mapping[str, Any]) -> str:
    """The version of the code behind a run, in words."""
    commit = str(facts["commit"] or "unknown")
    changed = " with changes" if facts["dirty"] in (True, "true") else ""
    return f"commit {commit[:10]}{changed}, torch {facts['torch']}"
