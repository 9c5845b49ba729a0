"""Data sets, one module each. `prepare` converts one into a frame store that training reads.

A data set is a module or a package below this one, at any depth, with two functions:

- ``index(data, source, digests) -> Index``: clips, captions, splits, digest; cheap, decodes nothing;
- ``videos(index, source, cache, progress) -> Path``: the folder that contains the clips.

Its name is the last part of its path. It may have constants: ``SOURCE``, a description of PATH in ``--data
NAME:PATH``, such as "own videos" (without it the data set takes no path); ``GENERATED = True`` for a
synthetic data set with `DataConfig.clips` training clips; ``PROTOCOLS``, suffixes of its name with their
meaning, if there are several, such as ``{"": "...", "7k": "..."}``; and ``TASKS``, suffix -> additional tasks
of runs on it, or a function ``tasks(source)`` if they depend on the data. A synthetic data set may provide
ground truth: ``motion(store, rows)`` and ``boxes(store, rows)``, see `truth.Truth`. A data set that needs
other numbers of frames, pixels or tokens than studies usually have defines them, and `--data` follows: ``READ
= {"frames": 16, "size": 96, "max_tokens": 48}``.
"""

from __future__ import annotations

import ast
import functools
import os
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType, ModuleType
from typing import TYPE_CHECKING, Any, NamedTuple

from workbench import extensions
from workbench.errors import UserError

if TYPE_CHECKING:
    from workbench.config import DataConfig
    from workbench.data.index import Index
    from workbench.data.store import FrameStore
    from workbench.data.truth import Truth


__path__ += extensions.paths("datasets")


def names() -> list[str]:
    """Data sets: modules of this package, at any depth, that define `index` and `videos`, and the user's."""
    return sorted(_places(tuple(__path__)))


def prepare(
    data: DataConfig,
    *,
    source: str | None = None,
    root: Path,
    progress: bool = True,
    allow_bad_eval: bool = False,
) -> Path:
    """Path of the frame store, which is built if it does not exist. Raises `UserError`.

    Args:
        source: path of the user's own data, for data sets that take one.
        root: folder of prepared data sets.
        allow_bad_eval: evaluate without the videos that cannot be decoded, instead of raising an error.
    """
    from workbench.data.build import Job, build, refuse_gaps
    from workbench.data.store import FrameStore, is_ready, store_path

    module = load(data.name)
    if not (data.digest and is_ready(path := store_path(data, Path(root)))):
        index = read_index(data, source, Path(root))
        path = store_path(replace(data, digest=index.digest), Path(root))
        build(Job(data, source, Path(root), progress, allow_bad_eval), module, index, path)
    if not allow_bad_eval:  # the store may be from a call that allowed missing videos
        skipped = FrameStore.open(path).skipped
        refuse_gaps([(one["video"], one["reason"]) for one in skipped if one["split"] != "train"])
    return path


class Described(NamedTuple):
    """Properties of data that are known without decoding."""

    data: DataConfig
    """The configuration with the digest of its content."""
    train_clips: int
    known: frozenset[str]
    """Ground truth of its clips, see `known_of`."""
    pictures: bool = False
    """Whether all its clips are single images."""
    notes: tuple[str, ...] = ()
    """Decisions made for the user, see `Index.notes`."""
    words: Mapping[int, int] = MappingProxyType({})
    """Number of words of a caption -> number of such captions."""
    clips: int = 0
    """Number of clips in all splits."""
    tasks: tuple[str, ...] = ()
    """Additional tasks, see `more_tasks`."""


def describe(data: DataConfig, source: str | None = None, *, root: Path | None = None) -> Described:
    """Reads the index of a data set. Raises `UserError` if it is not usable, or not with its `data.text`.

    root: folder of prepared data sets, which also contains known digests of files; without it every file is
        read.
    """
    from workbench.data.texts import check

    index = read_index(data, source, root)
    check(data, index.known)
    splits = Counter(clip.split for clip in index.clips)
    counts = ", ".join(f"{name} {splits[name]}" for name in ("train", "val", "test"))
    return Described(
        replace(data, digest=index.digest),
        splits["train"],
        index.known | _boxed(data.name),
        pictures=index.pictures,
        notes=(f"clips: {counts}", *index.notes) if source else index.notes,
        words=Counter(len(caption.split()) for clip in index.clips for caption in clip.captions),
        clips=len(index.clips),
        tasks=more_tasks(data.name, source),
    )


def read_index(
    data: DataConfig, source: str | None, root: Path | None = None, *, usable: bool = True
) -> Index:
    """The index of a data set. Raises `UserError` if the path is missing, superfluous or not usable.

    usable: False also returns the index of a benchmark that no study can use, see `Index.unusable`.
    """
    from workbench.data.digests import NAME, Digests

    check_source(data.name, source)
    module = load(data.name)
    digests = Digests(root / NAME if root is not None else None)
    try:
        index: Index = module.index(data, source, digests)
    finally:
        digests.keep()  # also after an interruption, so that reading continues from there
    if usable and index.unusable:
        raise UserError(index.unusable)
    return index


def named_place(place: str) -> tuple[str, str | None]:
    """Name and path of `NAME` or `NAME:PATH`, as for `--data`. A leading `~` of the path is expanded, because
    shells do not expand it after a colon."""
    name, _, source = place.partition(":")
    return name, os.path.expanduser(source) or None


