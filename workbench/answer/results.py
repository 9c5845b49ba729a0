"""The results of a study as far as they are known: cells, comparisons, a sentence, and its caveats."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import polars as pl

from workbench import stats, tables, tasks
from workbench.answer import caveats, contrasts, facts, search, sentences, wording
from workbench.answer.contrasts import Registered
from workbench.answer.effects import over_holes, refusal
from workbench.answer.evidence import Evidence, gather
from workbench.answer.scaling.curves import Scaling, curves
from workbench.answer.study_record import StudyRecord
from workbench.answer.validity import learning, looks
from workbench.answer.verdicts import Verdict, is_counted, judge, verdict_level
from workbench.errors import UserError
from workbench.stats.chance import FromChance
from workbench.stats.families import ALPHA
from workbench.stats.intervals import Kind


@dataclass(frozen=True, kw_only=True)
class Answer:
    """The answer of a study."""

    asked: StudyRecord
    evidence: Evidence
    cells: pl.DataFrame
    """One row a cell with complete runs, see `tables.cell_table`, in the order of the plan."""
    best: str | None
    """Key of the cell selected by val."""
    selected: tuple[str, ...]
    """Keys of the best cells by val: one, or one for each stratum of a study that compares within strata."""
    comparisons: Mapping[str, stats.Comparison]
    """Key -> that cell minus the baseline, adjusted together."""
    refused: Mapping[str, str]
    """Key -> why the cell is not compared with the baseline."""
    effects: stats.FactorEffects | None
    """Main effects and interactions, for a full grid of at least two axes; main effects over the cells that
    share levels where the grid has holes."""
    contrasts: tuple[Registered, ...]
    """The registered contrasts in the order of their tests; if there are any, only they can be claims."""
    family: stats.Family
    """The tests that are corrected together; empty if contrasts are registered."""
    verdicts: tuple[Verdict, ...]
    sentence: str
    front: tuple[str, ...]
    """Keys on the Pareto front by val of a search with a cost, the cheapest first."""
    caveats: tuple[str, ...]
    """Sentences on the limitations of the answer."""
    error: Kind = "seeds"
    """Kind of the cells' intervals; those of one seed are always over queries."""
    chance: FromChance | None = None
    """Comparison of the best cell with random ranks; None if their distribution is not known."""
    scaling: Scaling | None = None
    """Curves over the budget, for a study with an axis of budgets."""

    @property
    def metric(self) -> str:
        return f"test/{self.asked.metric}"

    @property
    def title(self) -> str:
        """Title of the metric, with its unit."""
        return tasks.title(self.metric)

    @property
    def guess(self) -> float | None:
        """The metric of a random guess, for figures; None if it is not known."""
        if self.chance is not None:
            return self.chance.expected
        column = f"metric.{self.metric}_chance"
        if self.asked.measure.chance is None and column in self.evidence.done.columns:
            measured: float | None = self.evidence.done[column].cast(pl.Float64).mean()  # type: ignore[assignment]
            return measured
        return self.asked.measure.chance

    @property
    def notes(self) -> dict[str, str]:
        """Key of a cell -> `selected`, `baseline`, `front`."""
        found = dict.fromkeys(self.front, "front")
        for key in self.selected:
            found[key] = "selected" + (", front" if key in found else "")
        for base in self.asked.bases:
            found[base] = "selected, baseline" if base in found else "baseline"
        return found

    @property
    def alone(self) -> frozenset[str]:
        """Keys of the cells whose difference has no interval over seeds, if others have one."""
        several = any(c.interval is not None for c in self.comparisons.values())
        return frozenset(key for key, c in self.comparisons.items() if several and c.interval is None)

    @property
    def verdict_level(self) -> float:
        """The level of the intervals on which verdicts rest."""
        return verdict_level(self.family)

    @property
    def contrasts_legend(self) -> str:
        """Legend of the table of contrasts."""
        return sentences.contrasts_legend([contrast.comparison for contrast in self.contrasts], self.title)

    @property
    def cells_vary(self) -> str:
        """Kind of the cells' intervals in words: "over seeds"."""
        return caveats.cells_vary(self.error, set(self.cells["seeds"].to_list()))

    def standing(self, key: str) -> str:
        """`better` or `worse` than the baseline if that is a claim, else empty."""
        c = self.comparisons.get(key)
        if c is None or c.winner is None:
            return ""
        return "better" if c.winner == c.a else "worse"


