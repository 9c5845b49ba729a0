"""Files in the folder of a benchmark: annotation files, videos and images by their names."""

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
"""Pattern of the suffix of a name, or of its remainder: some of Flickr's videos are named `x.null` and `x.`.
Numbers alone are not suffixes, because names of LSMDC's clips end with times."""


@dataclass(frozen=True)
class Tree:
    """The files below a folder, at any depth; hidden files are ignored, links are followed."""

    root: Path
    files: Mapping[str, list[str]]
    """Name -> paths inside the folder, the least deep first, of all files except videos and images."""
    media: Mapping[str, list[str]]
    """Name without its suffix -> paths. A file without a suffix may be an image, as in CC3M."""

    @classmethod
    def of(cls, root: Path, kinds: Collection[str] = VIDEOS) -> Tree:
        """The tree of a folder. Raises `UserError` if there is no such folder.

        kinds: suffixes of the media, `VIDEOS` or `PICTURES`, because videos may have thumbnails beside them.
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
        """The annotation file of a name, the least deep one; `a|b` means one or the other, `*` any
        characters."""
        for one in pattern.split("|"):
            names = [one] if one in self.files else sorted(n for n in self.files if fnmatchcase(n, one))
            if names:
                return self.root / self.files[names[0]][0]
        return None

    def pickles(self) -> list[str]:
        """Names of the pickles."""
        return sorted(name for name in self.files if name.endswith((".pkl", ".pickle")))

    def places(self, name: str) -> list[str]:
        """Files of a video or image as an annotation names it, with or without folders and suffix.

        The best one comes first: files with content precede others, then files at the annotated path, then
        files with the same suffix; a GIF may be the preview of a video and comes last. If there is none,
        files with the same name and any suffix are returned.
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
    """A name without the suffix of a video or image; other dots may be part of the name."""
    stem, dot, suffix = name.rpartition(".")
    return stem if stem and f"{dot}{suffix}".lower() in MEDIA else name


def suffix_of(name: str) -> str:
    """The suffix of a name with its dot, known or not, see `SUFFIX`; empty if it has none."""
    stem, dot, suffix = name.rpartition(".")
    return f"{dot}{suffix}" if stem and SUFFIX.fullmatch(f"{dot}{suffix}") else ""


def _has_content(path: Path) -> bool:
    """Whether a file exists and is not empty; False for a link without its target."""
    try:
        return path.stat().st_size > 0
    except OSError:
        return False


def walk(root: Path) -> Iterable[str]:
    """Paths of the files below a folder, with a slash between their parts, see `Tree`. Files that macOS adds
    to archives are ignored as well."""
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
