"""What lies in the folder of a benchmark: annotation files by their names, videos and pictures by theirs."""

from __future__ import annotations

import os
import re
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path, PurePosixPath

from workbench.data.index import PICTURES, VIDEOS, check_folder_there

MEDIA = VIDEOS | PICTURES
SUFFIX = re.compile(r"\.(?=[0-9]*[A-Za-z])[0-9A-Za-z]{1,5}|\.")
"""What a name may end in that is a suffix, or what was left of one: Flickr's videos are called `x.null`
and `x.` too. Numbers alone are none: clips of LSMDC end in their times."""


@dataclass(frozen=True)
class Tree:
    """The files below a folder, at any depth; hidden ones do not count, links are followed."""

    root: Path
    files: Mapping[str, list[str]]
    """Name -> paths inside the folder, the least deep first, of everything that is no video or picture."""
    media: Mapping[str, list[str]]
    """Name without its suffix -> paths. A file without a suffix may be a picture, as those of CC3M are."""

    @classmethod
    def of(cls, root: Path, kinds: Collection[str] = VIDEOS) -> Tree:
        """Raises `UserError` where there is no such folder.

        kinds: suffixes of what is looked for, `VIDEOS` or `PICTURES`: beside a video lies its thumbnail.
        """
        check_folder_there(root)
        files, media = defaultdict(list), defaultdict(list)
        for path in sorted(walk(root), key=lambda path: (path.count("/"), path)):
            name = PurePosixPath(path).name
            stem = without_suffix(name)
            if "." not in name or name[len(stem) :].lower() in kinds:
                media[stem].append(path)
            if stem == name:
                files[name].append(path)
        return cls(root, dict(files), dict(media))

    def find(self, pattern: str) -> Path | None:
        """The annotation file of a name, the least deep one; `a|b` stands for one or the other, `*` for any
        letters."""
        for one in pattern.split("|"):
            names = [one] if one in self.files else sorted(n for n in self.files if fnmatchcase(n, one))
            if names:
                return self.root / self.files[names[0]][0]
        return None

    def pickles(self) -> list[str]:
        """Names of the pickles."""
        return sorted(name for name in self.files if name.endswith((".pkl", ".pickle")))

    def places(self, name: str) -> list[str]:
        """Files of a video or picture as an annotation names it, with or without folders and suffix.

        The best one first: one that has content, then that which lies where the annotation says, then one
        with the same suffix; a GIF may be the preview of a video and comes last. Where there is none, one
        that is called so but for its suffix, whatever that is.
        """
        path = PurePosixPath(name)
        keys = dict.fromkeys((path.name, without_suffix(path.name), path.name.rstrip(".")))
        found = [*self.files.get(path.name, ()), *(one for key in keys for one in self.media.get(key, ()))]
        if not found and (end := suffix_of(path.name)):
            found = self.media.get(path.name.removesuffix(end), [])

        def distance(one: str) -> tuple[bool, bool, bool, int, str]:
            there, same = f"/{one}".endswith(f"/{path}"), one.endswith(path.name)
            return not there, not same, one.lower().endswith(".gif"), one.count("/"), one

        found = sorted(set(found), key=distance)
        return found if len(found) < 2 else sorted(found, key=lambda one: not _has_content(self.root / one))


def without_suffix(name: str) -> str:
    """A name without the suffix of a video or picture; other dots may be part of the name."""
    stem, dot, suffix = name.rpartition(".")
    return stem if stem and f"{dot}{suffix}".lower() in MEDIA else name


def suffix_of(name: str) -> str:
    """The suffix of a name with its dot, known or not, see `SUFFIX`; empty where it has none."""
    stem, dot, suffix = name.rpartition(".")
    return f"{dot}{suffix}" if stem and SUFFIX.fullmatch(f"{dot}{suffix}") else ""


def _has_content(path: Path) -> bool:
    """Whether a file is there and not empty, as that behind a link of which the target has gone is not."""
    try:
        return path.stat().st_size > 0
    except OSError:
        return False


def walk(root: Path) -> Iterable[str]:
    """Paths of the files below a folder, with a slash between their parts, see `Tree`. What a Mac puts into
    an archive beside its files does not count either."""
    seen = set()
    for folder, folders, names in os.walk(root, followlinks=True):
        state = os.stat(folder)
        if (state.st_dev, state.st_ino) in seen:  # a link to a folder above
            folders.clear()
            continue
        seen.add((state.st_dev, state.st_ino))
        folders[:] = sorted(one for one in folders if not one.startswith((".", "__MACOSX")))
        inside = Path(folder).relative_to(root)
        yield from ((inside / name).as_posix() for name in names if not name.startswith("."))