def answer(asked: StudyRecord, results: Path) -> Answer:
    """The answer from the complete runs of the plan. Cells are selected by val and reported by test."""
    return answer_of(asked, gather(asked, results))


def answer_of(asked: StudyRecord, evidence: Evidence, error: Kind = "seeds") -> Answer:
    """The answer from the evidence; error: kind of the cells' intervals."""
    usable = {key: runs for key, runs in evidence.values.items() if key not in evidence.refused}
    cells = _cells(asked, evidence, usable, error)
    spent = looks.alpha(asked, evidence)
    of_looks, alpha = looks.caveats(asked, evidence, spent), spent or ALPHA
    before = learning.learned(asked, evidence)
    tested = learning.of_those_that_train(asked, before.training, looks.tested(asked, evidence, spent))
    trained = {key: runs for key, runs in tested.values.items() if key not in tested.refused}
    if spent is None or asked.smoke:  # nothing is claimed
        asked = replace(asked, contrasts=(), claims=(), exploring=True)
    found, refused = _compare(asked, tested, trained)
    effects = _effects(asked, trained, evidence)
    comparisons, effects, family = _corrected(asked, found, effects, alpha)
    effects = effects or over_holes(asked, trained, evidence.groups)
    registered = contrasts.tested(asked, tested, trained, alpha)
    ranking = _by_val(asked, evidence.done)
    best = ranking[0] if ranking else None
    leading = {asked.stratum(key): key for key in reversed(ranking)}.values()
    selected = tuple(key for key in asked.cells if key in leading)
    # If the baseline itself is selected, the answer compares the next cell with it.
    bases = asked.bases
    told = next((key for key in ranking if key not in bases), None) if best in bases else best
    front = search.front(asked, evidence)
    said = (
        wording.search(asked, evidence, best, front)
        if asked.search and best is not None
        else wording.ablation(asked, evidence, selected, told, comparisons, refused)
    )
    if effects is not None and (on_average := sentences.effects(effects, asked.measure, asked.says)):
        said += f" {on_average}"
    if registered and selected:
        said = f"{sentences.contrasts(*contrasts.by_claim(registered), len(registered))} {said}"
    if before.nothing:
        said = f"{before.nothing} {said}"
    if asked.smoke:
        said = f"{caveats.SMOKE} {said}"
    if asked.note:
        said += f" {asked.note}"
    limits = [*before.caveats, *of_looks, *refusal(asked)]
    return Answer(
        asked=asked,
        evidence=evidence,
        cells=cells,
        best=best,
        selected=selected,
        comparisons=comparisons,
        refused=refused,
        effects=effects,
        contrasts=registered,
        family=family,
        verdicts=tuple(
            # Counted metrics are the same in every run, including those that are not tested.
            judge(claim, asked, evidence if is_counted(claim) else tested, comparisons, verdict_level(family))
            for claim in asked.claims
        ),
        front=front,
        sentence=said,
        caveats=(*facts.limiting(asked, evidence, told, registered, comparisons, refused), *limits),
        error=error,
        chance=before.best,
        scaling=curves(asked, evidence, trained),
    )


def _cells(
    asked: StudyRecord, evidence: Evidence, usable: Mapping[str, stats.Runs], error: Kind
) -> pl.DataFrame:
    bounds = (asked.measure.low, asked.measure.high)
    summaries = stats.summarise_cells(usable, evidence.groups, kind=error, bounds=bounds) if usable else {}
    intervals = {
        key: (found.interval.low, found.interval.high) if found.interval is not None else None
        for key, found in summaries.items()
    }
    table = tables.cell_table(evidence.done, asked.axes, f"test/{asked.metric}", asked.reads, intervals)
    order = {key: i for i, key in enumerate(asked.cells)}
    return table.sort(pl.col("key").replace_strict(order, return_dtype=pl.Int64))


def _by_val(asked: StudyRecord, done: pl.DataFrame) -> list[str]:
    """Keys of the cells, the best mean of the metric on val first; test is not used."""
    column = f"metric.val/{asked.metric}"
    if done.is_empty() or column not in done.columns:
        return []
    means = done.group_by("key", maintain_order=True).agg(pl.col(column).mean()).drop_nulls()
    return means.sort(column, descending=asked.maximize, maintain_order=True)["key"].to_list()


