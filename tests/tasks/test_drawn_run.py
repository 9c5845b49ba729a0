"""Real runs over a small drawn world: the tasks that ask what clips show, and other data that do not say."""

import numpy as np
import pytest
from real_runs import quick, real_run
from small import FRAMES, SIZE

from workbench.config import DataConfig
from workbench.data import describe, prepare
from workbench.data.store import FrameStore
from workbench.tasks import order, probe

OTHER = DataConfig(name="random", frames=FRAMES, size=SIZE)


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
    """A drawn world of 24 training clips, its configuration and its frame store."""
    data = describe(DataConfig(clips=24, frames=FRAMES, size=SIZE)).data
    return data, FrameStore.open(prepare(data, root=tmp_path_factory.mktemp("drawn"), progress=False))


@pytest.mark.parametrize("recipe", ["mac", "lavender"], ids=["embeds", "judges"])
def test_a_run_is_asked_for_order_and_probed(tmp_path, monkeypatch, drawn, store, recipe):
    data, own = drawn
    config = quick(recipe, data=data, evaluate_on=(OTHER,), tasks=("retrieval", "order", "probe"))
    run, code = real_run(monkeypatch, tmp_path, config, {data: own, OTHER: store})
    assert code == 0
    summary = run.read_json("summary.json")
    found = {name.removeprefix("test/") for name in summary if name.startswith("test/")}
    asked = {metric.name for metric in order.METRICS} | {metric.name for metric in probe.METRICS}
    # A fair part of few clips may have no class in common with those that are fitted, but all are asked.
    assert {name for name in asked if "label" not in name} <= found
    assert any(name.startswith("random:t2v") for name in found)
    assert not any(name.startswith(("random:order", "random:foils", "random:probe")) for name in found)
    for metric in (*order.METRICS, *probe.METRICS):
        if metric.queries is not None and metric.name in found:
            values, ids = run.read_arrays(metric.queries.file, metric.queries.values, metric.queries.ids)
            assert values.shape == ids.shape
            assert np.mean(values) == pytest.approx(summary[f"test/{metric.name}"])
            assert metric.low <= summary[f"test/{metric.name}"] <= metric.high
