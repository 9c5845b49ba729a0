"""Each family of annotations over real clips: counts are right, the loss falls, training pairs are found."""

from __future__ import annotations

import shutil
from dataclasses import replace
from functools import partial
from pathlib import Path
from statistics import mean

import pytest
import torch
from benchmark_files import FORMS, IMAGES, folder_of, place_of
from PIL import Image
from small import run_config

from workbench.config import Budget, DataConfig, OptimConfig, Stage
from workbench.data import describe, prepare
from workbench.data.decode import decode
from workbench.data.store import FrameStore
from workbench.models.text import TextConfig
from workbench.recipes import mac
from workbench.study.stages import fitted
from workbench.tasks import retrieval
from workbench.tasks.gallery import Judged, gallery
from workbench.train.loop import train
from workbench.train.session import open_session

REAL = Path(__file__).parents[3] / "shared" / "data" / "clips"
FAMILIES = {
    family: (name, number)
    for name, forms in reversed(FORMS.items())
    for number, (family, _, _) in reversed(list(enumerate(forms)))
}
"""Family of annotation files -> the first of its forms."""
TINY = mac.Config(
    video=replace(mac.Config().video, width=32, depth=1, heads=2, patch=8, tubelet=2),
    text=TextConfig(width=32, depth=1, heads=2, max_tokens=64),
    video_masking=None,
    text_masking=None,
)


@pytest.fixture(scope="module")
def real() -> list[Path]:
    """As many clips as a form has, the smallest; no two of one size, which would be one clip twice."""
    sizes = {path.stat().st_size: path for path in sorted(REAL.rglob("*")) if path.is_file()}
    return [sizes[size] for size in sorted(sizes)[: len(IMAGES)]]


@pytest.mark.skipif(not REAL.is_dir(), reason="the real clips are not here")
@pytest.mark.parametrize("family", FAMILIES)
def test_a_family_on_real_clips_is_learned_by_heart(family: str, real: list[Path], tmp_path: Path) -> None:
    name, form = FAMILIES[family]
    clips = FORMS[name][form][1]
    source = folder_of(name, tmp_path / "set", form, empty=True)
    for clip, file in zip(clips, real, strict=False):
        target = source / place_of(clip.name, name)
        if target.suffix == ".jpg":
            Image.fromarray(decode(file, 1, 32)[0]).save(target)
        else:
            shutil.copyfile(file, target)
    config = run_config(
        TINY,
        data=DataConfig(name=name, frames=4, size=32),
        stages=(Stage(budget=Budget(unit="steps", amount=60)),),
        optim=OptimConfig(batch_size=6, lr=3e-3),
        evaluations=1,
    )
    config, _ = fitted(config, partial(describe, source=str(source)))
    data = describe(config.data, str(source)).data
    store = FrameStore.open(prepare(data, source=str(source), root=tmp_path / "root", progress=False))
    assert (len(store.clip_ids), store.skipped) == (len(clips), [])
    train_clips = len(set(store.splits["train"].groups))
    config = replace(config, data=data, optim=replace(config.optim, batch_size=train_clips))
    session = open_session(config, store, device=torch.device("cpu"), precision=torch.float32)
    losses = [row["train/vtc"] for _, row in train(session)]
    assert mean(losses[-5:]) < 0.5 * mean(losses[:5])
    session.recipe.eval()
    seen = gallery(store, "train", session.loader(config.stages[0]).parts[0].text, data)
    with torch.no_grad():
        found = retrieval.evaluate(Judged(session.recipe, seen)).values
    assert found["t2v_r1"] == found["v2t_r1"] == 100
