"""Training data of a run and of the runs that it started from, compared with other data."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from workbench.config import DataConfig, RunConfig
from workbench.data.digests import NAME, Digests
from workbench.data.overlap import benchmark_of, overlap
from workbench.data.store import FrameStore, store_path
from workbench.errors import UserError
from workbench.tracking.run_dir import RunDir
from workbench.train.init_from import find_run


@dataclass
class Trained:
    """The training data of a run and of those that it started from."""

    data: list[DataConfig] = field(default_factory=list)
    """The data sets, each once."""
    missing: list[str] = field(default_factory=list)
    """Runs whose training data are not known."""


def training_data(run: RunDir, config: RunConfig) -> Trained:
    """Follows `init_from` through all runs."""
    found, seen = Trained(), set[Path]()

    def add(run: RunDir, config: RunConfig) -> None:
        seen.add(run.path.resolve())
        found.data += [one for one in config.training_data if one not in found.data]
        for start in config.init_from:
            try:
                other = find_run(start.run, run.path.resolve().parents[1])
                if other.path.resolve() not in seen:
                    add(other, other.config())
            except UserError:
                if start.run not in found.missing:
                    found.missing.append(start.run)

    add(run, config)
    return found


def compare(store: FrameStore, split: str, trained: Trained, root: Path) -> dict[str, Any]:
    """Overlap of data with the training data, as far as prepared clips and their files show.

    Returns: `clips`: number of clips of the split that were trained on; `related`: names of the training data
        that are of the same benchmark or have clips of these data, of whatever split; `unknown`: in words,
        what could not be compared.
    """
    digests = Digests(root / NAME)
    found = np.zeros(len(store.clip_ids), bool)
    related: list[str] = []
    unknown = [f"the run {name}, whose weights it started from, cannot be read" for name in trained.missing]
    for data in trained.data:
        alike = benchmark_of(data.name) == benchmark_of(store.name)
        if (data.name, data.digest) != (store.name, store.digest):  # else its own splits, which are apart
            try:
                both = overlap(store, FrameStore.open(store_path(data, root)), digests)
            except UserError:
                unknown.append(f"the prepared clips of {data.name} are not in {root}")
            else:
                found |= both.clips
                alike |= bool(both.clips.any())
                if not both.known:
                    unknown.append(f"files of {store.name} or {data.name} are gone")
        if alike and data.name not in related:
            related.append(data.name)
    digests.keep()
    return {
        "clips": int(found[np.unique(store.splits[split].clips)].sum()),
        "related": related,
        "unknown": list(dict.fromkeys(unknown)),
    }
