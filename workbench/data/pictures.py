"""Reading of JPEG, PNG and WebP images of any mode, rotated by their EXIF orientation.

Transparent pixels become white. 16-bit grey is scaled to 8 bits, not clipped at 255. Colour profiles are not
applied: CMYK is converted by its numbers.
"""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import numpy as np
import PIL
from PIL import Image, ImageOps

PILLOW = PIL.__version__
FORMATS = ("JPEG", "PNG", "WEBP")
"""Formats that Pillow may read. It reports a JPEG with further images, as phones write it, as MPO."""


class PictureError(Exception):
    """An image that cannot be used; the message is the reason."""


def is_picture(path: Path) -> bool:
    """Whether a file begins like a JPEG, PNG or WebP, whatever its name; False if it cannot be read."""
    try:
        with open(path, "rb") as stream:
            head = stream.read(12)
    except OSError:
        return False
    return head.startswith((b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n")) or (head[:4] + head[8:] == b"RIFFWEBP")


def picture_facts(path: Path, most: int) -> tuple[str, int, int]:
    """Format and size in pixels (width, height) before rotation. See `read_picture` for errors."""
    try:
        with Image.open(path, formats=FORMATS) as picture:
            width, height = picture.size
            if width * height > most:
                raise PictureError(f"its frames of {width} x {height} pixels are too large")
            if getattr(picture, "n_frames", 1) > 1 and picture.format != "MPO":
                raise PictureError("it is an animation; make a video of it")
            return str(picture.format).lower(), width, height
    except Image.DecompressionBombError as error:  # Pillow's own limit is above ours
        raise PictureError(f"its frames are too large ({error})") from error
    except (OSError, SyntaxError, ValueError, struct.error, zlib.error) as error:
        raise PictureError(f"it is not a readable image ({_words(error)})") from error


def read_picture(path: Path, most: int) -> np.ndarray:
    """Pixels uint8 [H, W, 3] of an image of at most `most` pixels. Raises `PictureError` with the reason."""
    picture_facts(path, most)
    try:
        with Image.open(path, formats=FORMATS) as picture:
            picture.load()
            return np.asarray(_plain(ImageOps.exif_transpose(picture)))
    except (OSError, SyntaxError, ValueError, struct.error, zlib.error) as error:
        raise PictureError(f"the image is damaged ({_words(error)})") from error


def _plain(picture: Image.Image) -> Image.Image:
    """The image as RGB."""
    if picture.mode.startswith("I"):  # Pillow would clip values above 255
        grey = np.asarray(picture, np.float64) / 257
        return Image.fromarray(np.clip(grey.round(), 0, 255).astype(np.uint8)).convert("RGB")
    if picture.has_transparency_data:
        picture = picture.convert("RGBA")
        ground = Image.new("RGBA", picture.size, (255, 255, 255, 255))
        picture = Image.alpha_composite(ground, picture)
    return picture.convert("RGB")


def _words(error: Exception) -> str:
    """The error without the file's path, which depends on the machine."""
    if isinstance(error, Image.UnidentifiedImageError):
        return "its header is damaged"
    return str(error).partition("\n")[0][:160]
