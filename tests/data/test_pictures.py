"""Pictures become what one sees: turned by EXIF, in every mode; others are refused with a reason."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from benchmark_files import folder_of
from PIL import Image

from workbench.config import DataConfig
from workbench.data import prepare
from workbench.data.decode import DecodeError, decode, decode_task, examine_task
from workbench.data.store import FrameStore

RED, BLUE = (200, 30, 20), (10, 40, 220)


def halves(width: int = 48, height: int = 32) -> Image.Image:
    """Red above blue."""
    picture = Image.new("RGB", (width, height), RED)
    picture.paste(BLUE, (0, height // 2, width, height))
    return picture


def seen(path: Path, size: int = 32) -> np.ndarray:
    """One frame [size, size, 3]."""
    frames = decode(path, 1, size)
    assert frames.shape == (1, size, size, 3)
    return frames[0].astype(int)


def close(pixel: np.ndarray, colour: tuple[int, ...], by: int = 6) -> bool:
    return bool(np.abs(pixel - np.array(colour)).max() <= by)


@pytest.mark.parametrize("suffix", ["jpg", "png", "webp"])
def test_a_picture_is_decoded_whatever_it_is_called(tmp_path: Path, suffix: str) -> None:
    halves().save(tmp_path / f"a.{suffix}", quality=95)
    (tmp_path / f"a.{suffix}").rename(tmp_path / "called.mp4")
    pixels = seen(tmp_path / "called.mp4")
    assert close(pixels[4, 16], RED, 12)
    assert close(pixels[28, 16], BLUE, 12)


def test_every_frame_of_a_longer_clip_is_the_picture(tmp_path: Path) -> None:
    halves().save(tmp_path / "a.png")
    frames = decode(tmp_path / "a.png", 4, 32)
    assert len({frame.tobytes() for frame in frames}) == 1


@pytest.mark.parametrize(("turn", "top"), [(1, RED), (3, BLUE), (6, None), (8, None)])
def test_a_picture_stands_as_its_exif_says(tmp_path: Path, turn: int, top: tuple[int, ...] | None) -> None:
    exif = Image.Exif()
    exif[0x0112] = turn
    halves(32, 32).save(tmp_path / "a.jpg", exif=exif, quality=95)
    pixels = seen(tmp_path / "a.jpg")
    upper, left = pixels[4, 16], pixels[16, 4]
    if top is not None:
        assert close(upper, top, 12)
    else:  # a quarter turn, clockwise for 6: what was above is on the right
        assert close(left, BLUE if turn == 6 else RED, 12)


def test_modes_become_the_colours_they_show(tmp_path: Path) -> None:
    grey = np.linspace(0, 65535, 32 * 32).reshape(32, 32).astype(np.uint16)
    Image.fromarray(grey).save(tmp_path / "deep.png")
    assert np.abs(seen(tmp_path / "deep.png")[..., 0] - grey / 257).max() <= 1, "16 bits are scaled, not cut"
    Image.new("L", (32, 32), 77).save(tmp_path / "grey.jpg")
    assert close(seen(tmp_path / "grey.jpg")[9, 9], (77, 77, 77), 2)
    halves(32, 32).convert("P", palette=Image.Palette.ADAPTIVE).save(tmp_path / "palette.png")
    assert close(seen(tmp_path / "palette.png")[4, 16], RED)
    halves(32, 32).convert("CMYK").save(tmp_path / "print.jpg", quality=95)
    assert close(seen(tmp_path / "print.jpg")[4, 16], RED, 12)
    Image.new("1", (32, 32), 1).save(tmp_path / "bits.png")
    assert close(seen(tmp_path / "bits.png")[9, 9], (255, 255, 255))
    clear = Image.new("RGBA", (32, 32), (0, 0, 0, 0))
    clear.paste((*RED, 255), (0, 0, 32, 16))
    clear.save(tmp_path / "clear.png")
    pixels = seen(tmp_path / "clear.png")
    assert close(pixels[4, 16], RED)
    assert close(pixels[28, 16], (255, 255, 255)), "what is clear is white"


def bomb(path: Path, side: int) -> None:
    """A PNG whose header promises side x side pixels, in a few bytes."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", side, side, 1, 0, 0, 0, 0)
    data = chunk(b"IDAT", zlib.compress(b"\0" * 1000))
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + data + chunk(b"IEND", b""))


def test_what_cannot_be_shown_is_refused_with_the_reason(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 255, (64, 64, 3), np.uint8)
    for name in ("a.jpg", "a.png", "a.webp"):
        Image.fromarray(noise).save(tmp_path / name)
        whole = (tmp_path / name).read_bytes()
        (tmp_path / f"cut-{name}").write_bytes(whole[: len(whole) // 2])
        with pytest.raises(DecodeError, match=r"is damaged|not a readable image"):
            decode(tmp_path / f"cut-{name}", 1, 32)
    for side in (9000, 60_000):
        bomb(tmp_path / "bomb.png", side)
        with pytest.raises(DecodeError, match="too large"):
            decode(tmp_path / "bomb.png", 1, 32)
    first, second = halves(), Image.new("RGB", (48, 32))
    first.save(tmp_path / "moves.webp", save_all=True, append_images=[second], duration=100)
    with pytest.raises(DecodeError, match="an animation"):
        decode(tmp_path / "moves.webp", 1, 32)
    for path in tmp_path.iterdir():
        reason = decode_task({"path": str(path), "count": 1, "size": 32})[0].get("reason", "")
        assert str(tmp_path) not in reason, "a reason is the same on every machine"


def test_a_picture_is_examined(tmp_path: Path) -> None:
    halves().save(tmp_path / "a.webp")
    answer, _ = examine_task({"path": str(tmp_path / "a.webp"), "count": 8, "size": 32})
    assert (answer["codec"], answer["width"], answer["height"]) == ("webp", 48, 32)
    assert (answer["total"], answer["seconds"], answer["repeated"]) == (1, 0.0, 0)


def test_a_store_of_pictures_has_one_frame_each(tmp_path: Path) -> None:
    source = str(folder_of("flickr8k", tmp_path))
    data = DataConfig(name="flickr8k", frames=1, size=32)
    store = FrameStore.open(prepare(data, source=source, root=tmp_path / "root", progress=False))
    assert store.frames.shape == (10, 1, 32, 32, 3)
    assert store.repeated_frames == 0
    assert store.decoder.startswith("pillow ")
    assert [len(store.splits[name]) for name in ("train", "val", "test")] == [12, 2, 2]
