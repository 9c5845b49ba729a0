"""The sentences on effects over a grid, on verdicts, and on registered contrasts.

Sentences on single comparisons and on the answer as a whole are in `workbench.answer.wording`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from workbench import naming, stats, tables
from workbench.answer import wording
from workbench.metrics import Metric
from workbench.stats.compare import LEVEL
from workbench.stats.families import ALPHA

MOST_LISTED = 4
"""Largest number of levels or pairs of levels that a sentence names."""

NO_INTERACTION = "No interaction of two axes is distinguishable after Holm."
ORDER_OF_CONTRASTS = (
    "Registered contrasts, tested in this order at the same level, up to the first that is not significant:"
)
LONE_CONTRAST = "The registered contrast, the only test of the study:"
BOTH_SIDES = "the interval reaches to both sides of the rule"


# Effects over a grid


def effects(found: stats.FactorEffects, measure: Metric, says: Mapping[str, str]) -> str:
    """A sentence on the effects of axes and on interactions; empty if nothing was tested.

    Nothing is tested with one seed or if contrasts are registered. says: axis -> wording of its choices, see
    `workbench.naming`.
    """
    if not found.tested or found.family is None:
        return ""
    distinct: dict[str, list[stats.Effect]] = {}
    for effect in found.of_one_axis:
        distinct.setdefault(effect.factors[0], []).extend([effect] if effect.distinguishable else [])
    parts = [
        f"{naming.axis(axis, says)} matters: {_largest(levels, says)}"
        for axis, levels in distinct.items()
        if levels
    ]
    if silent := [naming.axis(axis, says) for axis, levels in distinct.items() if not levels]:
        parts.append(f"no main effect of {' or '.join(silent)} is distinguishable")
    rest = ""
    if any(distinct.values()):
        told = next(e.claimed_interval for e in found.effects if e.claimed_interval is not None)
        rest = (
            f" ({_scale(measure)} from the mean of all cells, with {wording.percent(told.level)} intervals; "
            f"significant after Holm over {wording.family(found.family)})"
        )
    text = f"On average over the other choices, {'; '.join(parts)}{rest}."
    if joint := [effect for effect in found.of_two_axes if effect.distinguishable]:
        return f"{text} Beyond that, together: {_largest(joint, says)}."
    return f"{text} No interaction of two axes is distinguishable."


def effects_legend(found: stats.FactorEffects, measure: Metric) -> str:
    """Legend of a table of main effects, with the seeds used."""
    return (
        f"Mean of the cells with this choice minus the mean of {'those' if found.over else 'all'} cells, "
        f"{_scale(measure)}, "
        f"{effects_vary(found)}. {effects_seeds(found)}"
    )


def effects_vary(found: stats.FactorEffects) -> str:
    """The kind of the effects' intervals and p values: "with 95 % intervals over seeds; ..."."""
    if found.tested:
        kinds = {effect.interval.kind for effect in found.effects if effect.interval is not None}
        over = "seeds and queries" if "seeds+queries" in kinds else "seeds"
        if found.family is None:
            return f"with 95 % intervals over {over}, {wording.WITHOUT_CLAIMS}"
        limits = f"with 95 % intervals{wording.at_claims(found.effects)} over {over}"
        return f"{limits}; p after Holm over {wording.family(found.family)}"
    if len(found.seeds) == 1:
        return "one seed: no interval and no test"
    return f"{wording.WITHOUT_INTERVAL['repeated seeds']}: no interval and no test"


def effects_seeds(found: stats.FactorEffects) -> str:
    """The seeds that were used, and numbers of unused runs; before that, the cells that the effects of an
    incomplete grid are taken over."""
    seeds = ", ".join(map(str, found.seeds))
    said = "seed that all cells share is" if len(found.seeds) == 1 else "seeds that all cells share are"
    used = f"{_over_holes(found)}The {said} {seeds}"
    if not found.unused_seeds:
        return f"{used}."
    unused = sorted({seed for left in found.unused_seeds.values() for seed in left})
    runs = sum(len(left) for left in found.unused_seeds.values())
    return (
        f"{used}; left out {'was' if runs == 1 else 'were'} {runs} run{'' if runs == 1 else 's'} of seed"
        f"{'' if len(unused) == 1 else 's'} {', '.join(map(str, unused))}, which not every cell has."
    )


def _over_holes(found: stats.FactorEffects) -> str:
    """The cells that effects of an incomplete grid are taken over; empty for a full grid."""
    if not found.over:
        return ""
    parts = [
        f"{naming.axis(axis, {})} over {used} of {all_cells} cells"
        for axis, (used, all_cells) in found.over.items()
    ]
    return (
        "The grid has holes, so an effect is taken over the cells in which all choices of its axis stand "
        f"beside the same others: {', '.join(parts)}. "
    )


