"""A folder of your own videos or images with `captions.csv`: `--data folder:PATH`.

`captions.csv` has a header and the columns `video,caption` and optionally `split` (train, val, test). `video`
is a path inside the folder; several rows for one video give it several captions. In a run with two folders,
the second one is called `folder-2`.
"""

from __future__ import annotations

import csv
import hashlib
import json
from collections.abc import Iterable
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from workbench.data.annotations.reading import one_line
from workbench.data.digests import Digests
from workbench.data.index import Clip, Index, check_folder_there
from workbench.data.store import SPLITS
from workbench.errors import UserError

if TYPE_CHECKING:
    from workbench.config import DataConfig

CAPTIONS = "captions.csv"
LONGEST = 2000
"""Largest number of characters of a caption; more is an error in the file."""
SOURCE = "own videos"
PROTOCOLS = {"": "", "2": "second folder, of the same kind, in a run that reads two"}


def index(data: DataConfig, source: str | None, digests: Digests) -> Index:
    """Reads `captions.csv`. The digest covers captions, splits and the content of every video."""
    assert source is not None, "SOURCE says so"
    folder = Path(source)
    check_folder_there(folder)
    videos = _read(folder)
    splits, notes = _split(videos)
    clips = tuple(
        Clip(id=name, path=name, split=splits[name], captions=tuple(captions))
        for name, (captions, _) in sorted(videos.items())
    )
    return Index(digest=_digest(folder, clips, digests), clips=clips, notes=notes)


def videos(index: Index, source: str | None, cache: Path, progress: bool) -> Path:
    """The folder itself: nothing is copied."""
    assert source is not None, "SOURCE says so"
    return Path(source)


def _read(folder: Path) -> dict[str, tuple[list[str], str]]:
    """Captions and split ('' if none is given) of each video, checked row by row."""
    path = folder / CAPTIONS
    found: dict[str, tuple[list[str], str]] = {}
    try:
        with open(path, encoding="utf-8-sig", newline="") as stream:
            reader = csv.DictReader(stream, strict=True)
            columns = list(reader.fieldnames or [])
            if columns.count("video") != 1 or columns.count("caption") != 1:
                raise UserError(
                    f"{path} needs a header with the columns video,caption[,split], each once, not "
                    f"{','.join(columns)[:120] or 'nothing'}"
                )
            for row in reader:
                where = f"{path}, line {reader.line_num}"
                if None in row:
                    raise UserError(f"{where} has more fields than the header; quote a caption with commas")
                name, caption = _video(where, row["video"]), _caption(where, row["caption"])
                split = _named_split(where, row.get("split") if "split" in columns else "")
                captions, known = found.setdefault(name, ([], split))
                if known != split:
                    raise UserError(f"{where}: {name} is in {known} and in {split}; one split is allowed")
                captions.append(caption)
    except FileNotFoundError as error:
        raise UserError(f"{folder} has no {CAPTIONS} with the columns video,caption[,split]") from error
    except UnicodeDecodeError as error:
        raise UserError(f"{path} is not a CSV file in UTF-8: {error}") from error
    except csv.Error as error:
        after = f"after {', '.join(list(found)[-1:])}" if found else "at its beginning"
        raise UserError(
            f"{path} is not a CSV file {after}: {error}; a caption that begins with a quote must end with "
            "one, and quotes inside it must be doubled"
        ) from error
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}") from error
    if not found:
        raise UserError(f"{path} names no video; each row is video,caption[,split]")
    given = [bool(split) for _, split in found.values()]
    if any(given) and not all(given):
        raise UserError(f"{path}: {given.count(False)} videos have no split; give all of them one, or none")
    return found


def _video(where: str, name: str | None) -> str:
    path = PurePosixPath((name or "").strip().replace("\\", "/"))
    if not path.parts or path.is_absolute() or ".." in path.parts or "\0" in str(path):
        raise UserError(f"{where}: a video must be a path inside the folder, not {name!r}")
    return str(path)


def _caption(where: str, text: str | None) -> str:
    caption = one_line(text or "")
    if not caption:
        raise UserError(f"{where}: the caption is empty")
    if len(caption) > LONGEST:
        raise UserError(f"{where}: a caption must have at most {LONGEST} characters, not {len(caption)}")
    return caption


def _named_split(where: str, split: str | None) -> str:
    name = (split or "").strip()
    if name and name not in SPLITS:
        raise UserError(f"{where}: a split must be one of {', '.join(SPLITS)}, not {name!r}")
    return name


def _split(videos: dict[str, tuple[list[str], str]]) -> tuple[dict[str, str], tuple[str, ...]]:
    """The split of each video, and the decisions made for the user."""
    splits = {name: split for name, (_, split) in videos.items()}
    if not any(splits.values()):
        names = sorted(splits, key=_rank)
        if len(names) < 4:
            raise UserError(f"{len(names)} videos are too few to split; at least 4 are needed")
        share = max(1, len(names) // 10)
        for i, name in enumerate(names):
            splits[name] = "test" if i < share else "val" if i < 2 * share else "train"
        return splits, (f"no split given: {share} videos each for val and test, by a hash of their names",)
    if "test" not in splits.values():
        raise UserError("no video is in the split test; name some, or leave the column out altogether")
    if "val" in splits.values():
        if (left := list(splits.values()).count("train")) < 2:
            raise UserError(f"{left} videos are in the split train; at least 2 are needed")
        return splits, ()
    train = sorted((name for name, split in splits.items() if split == "train"), key=_rank)
    if len(train) < 3:
        raise UserError("no video is in the split val, and train is too small to take some from")
    share = max(1, len(train) // 10)
    splits |= dict.fromkeys(train[:share], "val")
    return splits, (f"no val given: {share} videos of train are used for it, never test",)


def _rank(name: str) -> str:
    return hashlib.sha256(name.encode()).hexdigest()


def _digest(folder: Path, clips: Iterable[Clip], digests: Digests) -> str:
    sha = hashlib.sha256()
    for clip in clips:
        row = [clip.id, clip.split, list(clip.captions), digests.of(folder / clip.path)]
        sha.update(json.dumps(row).encode())
    return sha.hexdigest()
