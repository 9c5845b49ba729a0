"""An image of the patches and words that a masking leaves visible to the encoder."""

from __future__ import annotations

import numpy as np
from PIL import Image, ImageDraw
from torch import Tensor

from workbench.masking.video import Grid

HIDDEN, HATCH = (150, 150, 158), (92, 92, 104)
"""Two greys: hidden tokens are hatched, so that they can be distinguished from grey pixels of the clip."""
LINES = 16
"""Number of hatching lines along the side of a frame; they are at least 4 pixels apart."""
GAP = 4
LINE = 14


def hide(frames: np.ndarray, mask: np.ndarray, grid: Grid) -> np.ndarray:
    """Hatches the hidden tokens of a clip in grey.

    Args:
        frames: uint8 [T, H, W, 3].
        mask: Boolean [N], True = hidden.
    """
    pixels = _pixels(frames, mask, grid)
    out = frames.copy()
    out[pixels] = np.broadcast_to(_hatched(*frames.shape[1:3]), frames.shape)[pixels]
    return out


def darken(frames: np.ndarray, mask: np.ndarray, grid: Grid) -> np.ndarray:
    """Shows the selected tokens of a clip at a third of their brightness; arguments as in `hide`."""
    pixels = _pixels(frames, mask, grid)
    out = frames.copy()
    out[pixels] = frames[pixels] // 3
    return out


def _pixels(frames: np.ndarray, mask: np.ndarray, grid: Grid) -> np.ndarray:
    """The pixels that a mask [N] over tokens selects, Boolean [T, H, W]."""
    t, h, w, _ = frames.shape
    cells = mask.reshape(grid)
    return cells.repeat(t // grid.time, 0).repeat(h // grid.height, 1).repeat(w // grid.width, 2)


def _hatched(height: int, width: int) -> np.ndarray:
    """A grey frame, uint8 [H, W, 3], with diagonal lines that descend to the left."""
    period = max(4, height // LINES)
    down, across = np.indices((height, width))
    lines = (down + across) % period < period // 4
    return np.where(lines[..., None], HATCH, HIDDEN).astype(np.uint8)


def preview(clips: Tensor, mask: Tensor | None, grid: Grid, words: list[str]) -> Image.Image:
    """An image with each clip as a row of frames, below it the visible patches, and its words.

    Args:
        clips: uint8 [B, T, H, W, 3]; mask: Boolean [B, N] or None; words: one line of text for each clip.
    """
    video = clips.cpu().numpy()
    batch, frames, height, width, _ = video.shape
    scale = max(1, 96 // height)
    cell_w, cell_h = width * scale + GAP, height * scale + GAP
    sheet = Image.new("RGB", (frames * cell_w + GAP, batch * (2 * cell_h + LINE + GAP)), "white")
    draw = ImageDraw.Draw(sheet)
    for row in range(batch):
        top = row * (2 * cell_h + LINE + GAP)
        draw.text((GAP, top), words[row][: frames * cell_w // 6], fill="black")
        hidden = video[row] if mask is None else hide(video[row], mask[row].cpu().numpy(), grid)
        for line, clip in enumerate((video[row], hidden)):
            for i, frame in enumerate(clip):
                picture = Image.fromarray(frame).resize(
                    (width * scale, height * scale), Image.Resampling.NEAREST
                )
                sheet.paste(picture, (GAP + i * cell_w, top + LINE + line * cell_h))
    return sheet
