"""Optuna's defaults change between versions: samplers get all their arguments, runs note the version."""

import inspect
import json
from types import SimpleNamespace

import optuna
import pytest
from support import run_dirs

from workbench.study.search import SearchLedger

LEAVING = {
    "TPESampler": "consider_prior prior_weight consider_magic_clip consider_endpoints gamma weights "
    "warn_independent_sampling constraints_func categorical_distance_func",
    "NSGAIISampler": "mutation swapping_prob constraints_func elite_population_selection_strategy "
    "child_generation_strategy after_trial_strategy",
}
"""Arguments that Optuna warns of, that choose code of one's own, or that a given one replaces."""


@pytest.mark.parametrize(("sampler", "name"), [("tpe", "TPESampler"), ("nsga2", "NSGAIISampler")])
def test_every_argument_of_a_sampler_is_written_out(sampler, name, monkeypatch, recwarn):
    given, real = {}, getattr(optuna.samplers, name)
    monkeypatch.setattr(optuna.samplers, name, lambda **options: given.update(options) or real(**options))
    study = SimpleNamespace(sampler=sampler, cost="cost/train_pflops")
    SearchLedger._sampler(SimpleNamespace(name="pareto", plan=SimpleNamespace(study=study)), 3)
    possible = set(inspect.signature(real.__init__).parameters) - {"self"}
    assert set(given) >= possible - set(LEAVING[name].split())
    assert [w for w in recwarn if issubclass(w.category, FutureWarning)] == []


def test_each_run_notes_the_version_that_queued_it(write_study, study):
    assert study(write_study(hidden=(0.0,))) == 0
    for run in run_dirs():
        assert json.loads((run.path / "run.json").read_text())["optuna"] == optuna.__version__