def _largest(effects: Sequence[stats.Effect], says: Mapping[str, str]) -> str:
    """The largest ones, with their intervals."""
    largest = sorted(effects, key=lambda effect: -abs(effect.effect))[:MOST_LISTED]
    more = f" and {len(effects) - len(largest)} more" if len(effects) > len(largest) else ""
    return ", ".join(f"{_levels(effect, says)} by {_size(effect)}" for effect in largest) + more


def _levels(effect: stats.Effect, says: Mapping[str, str]) -> str:
    pairs = list(zip(effect.factors, effect.levels, strict=True))
    if len(pairs) == 1 and pairs[0][0] not in says:
        return tables.number(pairs[0][1])
    return " with ".join(naming.choice(factor, level, says) for factor, level in pairs)


def _size(effect: stats.Effect) -> str:
    i = effect.shown
    return f"{effect.effect:+.1f}" + (f" ({i.low:+.1f} to {i.high:+.1f})" if i is not None else "")


def _scale(measure: Metric) -> str:
    """The scale in words: "in points of R@1", "in text-to-video median rank"."""
    return measure.in_units if measure.in_units.startswith("in ") else f"in {measure.in_units}"


# Verdicts


def verdict_rule(found: stats.Family, level: float) -> str:
    """The rule for verdicts, as a sentence."""
    text = (
        f"A claim holds when the whole {wording.percent(level)} interval of its figure satisfies the rule, "
        "does not hold when the whole interval fails it, and is open otherwise"
    )
    if found.size == 1:
        return f"{text}."
    together = wording.percent(1 - found.alpha)
    return f"{text}; that is {together} for all {wording.family(found)} of this answer together."


def verdict(text: str, verdict: str, reason: str, measured: str, paper: str, rule: str, level: float) -> str:
    """All of a verdict on one line, for the terminal and the dashboard."""
    why = f" ({reason})" if reason else ""
    return (
        f"{text}: {verdict}{why}; here {measured}, paper {paper}; "
        f"it holds when the whole {wording.percent(level)} interval is {rule}"
    )


# Registered contrasts


def contrast(text: str, c: stats.Comparison | None, why: str, after: str) -> str:
    """One sentence on a registered contrast, without a full stop."""
    if after or c is None:
        return f"{text}: {contrast_result(c, why, after)}"
    return f"{text}: {wording.signed(c)}"


def contrast_result(c: stats.Comparison | None, why: str, after: str) -> str:
    """The result of a registered contrast, in a few words."""
    if after:
        return f"not tested, since \u201c{after}\u201d is not significant"
    if c is None:
        return f"cannot be compared yet: {why}"
    if c.winner is None:
        return wording.ONE_SEED if c.outcome == "one seed" else "not significant"
    return f"significant: {c.winner} is better"


def not_tested(contrasts: Sequence[str], after: str) -> str:
    """One sentence on several contrasts that are not tested because an earlier one is not significant."""
    return f"{contrast_result(None, '', after)}: {'; '.join(contrasts)}"


def contrasts(claimed: Sequence[str], rest: Sequence[str], many: int) -> str:
    """The registered contrasts as the answer of a study: first the claims, then the others.

    claimed, rest: sentences without full stops, both in the order of the tests; many: number of contrasts.
    """
    if many == 1:
        return f"The registered contrast may {'' if claimed else 'not '}be claimed: {[*claimed, *rest][0]}."
    listed = f": {'; '.join(claimed)}" if claimed else ""
    text = (
        f"Of {many} registered contrasts, tested in their order, {len(claimed) or 'none'} may be "
        f"claimed{listed}."
    )
    return f"{text} Not claimed: {'; '.join(rest)}." if rest else text


def contrasts_legend(found: Sequence[stats.Comparison | None], metric: str) -> str:
    """Legend of a table of registered contrasts."""
    claimed = [c.claimed_interval for c in found if c is not None and c.claimed_interval is not None]
    alpha = next((c.family.alpha for c in found if c is not None and c.family is not None), ALPHA)
    text = (
        f"Difference of the means of {metric} between the cells of both sides, over the seeds that all "
        f"of them have. {'It' if len(found) == 1 else 'Each'} is tested at {wording.percent(alpha)}"
    )
    if len(found) > 1:
        text += (
            " in this order, up to the first that is not significant (fixed-sequence test); p is the largest "
            "so far"
        )
    if not claimed or claimed[0].level == LEVEL:
        return f"{text}. Intervals are at 95 %."
    level = wording.percent(claimed[0].level)
    return (
        f"{text}. Intervals are at 95 %, of claims at {level}, so that at most {wording.percent(alpha)} of "
        "the claims have one that misses the true difference; since the claim itself rests on p, such an "
        "interval may reach zero."
    )
