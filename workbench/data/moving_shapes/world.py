"""Constants and grammar of moving_shapes, and the properties of scenes that captions do not mention.

All constants that may be tuned are here and enter the digest.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from workbench.data.index import Clip

VERSION = 1
"""To be raised whenever the drawing changes; part of the digest."""

VIDEO_SIZE = 64
VIDEO_FRAMES = 16
VIDEO_RATE = 8
CRF = 23
"""x264's constant quality."""

ACTOR_RADIUS = (12.0, 15.0)
"""Range of the radius in pixels, uniform. The actor is about twice as wide."""
TRAVEL = 22.0
"""Length of a move in pixels."""
GROWTH = 1.7
"""Factor by which `grows` and `shrinks` change the radius."""
TILT = 0.25
"""Largest initial rotation, in radians."""
NOISE = 4.0
"""Standard deviation of the sensor noise, in grey levels."""
PATTERN_CONTRAST = (34.0, 52.0)
"""Range of the difference between the two tones of a background, in grey levels."""
BACKGROUND_LEVEL = (85.0, 150.0)
BACKGROUND_TINT = 14.0
"""Largest deviation of a background from grey, per channel, in grey levels."""

COLOURS: dict[str, tuple[int, int, int]] = {
    "red": (225, 35, 35),
    "green": (40, 170, 50),
    "blue": (40, 70, 225),
    "yellow": (245, 230, 40),
    "purple": (130, 40, 175),
    "cyan": (50, 220, 230),
    "white": (250, 250, 250),
    "black": (10, 10, 10),
}
SHAPES: dict[str, tuple[str, ...]] = {
    "square": ("square", "box"),
    "triangle": ("triangle",),
    "star": ("star",),
    "cross": ("cross",),
    "moon": ("moon", "crescent"),
    "pill": ("pill", "capsule"),
}
ACTIONS: dict[str, tuple[str, ...]] = {
    "left": ("moves left", "slides left"),
    "right": ("moves right", "slides right"),
    "up": ("moves up", "rises"),
    "down": ("moves down", "sinks"),
    "grows": ("grows", "expands"),
    "shrinks": ("shrinks", "contracts"),
    "spins": ("spins", "rotates"),
    "blinks": ("blinks", "flickers"),
}
BACKGROUNDS: dict[str, tuple[str, ...]] = {
    "plain": ("a plain", "an empty"),
    "striped": ("a striped", "a lined"),
    "checkered": ("a checkered", "a chessboard"),
    "dotted": ("a dotted", "a spotted"),
    "gradient": ("a fading", "a shaded"),
    "grid": ("a grid", "a meshed"),
    "wavy": ("a wavy", "a rippled"),
    "rings": ("a ringed", "a target"),
}
TEMPLATES = (
    "{a} {colour} {shape} {first} then {second} on {background} background",
    "{a} {colour} {shape} {first} and later {second} on {background} wall",
    "on {background} background {a} {colour} {shape} {first} and then {second}",
)


def combinations() -> list[dict[str, str]]:
    """Every colour, shape, ordered pair of different actions, and background."""
    return [
        {"colour": colour, "shape": shape, "first": first, "second": second, "background": background}
        for colour in COLOURS
        for shape in SHAPES
        for first in ACTIONS
        for second in ACTIONS
        if first != second
        for background in BACKGROUNDS
    ]


def clip(split: str, number: int, parts: dict[str, str], rng: np.random.Generator) -> Clip:
    """Clip `number` of a split with the given combination; its other properties are random."""
    # Only Generator.random is used, because numpy keeps its stream stable over versions.
    draw = rng.random(24)
    return Clip(
        id=f"{split}-{number:05d}",
        path=f"{split}/{number:05d}.mp4",
        split=split,
        captions=(_caption(parts, draw[:6]),),
        label=f"{parts['first']} then {parts['second']}",
        attributes=parts,
        scene=_scene(parts, draw[6:]),
    )


def _caption(parts: Mapping[str, str], draw: np.ndarray) -> str:
    def pick(choices: tuple[str, ...], u: float) -> str:
        return choices[int(u * len(choices))]

    return pick(TEMPLATES, draw[0]).format(
        a="an" if parts["colour"][0] in "aeiou" else "a",
        colour=parts["colour"],
        shape=pick(SHAPES[parts["shape"]], draw[1]),
        first=pick(ACTIONS[parts["first"]], draw[2]),
        second=pick(ACTIONS[parts["second"]], draw[3]),
        background=pick(BACKGROUNDS[parts["background"]], draw[4]),
    )


def _scene(parts: Mapping[str, str], draw: np.ndarray) -> dict[str, Any]:
    """Visible properties that captions do not mention: position, size, tilt, look of the background."""

    def between(bounds: tuple[float, float], u: float) -> float:
        return round(bounds[0] + (bounds[1] - bounds[0]) * float(u), 3)

    radius = between(ACTOR_RADIUS, draw[0])
    x, y = start(parts, radius, draw[1], draw[2])
    return {
        "radius": radius,
        "x": x,
        "y": y,
        "tilt": between((-TILT, TILT), draw[3]),
        "level": between(BACKGROUND_LEVEL, draw[4]),
        "tint": [between((-BACKGROUND_TINT, BACKGROUND_TINT), u) for u in draw[5:8]],
        "contrast": between(PATTERN_CONTRAST, draw[8]) * (1 if draw[9] < 0.5 else -1),
        "period": between((9.0, 14.0), draw[10]),
        "angle": between((0.0, math.pi), draw[11]),
        "phase": [between((0.0, 1.0), u) for u in draw[12:14]],
        "seed": int(draw[14] * 2**32),
    }


def start(parts: Mapping[str, str], radius: float, u: float, v: float) -> tuple[float, float]:
    """A position from which the actor stays inside the frame in both actions."""
    steps = {"left": (-TRAVEL, 0.0), "right": (TRAVEL, 0.0), "up": (0.0, -TRAVEL), "down": (0.0, TRAVEL)}
    place, path, scale, largest = (0.0, 0.0), [(0.0, 0.0)], 1.0, 1.0
    for action in (parts["first"], parts["second"]):
        dx, dy = steps.get(action, (0.0, 0.0))
        place = (place[0] + dx, place[1] + dy)
        path.append(place)
        scale *= {"grows": GROWTH, "shrinks": 1 / GROWTH}.get(action, 1.0)
        largest = max(largest, scale)
    found = []
    for axis, draw in enumerate((u, v)):
        low = radius * largest - min(point[axis] for point in path)
        high = VIDEO_SIZE - radius * largest - max(point[axis] for point in path)
        if low > high:  # too large to fit with its whole path, so it is centred
            low = high = (low + high) / 2
        found.append(round(low + (high - low) * float(draw), 3))
    return found[0], found[1]


def constants() -> dict[str, Any]:
    """The constants of the drawing by name, for the digest."""
    named = {name: value for name, value in globals().items() if name.isupper()}
    # The first version had this name among its constants, and existing digests include it.
    return named | {"TYPE_CHECKING": False}
