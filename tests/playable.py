"""Clips and masks for synthetic studies, written by hand: a frame store of tiny clips, a picture a run."""

import io
import json

import numpy as np
from PIL import Image
from synthetic import QUERIES

from workbench.config import DataConfig
from workbench.data.store import store_path, write_record

DATA = DataConfig(name="random", digest="d" * 64, frames=3, size=8)


def make_playable(results, study):
    """Every query of the study's runs gets a clip of three frames, and every run the picture of its masks."""
    path = store_path(DATA, results / "data")
    if not path.exists():
        _write_store(path)
    picture = io.BytesIO()
    Image.new("RGB", (60, 20), "grey").save(picture, format="PNG")
    for folder in (results / "runs" / study).glob("*-s*"):
        config = json.loads((folder / "config.json").read_text())
        data = {"type": "config.DataConfig", "name": DATA.name, "digest": DATA.digest, "frames": DATA.frames,
                "size": DATA.size}  # fmt: skip
        (folder / "config.json").write_text(json.dumps(config | {"data": data}))
        (folder / "mask_preview.png").write_bytes(picture.getvalue())
        asked = np.array([f"q{i}" for i in range(QUERIES)])
        captions = np.array([f"caption <b>{i}</b>" for i in range(QUERIES)])
        np.savez(folder / "embeddings.npz", text_id=asked, caption=captions)
    return results


def _write_store(path):
    path.mkdir(parents=True)
    shape = (QUERIES, DATA.frames, DATA.size, DATA.size, 3)
    store = np.lib.format.open_memmap(path / "frames.npy", "w+", np.uint8, shape)
    store[:] = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    store.flush()
    clips = [
        {"id": f"c{i}", "split": "test", "captions": [f"caption <b>{i}</b>"], "attributes": {}}
        for i in range(QUERIES)
    ]
    record = {"name": DATA.name, "digest": DATA.digest, "decoder": "none", "clips": clips, "skipped": []}
    write_record(path, record | {"repeated_frames": 0, "frames_sha256": "0" * 64, "notes": []})
