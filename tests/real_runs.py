"""Real small runs in this process, over stores that were written by hand."""

from collections.abc import Mapping

from small import run_config

from workbench.config import DataConfig, RunConfig
from workbench.data.store import FrameStore
from workbench.tracking.run_dir import RunDir
from workbench.train import run as module


def real_run(monkeypatch, results, config: RunConfig, stores: FrameStore | Mapping[DataConfig, FrameStore]):
    """A run directory below `results` in which `python -m workbench.train` ran, and its exit code."""
    known = {config.data: stores} if isinstance(stores, FrameStore) else stores
    monkeypatch.setattr(module, "_store", lambda data, root: known[data])
    monkeypatch.setattr(module.signal, "signal", lambda number, handler: None)
    run = RunDir.of(results, "test", config.key(), config.seed)
    run.create()
    run.write_config(config)
    return run, module.main([str(run.path), "--device", "cpu", "--data-root", str(results)])


def quick(recipe="mac", **changes):
    return run_config(recipe, steps=2, evaluations=1, **changes)