def place_of(place: str) -> tuple[str, str | None]:
    """As `named_place`, but a folder of videos may also be given by its path alone. Raises `UserError` for
    anything else."""
    from workbench.data.index import check_folder_there

    name, source = named_place(place)
    if os.path.isdir(place):
        return "folder", place
    if name in names():
        return name, source
    if os.path.isfile(place):
        check_folder_there(Path(place))
    raise UserError(f"there is no folder {place}, and no data set {name!r}; there are {', '.join(names())}")


def check_source(name: str, source: str | None) -> None:
    """Raises `UserError` for a missing path, and for a path of a data set that takes none."""
    wanted = getattr(load(name), "SOURCE", "")
    if wanted and not source:
        raise UserError(f"{wanted} need a place: --data {name}:PATH")
    if source and not wanted:
        raise UserError(f"{name} takes no place: --data {name}, without {source!r}")


def generated(name: str) -> bool:
    """Whether a data set is synthetic, of any size. Raises `UserError` for an unknown name."""
    return getattr(load(name), "GENERATED", False)


def read_at(name: str) -> Mapping[str, int]:
    """`frames`, `size` and `max_tokens` that runs use for a data set; empty if it does not define them."""
    wished: Mapping[str, int] = getattr(load(name), "READ", {})
    return wished


def more_tasks(name: str, source: str | None = None) -> tuple[str, ...]:
    """Additional tasks of runs on a data set; for shards those of the data that they contain."""
    module = load(name)
    asked: dict[str, tuple[str, ...]] = getattr(module, "TASKS", {})
    own: tuple[str, ...] = module.tasks(source) if source and hasattr(module, "tasks") else ()
    return (*asked.get(name.partition("-")[2], ()), *own)


def truth_of(store: FrameStore) -> Truth:
    """Ground truth of the clips of a store; empty if its data set is unknown."""
    import numpy as np

    from workbench.data.truth import Truth

    motion, boxes = (_knowing(store.name, what) for what in ("motion", "boxes"))
    return Truth(
        data=store.name,
        clips=len(store.clip_ids),
        training=np.unique(store.splits["train"].clips),
        motion=functools.partial(motion, store) if motion is not None else None,
        boxes=functools.partial(boxes, store) if boxes is not None else None,
        attributes=store.attributes,
        labels=[store.label_names[label] for label in store.labels],
    )


def known_of(store: FrameStore) -> frozenset[str]:
    """Ground truth of every clip of a store: `FrameStore.known`, and `box` if the data have `boxes`."""
    return store.known | _boxed(store.name)


def knows_motion(name: str) -> bool:
    """Whether the motion in the clips of a data set is known."""
    return _knowing(name, "motion") is not None


def _boxed(name: str) -> frozenset[str]:
    return frozenset({"box"} if _knowing(name, "boxes") is not None else ())


def _knowing(name: str, what: str) -> Callable[..., Any] | None:
    """A function of a data set that returns ground truth; None if it has none of this name."""
    return getattr(load(name), what, None) if name in names() else None


def load(name: str) -> ModuleType:
    """The module of a data set. Raises `UserError` for an unknown name."""
    place = _places(tuple(__path__)).get(name)
    if place is None:
        if os.path.isdir(name):  # False for a name too long for a path
            raise UserError(f"no data set {name!r}; did you mean folder:{name}?")
        raise UserError(f"no data set {name!r}; there are {', '.join(names())}")
    return extensions.module(place)


@functools.cache
def _places(roots: tuple[str, ...]) -> dict[str, str]:
    """Name -> module path. Parsed, not imported, because listing names must not load a decoder."""
    found: dict[str, str] = {}
    theirs = extensions.paths("datasets")
    for root in (Path(root) for root in roots if root not in theirs):
        for path in sorted(root.rglob("*.py")):
            tree = ast.parse(path.read_text(encoding="utf-8"))
            parts = path.relative_to(root).with_suffix("").parts
            parts = parts[:-1] if parts[-1] == "__init__" else parts
            if not parts or not {"index", "videos"} <= set(_names_in(tree)):
                continue
            place = ".".join((__name__, *parts))
            for ending in _protocols_in(tree):
                name = f"{parts[-1]}-{ending}" if ending else parts[-1]
                if known := found.get(name):
                    raise ValueError(f"{known} and {place} are two data sets of one name")
                found[name] = place
    # Only files at the top of the user's folder, which may contain the data as well.
    for stem, path in extensions.files("datasets").items():
        try:
            endings = _protocols_in(ast.parse(path.read_bytes()))
        except (SyntaxError, ValueError):
            endings = [""]  # `load` reports the fault
        for name in (f"{stem}-{ending}" if ending else stem for ending in endings):
            if name in found:
                raise UserError(f"{path} has the name of {found[name]}; give the file another")
            found[name] = f"{__name__}.{stem}"
    return found


def _names_in(tree: ast.Module) -> Iterator[str]:
    """Functions that a module defines or imports, if it has its own `index`."""
    own = {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}
    if "index" in own:
        yield from own
        for node in tree.body:
            if isinstance(node, ast.ImportFrom):
                yield from (alias.name for alias in node.names)


def _protocols_in(tree: ast.Module) -> list[str]:
    """Suffixes of the names of a module's data sets; one empty suffix if it has no protocols."""
    for node in tree.body:
        if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") == "PROTOCOLS":
            return list(ast.literal_eval(node.value))
    return [""]
