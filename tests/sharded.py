"""Small clips and shards for tests."""

from __future__ import annotations

import csv
import io
import tarfile
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from workbench.data.decode import encode

COUNTS = {"train": 24, "val": 3, "test": 4}


def own_folder(path: Path, counts: dict[str, int] = COUNTS) -> Path:
    """A folder with captions.csv; no two clips look alike, every third has two captions."""
    path.mkdir()
    rows = [("video", "caption", "split")]
    splits = [split for split, count in counts.items() for _ in range(count)]
    for number, split in enumerate(splits):
        frames = np.full((8, 32, 32, 3), 20 + 6 * number, np.uint8)
        frames[:, : 4 + number % 20, :8] = np.arange(8, dtype=np.uint8)[:, None, None, None] * 30
        encode(path / f"{number:02d}.mp4", frames, rate=8, crf=10)
        for caption in range(1 + (number % 3 == 0)):
            rows.append((f"{number:02d}.mp4", f"clip number {number} said {'once' * (caption + 1)}", split))
    with open(path / "captions.csv", "w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows(rows)
    return path


def tar_of(files: Iterable[tuple[str, bytes]]) -> bytes:
    """The content of a tar file."""
    whole = io.BytesIO()
    with tarfile.open(fileobj=whole, mode="w") as tar:
        for name, content in files:
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return whole.getvalue()


def samples(count: int, first: int = 0) -> list[tuple[str, bytes]]:
    """Files of so many samples, which have captions and what is no video."""
    return [
        (f"{number:05d}.{ending}", content)
        for number in range(first, first + count)
        for ending, content in (("mp4", bytes([number]) * (600 + number)), ("txt", f"clip {number}".encode()))
    ]
