"""What lies in the folder of a benchmark: annotation files by their names, videos and pictures by theirs."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path, PurePosixPath

from workbench.data.index import PICTURES, VIDEOS
from workbench.errors import UserError

MEDIA = VIDEOS | PICTURES


@dataclass(frozen=True)
class Tree:
    """The files below a folder, at any depth; hidden ones do not count, links are followed."""

    root: Path
    files: Mapping[str, list[str]]
    """Name -> paths inside the folder, the least deep first, of everything that is no video or picture."""
    media: Mapping[str, list[str]]
    """Name without its suffix -> paths. A file without a suffix may be a picture, as those of CC3M are."""

    @classmethod
    def of(cls, root: Path) -> Tree:
        """Raises `UserError` where there is no such folder."""
        if not root.is_dir():
            raise UserError(f"there is no folder {root}")
        files, media = defaultdict(list), defaultdict(list)
        for path in sorted(_walk(root), key=lambda path: (path.count("/"), path)):
            name = PurePosixPath(path).name
            if without_suffix(name) != name or "." not in name:
                media[without_suffix(name)].append(path)
            if without_suffix(name) == name:
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

        The best one first: that which lies where the annotation says, then one with the same suffix.
        """
        path = PurePosixPath(name)
        keys = dict.fromkeys((path.name, without_suffix(path.name), path.name.rstrip(".")))
        found = next((self.media[key] for key in keys if key in self.media), [])

        def distance(one: str) -> tuple[bool, bool, int, str]:
            return not f"/{one}".endswith(f"/{path}"), not one.endswith(path.name), one.count("/"), one

        return sorted(found, key=distance)


def without_suffix(name: str) -> str:
    """A name without the suffix of a video or picture; other dots may be part of the name."""
    stem, dot, suffix = name.rpartition(".")
    return stem if stem and f"{dot}{suffix}".lower() in MEDIA else name


def _walk(root: Path) -> Iterable[str]:
    """Paths of the files below a folder, with a slash between their parts."""
    seen = set()
    for folder, folders, names in os.walk(root, followlinks=True):
        state = os.stat(folder)
        if (state.st_dev, state.st_ino) in seen:  # a link to a folder above
            folders.clear()
            continue
        seen.add((state.st_dev, state.st_ino))
        folders[:] = sorted(one for one in folders if not one.startswith("."))
        inside = Path(folder).relative_to(root)
        yield from ((inside / name).as_posix() for name in names if not name.startswith("."))