def _compare(
    asked: StudyRecord, evidence: Evidence, usable: Mapping[str, stats.Runs]
) -> tuple[dict[str, stats.Comparison], dict[str, str]]:
    """Uncorrected comparisons of cells with their baselines, and why other cells are left out."""
    refused, found = dict(evidence.refused), list[stats.Comparison]()
    bases = asked.bases
    for base in bases:
        arms = {key: runs for key, runs in usable.items() if key not in bases and asked.base_of(key) == base}
        if base not in usable:
            if base in evidence.refused:
                refused |= dict.fromkeys(arms, f"the baseline has no result: {evidence.refused[base]}")
            continue
        alone = {key for key, runs in arms.items() if not set(runs) & set(usable[base])}
        refused |= dict.fromkeys(alone, "shares no seed with the baseline, so the two cannot be paired")
        paired = {key: runs for key, runs in arms.items() if key not in alone}
        try:
            found += _against(asked, evidence, base, paired, usable[base])
        except UserError as error:
            refused |= dict.fromkeys(paired, str(error))
    keys = {label: key for key, label in asked.labels.items()}
    return {keys[c.a]: c for c in found}, refused


def _corrected(
    asked: StudyRecord,
    compared: Mapping[str, stats.Comparison],
    effects: stats.FactorEffects | None,
    alpha: float,
) -> tuple[dict[str, stats.Comparison], stats.FactorEffects | None, stats.Family]:
    """Corrects all tests of an answer as one family, whether or not its runs are done; without tests if
    contrasts are registered."""
    if asked.registered:
        return {key: c.untested() for key, c in compared.items()}, effects, stats.Family()
    family = stats.Family(
        comparisons=len(asked.cells) - len(asked.bases) if asked.bases else 0,
        effects=stats.distinct_tests(_grid(asked), asked.within),
        verdicts=sum(not is_counted(claim) for claim in asked.claims),
        alpha=alpha,
    )
    found, effects = stats.adjust_together(compared.values(), effects, family)
    return dict(zip(compared, found, strict=True)), effects, family


def _against(
    asked: StudyRecord, evidence: Evidence, base: str, arms: Mapping[str, stats.Runs], runs: stats.Runs
) -> Iterable[stats.Comparison]:
    """Arms against one baseline and its runs."""
    name, groups = asked.labels[base], evidence.groups
    cells = {label: arms[key] for label, key in sorted((asked.labels[key], key) for key in arms)}
    how = {"unit": asked.measure.in_units, "higher_is_better": asked.maximize, "reach": asked.measure.reach}

    def compared(some: Sequence[str]) -> dict[str, stats.Comparison]:
        chosen = {name: runs} | {arm: cells[arm] for arm in some}
        return stats.compare_family(chosen, name, groups=groups, **how)  # type: ignore[arg-type]

    if not cells:
        return ()
    return evidence.computed.of_each("compare_family", (name, runs, groups, how), cells, compared).values()


def _grid(asked: StudyRecord) -> dict[str, int]:
    """Number of levels of each axis that varies; empty where the cells are no full grid of at least two."""
    levels = {axis: {cell.get(axis) for cell in asked.cells.values()} for axis in asked.axes}
    varying = {axis: len(found) for axis, found in levels.items() if len(found) > 1}
    full = math.prod(varying.values()) == len(asked.cells) and not any(
        None in found for found in levels.values()
    )
    return varying if len(varying) > 1 and full and not asked.search else {}


def _effects(
    asked: StudyRecord, usable: Mapping[str, stats.Runs], evidence: Evidence
) -> stats.FactorEffects | None:
    """None where the cells are no full grid of at least two axes, or one of them is missing."""
    varying = list(_grid(asked))
    grid = {tuple(asked.cells[key].get(axis) for axis in varying): runs for key, runs in usable.items()}
    if not varying or len(usable) < len(asked.cells):
        return None
    groups, reach = evidence.groups, asked.measure.reach

    def averaged() -> stats.FactorEffects:
        return stats.factor_effects(grid, varying, groups=groups, reach=reach)  # type: ignore[arg-type]

    try:
        found = evidence.computed.of("factor_effects", (grid, varying, groups, reach), averaged)
    except UserError:  # no common seed: the caveats name the missing runs
        return None
    # Axes of `within` have no main effects, but their interactions with other axes are of interest.
    return replace(found, effects=tuple(e for e in found.effects if not set(e.factors) <= set(asked.within)))
