"""How much of a decoder's speed is left when clips are decoded as the workbench does? Ratios, in one run.

    python benchmarks/decode.py [--clips 200] [--side 96] [--workers 2] [--rounds 3]

Decodes the same H.264 files with decord and with PyAV over several processes: by the bare library (open, take
the frames at the centres of equal intervals, scale), and as the workbench does, which also looks whether the
file can be trusted, hands the frames to another process, and survives a decoder that hangs; from files and
from a shard. The ways take turns. A library that is not installed is named and left out.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from workbench.data import decode
from workbench.data.sampling import centre_frames
from workbench.data.shards.scan import scan
from workbench.data.shards.write import shard
from workbench.data.workers import Crew, usable_cores

FRAMES, SIZE = 8, 64
LONG = 32
"""Frames of a file."""


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--clips", type=int, default=200)
    parser.add_argument("--side", type=int, default=96, help="of the frames in the files, in pixels")
    parser.add_argument("--workers", type=int, default=usable_cores())
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    # The processes that decode import what is measured from this file.
    os.environ["PYTHONPATH"] = os.pathsep.join([str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")])
    libraries = {}
    for name, module in (("decord", "decord"), ("pyav", "av")):
        if importlib.util.find_spec(module):
            libraries[name] = f"decode:bare_{name}", f"decode:ours_{name}"
        else:
            print(f"{name} is not installed, so that nothing is measured of it: pip install {module}")
    with tempfile.TemporaryDirectory() as folder:
        tasks = _made(Path(folder), options.clips, options.side)
        files = f"{options.clips} files of {LONG} frames of {options.side} pixels"
        print(f"{files}, {FRAMES} of {SIZE} are taken, {options.workers} processes")
        print(f"{'':8} {'bare/s':>8} {'files/s':>8} {'ratio':>6} {'shard/s':>8} {'ratio':>6}")
        for name, (bare, ours) in libraries.items():
            ways = {"bare": (bare, "file"), "file": (ours, "file"), "shard": (ours, "shard")}
            crews = {way: Crew(function, options.workers, 60.0) for way, (function, _) in ways.items()}
            speeds: dict[str, list[float]] = {way: [] for way in ways}
            for round_ in range(options.rounds + 1):
                for way, (_, kind) in ways.items():
                    start = time.perf_counter()
                    done = list(crews[way].run(enumerate(tasks[kind])))
                    if bad := [one.failure or one.answer.get("reason") for one in done if not _right(one)]:
                        raise SystemExit(f"{name}, {way}: {bad[0]}")
                    if round_:  # the first one starts the processes
                        speeds[way].append(len(done) / (time.perf_counter() - start))
            for crew in crews.values():
                crew.close()
            found = {way: statistics.median(speed) for way, speed in speeds.items()}
            cells = [f"{found[way]:8.0f} {found[way] / found['bare']:6.2f}" for way in ("file", "shard")]
            print(f"{name:8} {found['bare']:8.0f} {' '.join(cells)}")


def _right(done: Any) -> bool:
    return not (done.failure or done.answer.get("reason"))


def _made(folder: Path, clips: int, side: int) -> dict[str, list[dict[str, Any]]]:
    """The same clips as files and in shards, as tasks of a decoder."""
    rng = np.random.default_rng(0)
    rows = ["video,caption,split"]
    for number in range(clips):
        frames = np.full((LONG, side, side, 3), rng.integers(0, 200, 3), np.uint8)
        for i in range(LONG):  # a square that moves over a plain wall
            left = (number + 2 * i) % (side // 2)
            frames[i, left : left + side // 4, left : left + side // 4] = 255
        decode.encode(folder / f"{number:04d}.mp4", frames, rate=8, crf=20)
        rows.append(
            f"{number:04d}.mp4,clip {number},{'test' if number < 1 else 'val' if number < 2 else 'train'}"
        )
    (folder / "captions.csv").write_text("\n".join(rows) + "\n", encoding="utf-8")
    shard(str(folder), folder / "set", clips=clips, progress=False)
    size = {"count": FRAMES, "size": SIZE}
    members = [
        {"member": [str(tar), sample.offset, sample.size], **size}
        for tar in sorted((folder / "set").glob("*.tar"))
        for sample in scan(str(tar))
    ]
    files = [{"path": str(path), **size} for path in sorted(folder.glob("*.mp4"))]
    return {"file": files, "shard": members}


def bare_decord(task: dict[str, Any]) -> tuple[dict[str, Any], bytes]:
    """The frames by decord alone, which stay where they are."""
    import decord

    reader = decord.VideoReader(task["path"], ctx=decord.cpu(0), num_threads=1)
    frames = reader.get_batch(centre_frames(len(reader), task["count"])).asnumpy()
    return {"shape": _scaled(frames, task)}, b""


def bare_pyav(task: dict[str, Any]) -> tuple[dict[str, Any], bytes]:
    """The frames by PyAV alone, which stay where they are."""
    import av

    with av.open(task["path"]) as container:
        stream = container.streams.video[0]
        stream.codec_context.thread_count = 1  # more of them only cost time where each core has a process
        wanted = centre_frames(stream.frames, task["count"])
        frames = [
            frame.to_ndarray(format="rgb24", threads=1)
            for number, frame in enumerate(container.decode(video=0))
            if number in wanted
        ]
    return {"shape": _scaled(np.stack(frames), task)}, b""


def _scaled(frames: np.ndarray, task: dict[str, Any]) -> list[int]:
    return list(np.stack([decode.fit(frame, task["size"]) for frame in frames]).shape)


def ours_decord(task: dict[str, Any]) -> tuple[dict[str, Any], bytes]:
    """As the workbench decodes."""
    from workbench.data.shards.members import decode_task

    return decode_task(task)


def ours_pyav(task: dict[str, Any]) -> tuple[dict[str, Any], bytes]:
    """As the workbench decodes where there is no decord."""
    decode.decord = None
    return ours_decord(task)


if __name__ == "__main__":
    main()
