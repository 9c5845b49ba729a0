"""Are 20,000 clips streamed within bounds? Memory, every clip once, a resume, and three speeds.

    python benchmarks/stream_shards.py [--clips 22000] [--different 300] [--decoders 2] [--folder DIR]

Draws some clips of the drawn world as real H.264 files, repeats them in shards until there are as many as
wanted, of which 1,000 become val and 1,000 test, and streams one epoch of the others through the loader of
training. Then another loader begins in the middle, as a resume does, with one more decoding process.
Memory is the sum of the largest that this process and each decoding process has held; the bar is 2 GB.
"""

from __future__ import annotations

import argparse
import io
import os
import tarfile
import tempfile
import time
from dataclasses import replace
from itertools import islice
from pathlib import Path

import numpy as np

from workbench.config import DataConfig
from workbench.data import describe, load, prepare, read_index
from workbench.data.loader import Loader
from workbench.data.shards.streamed import DECODERS
from workbench.data.store import FrameStore
from workbench.data.workers import usable_cores
from workbench.models.text import TextConfig, vocabulary

SHARD, BATCH = 1000, 125


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--clips", type=int, default=22_000)
    parser.add_argument("--different", type=int, default=300)
    parser.add_argument("--decoders", type=int, default=usable_cores())
    parser.add_argument("--steps", type=int, default=0, help="stop after so many; 0 for a whole epoch")
    parser.add_argument(
        "--folder", type=Path, help="where shards are made and kept; a temporary one otherwise"
    )
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.folder or Path(temporary)
        if not (folder / "set").is_dir():
            start = time.perf_counter()
            _make(folder, options.clips, options.different)
            print(f"made {options.clips} clips in {time.perf_counter() - start:.0f} s", flush=True)
        _stream(folder, options.decoders, options.steps)


def _make(folder: Path, clips: int, different: int) -> None:
    """Shards in WebDataset's layout, as any program makes them, without splits."""
    drawn = DataConfig(name="moving_shapes", clips=different)
    index = read_index(drawn, None)
    few = [clip for clip in index.clips if clip.split == "train"]
    module = load("moving_shapes")
    videos = module.videos(replace(index, clips=tuple(few)), None, folder, False)
    files = [((videos / clip.path).read_bytes(), clip.captions[0]) for clip in few]
    (folder / "set").mkdir()
    for first in range(0, clips, SHARD):
        with tarfile.open(folder / "set" / f"{first // SHARD:06d}.tar", "w") as tar:
            for number in range(first, min(first + SHARD, clips)):
                content, caption = files[number % len(files)]
                for ending, part in (("mp4", content), ("txt", f"{caption} {number}".encode())):
                    member = tarfile.TarInfo(f"{number:08d}.{ending}")
                    member.size = len(part)
                    tar.addfile(member, io.BytesIO(part))


def _stream(folder: Path, decoders: int, most: int) -> None:
    data = DataConfig(name="shards")
    for what in ("indexed", "from what is kept of it"):
        start = time.perf_counter()
        described = describe(data, str(folder / "set"), root=folder)
        print(
            f"{what}: {described.train_clips} training clips, {time.perf_counter() - start:.1f} s", flush=True
        )
    path = prepare(described.data, source=str(folder / "set"), root=folder, progress=False)
    os.environ[DECODERS] = str(decoders)
    loader = _loader(path)
    steps = min(most or loader.per_epoch, loader.per_epoch)
    seen, middle = [], steps // 2
    start = time.perf_counter()
    for batch in islice(loader.batches(0), steps):
        seen.append(batch.index.numpy())
    seconds = time.perf_counter() - start
    every = np.concatenate(seen)
    once = len(np.unique(every)) == len(every) == steps * BATCH
    assert loader.streamed is not None
    speeds = loader.streamed.throughput()
    own, *others = _peaks()
    loader.streamed.close()
    os.environ[DECODERS] = str(decoders + 1)
    later = _loader(path)
    resumed = [batch.index.numpy() for batch in islice(later.batches(middle), 2)]
    same = all(np.array_equal(*pair) for pair in zip(resumed, seen[middle : middle + 2], strict=True))
    alone = [f"{what} alone {speeds[f'speed/{what}_clips_per_s']:.0f}" for what in ("read", "decode")]
    print(f"{len(every)} clips in {seconds:.0f} s, {len(every) / seconds:.0f} a second; {', '.join(alone)}")
    print(
        f"every clip once in the {steps} steps: {once}; resumed at step {middle} with the same clips: {same}"
    )
    memory = own + sum(others)
    each = ", ".join(f"{other:.2f}" for other in others)
    print(f"peak memory {memory:.2f} GB ({own:.2f} here, {each} in the decoding processes)")
    if not (once and same and memory < 2):
        raise SystemExit(1)


def _peaks() -> list[float]:
    """The largest memory in GB that this process and each of its children has held."""
    own = os.getpid()
    threads = Path(f"/proc/{own}/task").iterdir()
    children = [child for one in threads for child in (one / "children").read_text(encoding="ascii").split()]
    found = []
    for process in (str(own), *children):
        lines = Path(f"/proc/{process}/status").read_text(encoding="ascii").splitlines()
        found += [int(line.split()[1]) * 1024 / 1e9 for line in lines if line.startswith("VmHWM:")]
    return found


def _loader(path: Path) -> Loader:
    store = FrameStore.open(path)
    captions = store.splits["train"].captions
    text = vocabulary(captions, TextConfig(width=32, depth=1, heads=2)).encode(captions)
    return Loader(store, text, batch_size=BATCH, seed=0)


if __name__ == "__main__":
    main()
