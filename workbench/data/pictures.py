"""Pictures: JPEG, PNG and WebP files to pixels, turned as their EXIF says, whatever their mode.

Transparent places become white, as a page shows them. Grey of 16 bits is scaled to 8, not cut at 255. Colour
profiles are not applied: CMYK is converted by its numbers.
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
"""What Pillow is asked to read. It calls a JPEG with further views behind, as telephones write it, an MPO."""


class PictureError(Exception):
    """A picture that cannot be used; the message is the reason."""


def is_picture(path: Path) -> bool:
    """Whether a file begins as a JPEG, PNG or WebP does, whatever it is called; not if it cannot be read."""
    try:
        with open(path, "rb") as stream:
            head = stream.read(12)
    except OSError:
        return False
    return head.startswith((b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n")) or (head[:4] + head[8:] == b"RIFFWEBP")


def picture_facts(path: Path, most: int) -> tuple[str, int, int]:
    """Format and size in pixels, width before height, before it is turned. See `read_picture` for errors."""
    try:
        with Image.open(path, formats=FORMATS) as picture:
            width, height = picture.size
            if width * height > most:
                raise PictureError(f"its frames of {width} x {height} pixels are too large")
            if getattr(picture, "n_frames", 1) > 1 and picture.format != "MPO":
                raise PictureError("it is an animation; make a video of it")
            return str(picture.format).lower(), width, height
    except Image.DecompressionBombError as error:  # Pillow's own limit lies above ours
        raise PictureError(f"its frames are too large ({error})") from error
    except (OSError, SyntaxError, ValueError, struct.error, zlib.error) as error:
        raise PictureError(f"it is not a readable image ({_words(error)})") from error


def read_picture(path: Path, most: int) -> np.ndarray:
    """Pixels uint8 [H, W, 3] of a picture of at most `most` pixels; `PictureError` with the reason else."""
    picture_facts(path, most)
    try:
        with Image.open(path, formats=FORMATS) as picture:
            picture.load()
            return np.asarray(_plain(ImageOps.exif_transpose(picture)))
    except (OSError, SyntaxError, ValueError, struct.error, zlib.error) as error:
        raise PictureError(f"the image is damaged ({_words(error)})") from error


def _plain(picture: Image.Image) -> Image.Image:
    """The same picture as RGB."""
    if picture.mode.startswith("I"):  # Pillow would cut what is above 255
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
