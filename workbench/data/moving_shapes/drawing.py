"""Drawing and encoding of the scenes of moving_shapes. Frames depend only on the scene."""

from __future__ import annotations

import functools
import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

import workbench.data.moving_shapes.world as world
from workbench.data.index import Clip
from workbench.data.progress import Progress
from workbench.data.workers import run_tasks, usable_cores
from workbench.errors import UserError

CHUNK = 40
"""Number of clips in a worker's task."""

_TEXTURE = 256
_REACH = 1.6
"""The distance texture covers [-_REACH, _REACH] in units of the actor's radius."""


def write_videos(clips: Sequence[Clip], folder: Path, progress: bool) -> None:
    """Draws every clip whose file is missing. Files are written atomically, so at most a chunk is lost."""
    missing = [clip for clip in clips if not (folder / clip.path).exists()]
    for split in {Path(clip.path).parent for clip in missing}:
        (folder / split).mkdir(parents=True, exist_ok=True)
    tasks = []
    for first in range(0, len(missing), CHUNK):
        chunk = missing[first : first + CHUNK]
        rows = [{"path": str(folder / c.path), "parts": c.attributes, "scene": c.scene} for c in chunk]
        tasks.append((first, {"clips": rows}))
    with Progress(len(missing), "drawing clips", "clip", shown=progress) as bar:
        for done in run_tasks(
            "workbench.data.moving_shapes.drawing:draw_task", tasks, workers=usable_cores(), deadline=300
        ):
            if done.failure:
                raise UserError(f"could not write the synthetic clips to {folder}: {done.failure}")
            bar.update(done.answer["written"])


def draw_task(task: Mapping[str, Any]) -> tuple[dict[str, Any], bytes]:
    """Draws and encodes a chunk of clips, inside a worker."""
    from workbench.data.decode import encode

    for row in task["clips"]:
        path = Path(row["path"])
        partial = path.with_name(f".{path.stem}.partial.mp4")
        encode(partial, draw(row["parts"], row["scene"]), rate=world.VIDEO_RATE, crf=world.CRF)
        os.replace(partial, path)
    return {"written": len(task["clips"])}, b""


def draw(parts: Mapping[str, str], scene: Mapping[str, Any]) -> np.ndarray:
    """Frames uint8 [T, H, W, 3] of one scene."""
    frames = _background(parts["background"], scene)[None]
    for one in actors(parts, scene):
        colour = np.array(world.COLOURS[one["colour"]], np.float32)
        frames = frames + actor(one, one)[1][..., None] * (colour - frames)
    rng = np.random.Generator(np.random.PCG64(scene["seed"]))
    noise = rng.standard_normal(frames.shape[:3], dtype=np.float32) * world.NOISE
    return np.clip(frames + noise[..., None] + 0.5, 0, 255).astype(np.uint8)


def actors(parts: Mapping[str, str], scene: Mapping[str, Any]) -> Sequence[Mapping[str, Any]]:
    """The actors of a scene with their parts and positions: its `actors`, or the one of `parts`."""
    found: Sequence[Mapping[str, Any]] = scene.get("actors", ({**parts, **scene},))
    return found


def actor(
    parts: Mapping[str, str], scene: Mapping[str, Any], frames: Sequence[int] | slice = slice(None)
) -> tuple[np.ndarray, np.ndarray]:
    """Pose and cover of the actor in some frames.

    The pose is float32 [T, 4] (x, y, radius in pixels, clockwise angle in radians); the cover is the share of
    each pixel that the actor covers, float32 [T, H, W], 0 while it blinks."""
    pose, visible = (values[frames] for values in poses(parts, scene))
    return pose, _cover(parts["shape"], *pose.T, side=side(scene)) * visible[:, None, None]


def side(scene: Mapping[str, Any]) -> int:
    """Side of the frames in pixels: the scene's `size` if it is drawn at a higher resolution.

    Positions and lengths of a scene are always in pixels of a frame of `world.VIDEO_SIZE`.
    """
    return int(scene.get("size", world.VIDEO_SIZE))


def poses(parts: Mapping[str, str], scene: Mapping[str, Any]) -> tuple[np.ndarray, np.ndarray]:
    """The actor's pose in every frame, as in `actor`, and its visibility, float32 [T], 0 or 1."""
    x, y, scale, angle, visible = _motion(parts["first"], parts["second"], scene.get("times"))
    pose = scene["x"] + x, scene["y"] + y, scene["radius"] * scale, scene["tilt"] + angle
    return np.stack(pose, 1), visible


