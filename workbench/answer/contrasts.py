"""Registered contrasts of a study, tested in their order: the mean of some cells minus the mean of others."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import ArrayLike

from workbench import naming, stats
from workbench.answer import sentences, wording
from workbench.answer.evidence import Evidence
from workbench.answer.study_record import StudyRecord
from workbench.errors import UserError


@dataclass(frozen=True, kw_only=True)
class Registered:
    """A registered contrast and its result."""

    text: str
    of: str
    """Its cells in words."""
    against: str
    comparison: stats.Comparison | None
    """`of` minus `against`; None if it cannot be computed yet."""
    why: str = ""
    """Why it cannot be computed yet."""
    after: str = ""
    """The contrast that is not significant, so that this one is not tested; empty if it is tested."""
    left_out: tuple[int, ...] = ()
    """Seeds that some of its cells have and others lack."""

    @property
    def claimed(self) -> bool:
        return self.comparison is not None and self.comparison.winner is not None

    @property
    def result(self) -> str:
        """The result in words: `significant: a is better`, `not significant` or `not tested, since ...`."""
        return sentences.contrast_result(self.comparison, self.why, self.after)

    @property
    def sentence(self) -> str:
        """One sentence, without a full stop."""
        return sentences.contrast(self.text, self.comparison, self.why, self.after)


def tested(
    asked: StudyRecord, evidence: Evidence, usable: Mapping[str, stats.Runs], alpha: float
) -> tuple[Registered, ...]:
    """Every contrast in its order, each at alpha; usable: key of a cell -> its runs that can be compared."""
    made = [_made(contrast, asked, evidence, usable) for contrast in asked.contrasts]
    judged = stats.adjust_in_order([contrast.comparison for contrast in made], alpha)
    found: list[Registered] = []
    failed = ""
    for contrast, comparison in zip(made, judged, strict=True):
        fields = vars(contrast) | {"comparison": comparison, "after": failed}
        found.append(Registered(**fields))
        if not failed and not found[-1].claimed:
            failed = contrast.text
    return tuple(found)


def by_claim(found: Sequence[Registered]) -> tuple[list[str], list[str]]:
    """Claims and other contrasts, as sentences without a full stop, in the order of the tests.

    One sentence at the end covers several contrasts that are not tested because of the same one.
    """
    claimed = [contrast.sentence for contrast in found if contrast.claimed]
    rest = [contrast.sentence for contrast in found if not contrast.claimed and not contrast.after]
    behind = [contrast for contrast in found if contrast.after]
    if len(behind) == 1:
        rest.append(behind[0].sentence)
    elif behind:
        rest.append(sentences.not_tested([contrast.text for contrast in behind], behind[0].after))
    return claimed, rest


def table(found: Sequence[Registered]) -> pl.DataFrame:
    """A row for each contrast, in words: text, both sides, difference with interval, p, result."""
    return pl.DataFrame(
        {
            "contrast": [contrast.text for contrast in found],
            "of": [contrast.of for contrast in found],
            "against": [contrast.against for contrast in found],
            "difference": [wording.difference_with_interval(contrast.comparison) for contrast in found],
            "p": [_p(contrast.comparison) for contrast in found],
            "result": [contrast.result for contrast in found],
        }
    )


def exact(found: Sequence[Registered]) -> pl.DataFrame:
    """All digits: the difference with its interval and its level, p before and after the fixed order."""
    rows = []
    for i, contrast in enumerate(found, 1):
        c = contrast.comparison
        shown = None if c is None else c.shown
        limits = (None, None, None) if shown is None else (shown.low, shown.high, shown.level)
        numbers = (None, None, None) if c is None else (c.effect, c.p, c.p_adjusted)
        seeds = 0 if c is None else len(c.seeds)
        rows.append(
            (i, contrast.text, contrast.of, contrast.against, seeds, *numbers, *limits, contrast.result)
        )
    names = ("effect", "p", "p_adjusted", "low", "high", "level")
    schema: dict[str, Any] = {"order": pl.Int64(), "contrast": pl.String(), "of": pl.String()}
    schema |= {"against": pl.String(), "seeds": pl.Int64()} | dict.fromkeys(names, pl.Float64())
    return pl.DataFrame(rows, schema=schema | {"result": pl.String()}, orient="row")


def _made(
    contrast: Mapping[str, Any], asked: StudyRecord, evidence: Evidence, usable: Mapping[str, stats.Runs]
) -> Registered:
    sides = [contrast[side]["cells"] for side in ("of", "against")]
    names = [naming.cell(contrast[side]["axes"], asked.says) or "all cells" for side in ("of", "against")]
    fields: dict[str, Any] = {"text": contrast["text"], "of": names[0], "against": names[1]}
    keys = [key for side in sides for key in side]
    if missing := [key for key in keys if key not in usable]:
        why = evidence.refused.get(missing[0], "it has no complete run")
        label = asked.labels.get(missing[0], missing[0])
        return Registered(**fields, comparison=None, why=f"{label}: {why}")
    every = [set(usable[key]) for key in keys]
    seeds, some = sorted(set.intersection(*every)), set.union(*every)
    fields["left_out"] = tuple(sorted(some - set(seeds)))
    if not seeds:
        return Registered(
            **fields, comparison=None, why=f"no seed is complete in all {len(keys)} of its cells"
        )
    of, against = ({s: _mean([usable[key][s] for key in side]) for s in seeds} for side in sides)
    try:
        comparison = stats.compare(
            of, against, groups=evidence.groups, names=(names[0], names[1]), unit=asked.measure.in_units,
            higher_is_better=asked.maximize, reach=asked.measure.reach,
        )  # fmt: skip
    except UserError as error:
        return Registered(**fields, comparison=None, why=str(error))
    return Registered(**fields, comparison=comparison)


def _mean(runs: Sequence[ArrayLike]) -> np.ndarray:
    """[Q], what each query contributes on average over cells."""
    return np.stack([np.asarray(values, dtype=float) for values in runs]).mean(0)


def _p(c: stats.Comparison | None) -> str:
    return "" if c is None else wording.p_value(c.p_adjusted)
