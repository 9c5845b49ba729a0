"""Importances find the axis that matters, say how sure they are, and keep silent about few trials."""

import subprocess
import sys

import numpy as np
import optuna
import pytest
from optuna.distributions import CategoricalDistribution, FloatDistribution
from optuna.study import StudyDirection

from workbench.study.importance import MIN_TRIALS, importances

MAXIMIZE, MINIMIZE = StudyDirection.MAXIMIZE, StudyDirection.MINIMIZE
SPACE = {"lr": FloatDistribution(1e-4, 1e-2, log=True), "size": CategoricalDistribution(["s", "m", "l"])}


def trials(count, values):
    """Trials at random places; `values` of (lr, size, rng)."""
    rng = np.random.default_rng(1)
    out = []
    for _ in range(count):
        lr, size = float(10 ** rng.uniform(-4, -2)), str(rng.choice(["s", "m", "l"]))
        params, space = {"lr": lr, "size": size}, dict(SPACE)
        if size == "l":
            params["depth"], space["depth"] = int(rng.integers(2)), CategoricalDistribution([0, 1])
        out.append(
            optuna.trial.create_trial(params=params, distributions=space, values=values(lr, size, rng))
        )
    return out


def quality(lr, size, rng):
    return [-((np.log10(lr) + 3) ** 2) * 30 + rng.normal()]


def test_the_axis_that_decides_comes_first_with_an_interval_around_its_share():
    found = importances(trials(60, quality), [MAXIMIZE], resamples=40)
    assert found["trials"] == 60
    first = found["axes"][0]
    assert first["axis"] == "lr"
    assert first["share"] > 0.7
    assert first["low"] <= first["share"] <= first["high"] <= 1
    assert {row["axis"] for row in found["axes"]} == {"lr", "size", "depth"}, "conditional axes as well"
    assert sum(row["share"] for row in found["axes"]) == pytest.approx(1)
    assert found == importances(trials(60, quality), [MAXIMIZE], resamples=40), "no luck in it"


def test_of_a_front_what_matters_is_being_near_it():
    def both(lr, size, rng):
        return [quality(lr, size, rng)[0], 1.0 + rng.uniform() / 100]

    found = importances(trials(60, both), [MAXIMIZE, MINIMIZE], resamples=10)
    assert found["axes"][0]["axis"] == "lr"


def test_few_trials_tell_nothing_and_pruned_ones_do_not_count():
    few = trials(MIN_TRIALS - 1, quality)
    pruned = optuna.trial.create_trial(
        state=optuna.trial.TrialState.PRUNED, params={"lr": 1e-3, "size": "s"}, distributions=SPACE
    )
    assert importances([*few, pruned], [MAXIMIZE]) is None
    assert importances(trials(MIN_TRIALS, quality), [MAXIMIZE], resamples=3) is not None


def test_looking_at_a_study_does_not_wait_for_what_computes_importances():
    code = "import sys, workbench.study.search; print('sklearn' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