def _motion(
    first: str, second: str, times: Sequence[tuple[int, int]] | None = None
) -> tuple[np.ndarray, ...]:
    """Offsets x, y [px], scale, angle [rad] and visibility per frame; the second action begins
    where the first one ended.

    times: first frame and end of each action; None for one half each. Between them the actor rests.
    """
    half = world.VIDEO_FRAMES // 2
    spans = times or ((0, half), (half, world.VIDEO_FRAMES))
    at: tuple[float, float, float, float] = (0.0, 0.0, 1.0, 0.0)
    parts, ended = [], 0
    for action, (start, end) in zip((first, second), spans, strict=True):
        parts.append(_rest(start - ended, at))
        parts.append(_act(action, end - start, at, whole=times is not None))
        at, ended = tuple(values[-1] for values in parts[-1][:4]), end
    parts.append(_rest(world.VIDEO_FRAMES - ended, at))
    return tuple(np.concatenate(pieces).astype(np.float32) for pieces in zip(*parts, strict=True))


def _rest(count: int, at: Sequence[float]) -> tuple[np.ndarray, ...]:
    """As `_motion`, for an actor that does not change for `count` frames."""
    return (*(np.full(count, value) for value in at), np.ones(count))


def _act(action: str, count: int, at: Sequence[float], *, whole: bool) -> tuple[np.ndarray, ...]:
    """As `_motion`, for one action of `count` frames.

    whole: a blink hides the actor at its beginning and at its end, so that both are visible.
    """
    x0, y0, scale0, angle0 = at
    t = np.arange(1, count + 1, dtype=np.float32)
    part = t / count
    x, y, scale, angle, visible = _rest(count, at)
    if action in ("left", "right"):
        x = x0 + world.TRAVEL * part * (1 if action == "right" else -1)
    elif action in ("up", "down"):
        y = y0 + world.TRAVEL * part * (1 if action == "down" else -1)
    elif action in ("grows", "shrinks"):
        scale = scale0 * world.GROWTH ** (part if action == "grows" else -part)
    elif action == "spins":
        angle = angle0 + t * (math.pi / 6)
    elif action == "blinks" and whole:
        visible = ((t > 2) & (t <= count - 2)).astype(np.float64)
    elif action == "blinks":
        # A run with eight frames uses frames 1, 3, 5, 7 of a half, so the actor blinks for two frames each.
        visible = ((t - 1) // 2 % 2 == 1).astype(np.float64)
    return x, y, scale, angle, visible


def _cover(
    shape: str, x: np.ndarray, y: np.ndarray, radius: np.ndarray, angle: np.ndarray, *, side: int
) -> np.ndarray:
    """Share of each pixel that the actor covers, float32 [T, H, W], edges one pixel soft."""
    finer = side / world.VIDEO_SIZE
    pixels = (np.arange(side, dtype=np.float32) + 0.5) / finer
    dx = pixels[None, None, :] - x[:, None, None]
    dy = pixels[None, :, None] - y[:, None, None]
    cos, sin = np.cos(angle)[:, None, None], np.sin(angle)[:, None, None]
    step = _TEXTURE / (2 * _REACH) / radius[:, None, None]
    u = np.clip((cos * dx + sin * dy) * step + _TEXTURE / 2, 0, _TEXTURE - 1).astype(np.intp)
    v = np.clip((cos * dy - sin * dx) * step + _TEXTURE / 2, 0, _TEXTURE - 1).astype(np.intp)
    distance = _distance(shape).ravel()[v * _TEXTURE + u]
    return np.clip(0.5 - distance * radius[:, None, None] * finer, 0, 1)


@functools.cache
def _distance(shape: str) -> np.ndarray:
    """Signed distance to the outline, negative inside, float32 [_TEXTURE, _TEXTURE]."""
    corners = np.array(_outline(shape), np.float64)
    grid = ((np.arange(_TEXTURE) + 0.5) / _TEXTURE * 2 - 1) * _REACH
    px, py = np.meshgrid(grid, grid)
    nearest = np.full(px.shape, np.inf)
    inside = np.zeros(px.shape, bool)
    for (ax, ay), (bx, by) in zip(corners, np.roll(corners, -1, axis=0), strict=True):
        ex, ey = bx - ax, by - ay
        along = np.clip(((px - ax) * ex + (py - ay) * ey) / max(ex * ex + ey * ey, 1e-12), 0, 1)
        nearest = np.minimum(nearest, np.hypot(px - ax - along * ex, py - ay - along * ey))
        crosses = (ay > py) != (by > py)
        inside ^= crosses & (px < ax + (py - ay) * ex / (ey if ey else 1.0))
    return np.where(inside, -nearest, nearest).astype(np.float32)


def _outline(shape: str) -> list[tuple[float, float]]:
    """Corners in units of the radius, y downwards."""
    turn = 2 * math.pi
    match shape:
        case "square":
            return [(-0.8, -0.8), (0.8, -0.8), (0.8, 0.8), (-0.8, 0.8)]
        case "triangle":
            return [(0.0, -1.05), (1.0, 0.75), (-1.0, 0.75)]
        case "star":
            radii = [1.15 if i % 2 == 0 else 0.48 for i in range(10)]
            return [(r * math.sin(i * turn / 10), -r * math.cos(i * turn / 10)) for i, r in enumerate(radii)]
        case "cross":
            a, b = 0.33, 1.0
            return [
                (-a, -b), (a, -b), (a, -a), (b, -a), (b, a), (a, a),
                (a, b), (-a, b), (-a, a), (-b, a), (-b, -a), (-a, -a),
            ]  # fmt: skip
        case "moon":
            outer = [(math.sin(a), -math.cos(a)) for a in np.linspace(-0.25, 3.39, 32) + math.pi]
            return outer + [
                (0.45 + 0.85 * math.sin(a), -0.85 * math.cos(a))
                for a in np.linspace(3.55, -0.41, 32) + math.pi
            ]
        case "pill":
            right = [(0.65 + 0.5 * math.sin(a), -0.5 * math.cos(a)) for a in np.linspace(0, math.pi, 14)]
            return right + [(-x, -y) for x, y in right]
        case _:
            raise ValueError(f"no outline for {shape!r}")


def _background(kind: str, scene: Mapping[str, Any]) -> np.ndarray:
    """Float32 [H, W, 3]; a pattern of two nearly grey tones that fills the frame."""
    pixels = (np.arange(side(scene), dtype=np.float32) + 0.5) / (side(scene) / world.VIDEO_SIZE)
    x, y = np.meshgrid(pixels, pixels)
    period = scene["period"]
    x, y = x + scene["phase"][0] * period, y + scene["phase"][1] * period
    cos, sin = math.cos(scene["angle"]), math.sin(scene["angle"])
    across = cos * x + sin * y
    turn = 2 * math.pi / period

    def soft(wave: np.ndarray) -> np.ndarray:
        return np.clip(wave * period / 4 + 0.5, 0, 1)

    match kind:
        case "plain":
            pattern = np.full_like(x, 0.5)
        case "striped":
            pattern = soft(np.sin(turn * across))
        case "checkered":
            pattern = soft(np.sin(turn * x / 1.3) * np.sin(turn * y / 1.3) * 2)
        case "dotted":
            pattern = soft(np.cos(turn * x) * np.cos(turn * y) * 2 - 0.9)
        case "gradient":
            middle = world.VIDEO_SIZE / 2
            pattern = 0.5 + (cos * (pixels[None] - middle) + sin * (pixels[:, None] - middle)) / (
                middle * 1.2
            )
        case "grid":
            pattern = 1 - soft(1.6 - 2 * np.maximum(np.cos(turn * x), np.cos(turn * y)))
        case "wavy":
            pattern = soft(np.sin(turn * (y + 3.0 * np.sin(2 * math.pi * x / 21))))
        case "rings":
            centre = world.VIDEO_SIZE / 2 + (np.array(scene["phase"]) - 0.5) * 20
            radius = np.hypot(pixels[None] - centre[0], pixels[:, None] - centre[1])
            pattern = soft(np.sin(turn * radius))
        case _:
            raise ValueError(f"no background {kind!r}")
    level = scene["level"] + (pattern - 0.5) * scene["contrast"]
    return (level[..., None] + np.array(scene["tint"], np.float32)).astype(np.float32)
