"""Planned looks keep the error at 5 %; looking again and again does not."""

import numpy as np
import pytest
from stats_worlds import STUDIES, slack
from worlds import EQUAL, hits

from workbench.errors import UserError
from workbench.stats import holm
from workbench.stats.components import estimate, p_values
from workbench.stats.looks import Look, Looks, error_bound, merge, standings

PLANNED = Looks({3: 0.01, 5: 0.015, 8: 0.025})


def look(seeds, plan="a"):
    return Look(seeds=tuple(range(seeds)), plan=plan)


def test_a_planned_look_has_its_alpha_and_another_none():
    assert [PLANNED.alpha(n) for n in (2, 3, 4, 5, 8)] == [None, 0.01, None, 0.015, 0.025]
    assert Looks({5: 0.05}).alpha(5) == 0.05


@pytest.mark.parametrize(
    ("spend", "said"),
    [
        ({}, "increasing numbers of seeds"),
        ({5: 0.02, 3: 0.02}, "increasing numbers of seeds"),
        ({1: 0.01, 3: 0.02}, "increasing numbers of seeds"),
        ({3.0: 0.01}, "increasing numbers of seeds"),
        ({3: 0.0, 5: 0.01}, "above 0"),
        ({3: 0.06}, "at most 0.05"),
        ({3: 0.03, 5: 0.03}, "at most 0.05"),
        ({3: float("nan")}, "above 0"),
    ],
)
def test_looks_that_cannot_be_are_refused(spend, said):
    with pytest.raises(UserError, match=said):
        Looks(spend)


def test_a_record_tells_planned_looks_from_others():
    record = (look(3), look(3), look(4), look(5), look(8))
    assert standings(record, PLANNED, "a") == ("planned", "repeated", "unplanned", "planned", "planned")


def test_the_alpha_of_a_look_is_spent_once():
    again = Look(seeds=(0, 1, 3), plan="a")
    assert standings((look(3), again), PLANNED, "a") == ("planned", "unplanned")


def test_seeds_that_were_seen_may_not_be_left_out():
    others = Look(seeds=(1, 2, 3, 4, 5), plan="a")
    assert standings((look(3), others), PLANNED, "a") == ("planned", "unplanned")
    assert standings((look(5), look(3)), PLANNED, "a") == ("planned", "unplanned")


def test_a_look_under_another_plan_is_not_planned_and_has_been_seen():
    assert standings((look(3, "b"), look(3)), PLANNED, "a") == ("unplanned", "unplanned")
    assert standings((look(3, "b"), look(5)), PLANNED, "a") == ("unplanned", "planned")


def test_records_merge_in_order_without_doubles():
    assert merge([(look(3), look(5)), (look(3), look(8))]) == (look(3), look(5), look(8))
    assert merge([]) == ()


def test_the_bound_adds_up_and_ends_at_one():
    assert [error_bound(n) for n in (1, 3, 30)] == pytest.approx([0.05, 0.15, 1.0])
    with pytest.raises(UserError, match="at least one look"):
        error_bound(0)


@pytest.mark.parametrize("seed_sd", [3.0, 6.0])
def test_looks_that_spend_keep_the_error_and_those_that_do_not_double_it(seed_sd):
    """One comparison and a family of 3 against one baseline, nothing differs, looks at 3, 5 and 8 seeds."""
    rng = np.random.default_rng([11, int(seed_sd)])
    p = {n: [] for n in PLANNED.spend}
    for (found,) in hits(rng, (EQUAL,) * 4, 8, seed_sd, clips=500):
        difference = found[:, 1:] - found[:, :1]
        for n in p:
            p[n].append(p_values(estimate(difference[:, :, :n], np.ones(500))))
    tables = {n: np.concatenate(parts) for n, parts in p.items()}
    rates = {}
    for name, judged in (("one", lambda t: t[:, :1]), ("family", holm)):
        for how, alpha in (("plain", lambda n: 0.05), ("spending", PLANNED.alpha)):
            claims = [(judged(table) < alpha(n)).any(-1) for n, table in tables.items()]
            rates[name, how] = np.mean(np.any(claims, axis=0))
    shown = ", ".join(f"{name} {how} {100 * rate:.1f} %" for (name, how), rate in rates.items())
    print(f"\nlooks at 3, 5 and 8 seeds, seed sd {seed_sd:.0f}: {shown}")
    assert rates["one", "spending"] <= 0.05 + slack(0.05)
    assert rates["family", "spending"] <= 0.05 + slack(0.05)
    assert rates["one", "plain"] > 0.05 + slack(0.05)
    assert rates["one", "plain"] <= error_bound(3)


SEQUENCES = {1: [3], 2: [3, 5], 3: [3, 5, 8], 5: [3, 5, 8, 12, 20], 8: range(3, 11), 18: range(3, 21)}


@pytest.mark.parametrize(
    ("looks", "stated"), [(1, 5.0), (2, 8.8), (3, 11.8), (5, 16.8), (8, 16.7), (18, 23.2)]
)
def test_unplanned_looks_cost_what_is_stated(looks, stated):
    """One comparison by a t test over seeds; the table in docs/statistics_validity.md."""
    studies = 20 * STUDIES
    x = np.random.default_rng(13).standard_normal((studies, 20))
    p = [p_values(estimate(x[:, :n, None], np.ones(1))) for n in SEQUENCES[looks]]
    rate = 100 * np.mean(np.min(p, axis=0) < 0.05)
    print(f"\n{looks} looks: {rate:.1f} %")
    assert rate == pytest.approx(stated, abs=100 * 2 * slack(stated / 100, studies))
