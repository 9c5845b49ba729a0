"""Importance of each axis for a search's best trials, with intervals over trials.

PED-ANOVA (arXiv:2304.10255; conditional axes arXiv:2601.20800) compares where the best quarter of the trials
lies with where all lie; of a search for a Pareto front the best quarter is that nearest to the front.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
import optuna
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState

MIN_TRIALS = 20
"""Complete trials below which importances would be noise: PED-ANOVA wants five in the best quarter."""
TARGET_QUANTILE = 0.25
RESAMPLES = 200


def importances(
    trials: Sequence[FrozenTrial], directions: Sequence[StudyDirection], resamples: int = RESAMPLES
) -> dict[str, Any] | None:
    """Share of each axis, summing to one, with its 95 % bootstrap interval; None below `MIN_TRIALS` trials.

    Returns:
        `{"trials": n, "axes": [{"axis", "share", "low", "high"}, ...]}`, the largest share first.
    """
    done = [trial for trial in trials if trial.state == TrialState.COMPLETE]
    if len(done) < MIN_TRIALS:
        return None
    names = sorted({name for trial in done for name in trial.params})
    rng = np.random.default_rng(0)
    shares = _shares(done, directions, names)
    drawn = np.array(
        [
            _shares([done[i] for i in rng.integers(len(done), size=len(done))], directions, names)
            for _ in range(resamples)
        ]
    )
    low, high = np.quantile(drawn, [0.025, 0.975], axis=0)
    rows = [
        {"axis": name, "share": float(shares[i]), "low": float(low[i]), "high": float(high[i])}
        for i, name in enumerate(names)
    ]
    return {"trials": len(done), "axes": sorted(rows, key=lambda row: -float(str(row["share"])))}


def _shares(trials: Sequence[FrozenTrial], directions: Sequence[StudyDirection], names: list[str]) -> Any:
    # It loads scikit-learn, for which whoever only looks at a study would wait a second.
    from optuna.importance import PedAnovaImportanceEvaluator, get_param_importances

    study = optuna.create_study(directions=list(directions))
    study.add_trials(trials)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of few trials under a choice: the intervals tell
        found = get_param_importances(
            study, evaluator=PedAnovaImportanceEvaluator(target_quantile=TARGET_QUANTILE), normalize=False
        )
    values = np.array([found.get(name, 0.0) for name in names])
    return values / values.sum() if values.sum() else np.full(len(names), 1 / len(names))
