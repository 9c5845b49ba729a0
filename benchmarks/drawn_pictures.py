"""Draws pictures with five captions each, in Flickr8k's layout, for image-text retrieval without a download.

    python benchmarks/drawn_pictures.py DIR [--train 800] [--val 100] [--test 100]
    python -m workbench.study mac_claims --data flickr8k:DIR

JPEG files of 64 x 64 pixels: an actor of the drawn world before one of its backgrounds, in one of nine
places. No two pictures have colour, shape, place and background in common, so that each has captions of its
own; 3,456 are the most. `--test 1000` makes a test of 1,000 pictures.
"""

from __future__ import annotations

import argparse
import itertools
from pathlib import Path

import numpy as np
from PIL import Image

from workbench.data.benchmarks.flickr8k import LISTS, TOKENS
from workbench.data.moving_shapes import world
from workbench.data.moving_shapes.drawing import draw

PLACES = {
    (0, 0): "at the top left",
    (1, 0): "at the top",
    (2, 0): "at the top right",
    (0, 1): "on the left",
    (1, 1): "in the middle",
    (2, 1): "on the right",
    (0, 2): "at the bottom left",
    (1, 2): "at the bottom",
    (2, 2): "at the bottom right",
}
TEMPLATES = (
    "{a} {colour} {shape} {place} of {background} wall",
    "{a} {colour} {shape} on {background} background , {place}",
    "on {background} background {a} {colour} {shape} is {place}",
    "{place} there is {a} {colour} {shape} before {background} wall",
    "{place} of {background} picture stands {a} {colour} {shape}",
)
RADIUS, SPREAD = 10.0, 3.0
"""Radius of the actor, and its largest distance from the centre of its position, in pixels."""


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path)
    for split, count in (("train", 800), ("val", 100), ("test", 100)):
        parser.add_argument(f"--{split}", type=int, default=count, help="pictures")
    options = parser.parse_args()
    try:
        made = make(options.folder, {split: getattr(options, split) for split in LISTS})
    except ValueError as error:
        parser.error(str(error))
    print(f"{made} pictures, {made * len(TEMPLATES)} captions: {options.folder}")


def make(folder: Path, counts: dict[str, int], seed: int = 0) -> int:
    """Writes so many pictures of each split with their annotation files; how many there are.

    Raises `ValueError` where there are not as many.
    """
    every = list(itertools.product(world.COLOURS, world.SHAPES, PLACES, world.BACKGROUNDS))
    if min(counts.values()) < 1 or sum(counts.values()) > len(every):
        raise ValueError(f"each split has at least one picture, and all together at most {len(every):,}")
    rng = np.random.default_rng(seed)
    chosen = iter(rng.permutation(len(every))[: sum(counts.values())].tolist())
    (folder / "Images").mkdir(parents=True, exist_ok=True)
    tokens = []
    for split, count in counts.items():
        names = []
        for number in range(count):
            name = f"{split}{number:05d}.jpg"
            picture, captions = _one(*every[next(chosen)], rng)
            Image.fromarray(picture).save(folder / "Images" / name, quality=92)
            tokens += [f"{name}#{i}\t{caption}\n" for i, caption in enumerate(captions)]
            names.append(f"{name}\n")
        (folder / LISTS[split]).write_text("".join(names), encoding="utf-8")
    (folder / TOKENS).write_text("".join(tokens), encoding="utf-8")
    return sum(counts.values())


def _one(
    colour: str, shape: str, place: tuple[int, int], background: str, rng: np.random.Generator
) -> tuple[np.ndarray, list[str]]:
    """Pixels uint8 [H, W, 3] of one picture, and its captions."""
    parts = {"colour": colour, "shape": shape, "first": "right", "second": "left", "background": background}
    clip = world.clip("train", 0, parts, rng)
    third = world.VIDEO_SIZE / 3
    x, y = ((at + 0.5) * third + rng.uniform(-SPREAD, SPREAD) for at in place)
    frames = draw(parts, {**clip.scene, "x": x, "y": y, "radius": RADIUS})
    said = {
        "a": "an" if colour[0] in "aeiou" else "a",
        "colour": colour,
        "place": PLACES[place],
    }
    captions = []
    for template in TEMPLATES:
        words = {"shape": world.SHAPES[shape], "background": world.BACKGROUNDS[background]}
        spoken = {slot: str(rng.choice(choices)) for slot, choices in words.items()}
        captions.append(template.format(**said, **spoken))
    return frames[0], captions


if __name__ == "__main__":
    main()
