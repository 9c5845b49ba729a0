"""Data sets: a module each. `prepare` turns one into a frame store that training reads.

A data set is a module or a package below this one, at any depth, with two functions:

- ``index(data, source, digests) -> Index``: clips, captions, splits, digest; cheap, decodes nothing;
- ``videos(index, source, cache, progress) -> Path``: the folder in which the clips lie.

Its name is the last part of its path. It may have constants: ``SOURCE``, in words what has to be given with
``--data NAME:PATH``, such as "own videos" (without it the data set takes no path); ``GENERATED = True``
where it is made with as many training clips as `DataConfig.clips` asks for; ``PROTOCOLS``, endings of its
name with what they mean, where there are several, such as ``{"": "...", "7k": "..."}``; and ``TASKS``, such
an ending -> tasks that a run on it is evaluated by beside its own, or a function ``tasks(source)`` where
they depend on what lies there. A drawn one may know more than pixels:
``motion(store, rows)`` and ``boxes(store, rows)``, see `truth.Truth`. One that is to be read at other numbers
of frames and pixels, or with longer captions, than studies usually do, says so, and `--data` follows it:
``READ = {"frames": 16, "size": 96, "max_tokens": 48}``.
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
    """Path of the ready frame store; makes it when it is not there. Raises `UserError`.

    Args:
        source: path of the user's own data, for data sets that take one.
        root: where prepared data sets lie.
        allow_bad_eval: evaluate without the videos that cannot be decoded, instead of refusing.
    """
    from workbench.data.build import Job, build, refuse_gaps
    from workbench.data.store import FrameStore, is_ready, store_path

    module = load(data.name)
    if not (data.digest and is_ready(path := store_path(data, Path(root)))):
        index = read_index(data, source, Path(root))
        path = store_path(replace(data, digest=index.digest), Path(root))
        build(Job(data, source, Path(root), progress, allow_bad_eval), module, index, path)
    if not allow_bad_eval:  # the store may be from a call that allowed it
        skipped = FrameStore.open(path).skipped
        refuse_gaps([(one["video"], one["reason"]) for one in skipped if one["split"] != "train"])
    return path


class Described(NamedTuple):
    """Data as far as it is known without decoding it."""

    data: DataConfig
    """The configuration with the digest of its content."""
    train_clips: int
    known: frozenset[str]
    """What is known of its clips, see `known_of`."""
    pictures: bool = False
    """Whether all its clips are single pictures."""
    notes: tuple[str, ...] = ()
    """What was decided for the user, see `Index.notes`."""
    words: Mapping[int, int] = MappingProxyType({})
    """Words of a caption -> how many captions have as many."""
    clips: int = 0
    """Of all splits."""
    tasks: tuple[str, ...] = ()
    """See `more_tasks`."""


def describe(data: DataConfig, source: str | None = None, *, root: Path | None = None) -> Described:
    """Reads the index of a data set. Raises `UserError` where it is not usable, or not with its `data.text`.

    root: where prepared data sets lie, and with them what is known of the content of files; without it every
    file is read.
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
    """The index of a data set; `UserError` where the path is missing, not wanted, or not usable.

    usable: False also gives the index of a benchmark that no study can use, see `Index.unusable`.
    """
    from workbench.data.digests import NAME, Digests

    check_source(data.name, source)
    module = load(data.name)
    digests = Digests(root / NAME if root is not None else None)
    try:
        index: Index = module.index(data, source, digests)
    finally:
        digests.keep()  # also after an interruption: reading goes on from there
    if usable and index.unusable:
        raise UserError(index.unusable)
    return index


def named_place(place: str) -> tuple[str, str | None]:
    """Name and path of `NAME` or `NAME:PATH`, as `--data` takes it. A path may begin with `~`, which a shell
    leaves as it is behind a colon."""
    name, _, source = place.partition(":")
    return name, os.path.expanduser(source) or None


def place_of(place: str) -> tuple[str, str | None]:
    """As `named_place`, where a folder of one's own may be given by its path alone. Raises `UserError` where
    it is neither."""
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
    """Refuses a data set whose path is missing, and a path for one that takes none."""
    wanted = getattr(load(name), "SOURCE", "")
    if wanted and not source:
        raise UserError(f"{wanted} need a place: --data {name}:PATH")
    if source and not wanted:
        raise UserError(f"{name} takes no place: --data {name}, without {source!r}")


def generated(name: str) -> bool:
    """Whether a data set is made with as many clips as are asked for. Raises `UserError` for none of ours."""
    return getattr(load(name), "GENERATED", False)


def read_at(name: str) -> Mapping[str, int]:
    """`frames`, `size` and `max_tokens` at which runs read a data set; empty where it has no wish."""
    wished: Mapping[str, int] = getattr(load(name), "READ", {})
    return wished


def more_tasks(name: str, source: str | None = None) -> tuple[str, ...]:
    """Tasks that a run on a data set is evaluated by beside its own; of shards those of what they are of."""
    module = load(name)
    asked: dict[str, tuple[str, ...]] = getattr(module, "TASKS", {})
    own: tuple[str, ...] = module.tasks(source) if source and hasattr(module, "tasks") else ()
    return (*asked.get(name.partition("-")[2], ()), *own)


def truth_of(store: FrameStore) -> Truth:
    """What is known of the clips of a store; nothing where its data set is none of ours."""
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
    """What is known of every clip of a store: `FrameStore.known`; `box` where its data set has `boxes`."""
    return store.known | _boxed(store.name)


def knows_motion(name: str) -> bool:
    """Whether it is known how the clips of a data set move."""
    return _knowing(name, "motion") is not None


def _boxed(name: str) -> frozenset[str]:
    return frozenset({"box"} if _knowing(name, "boxes") is not None else ())


def _knowing(name: str, what: str) -> Callable[..., Any] | None:
    """The function of a data set that knows something of its clips; None where there is none."""
    return getattr(load(name), what, None) if name in names() else None


def load(name: str) -> ModuleType:
    """The module of a data set. Raises `UserError` for a name that is none."""
    place = _places(tuple(__path__)).get(name)
    if place is None:
        if os.path.isdir(name):  # also of a name too long for a path
            raise UserError(f"no data set {name!r}; did you mean folder:{name}?")
        raise UserError(f"no data set {name!r}; there are {', '.join(names())}")
    return extensions.module(place)


@functools.cache
def _places(roots: tuple[str, ...]) -> dict[str, str]:
    """Name -> module path. Read, not imported: listing names must not load a decoder."""
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
    # Of the user's folder the files beside each other only: it may hold the data as well.
    for stem, path in extensions.files("datasets").items():
        try:
            endings = _protocols_in(ast.parse(path.read_bytes()))
        except (SyntaxError, ValueError):
            endings = [""]  # `load` says what is wrong with it
        for name in (f"{stem}-{ending}" if ending else stem for ending in endings):
            if name in found:
                raise UserError(f"{path} has the name of {found[name]}; give the file another")
            found[name] = f"{__name__}.{stem}"
    return found


def _names_in(tree: ast.Module) -> Iterator[str]:
    """Functions that a module defines or takes from another, where it has an `index` of its own."""
    own = {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}
    if "index" in own:
        yield from own
        for node in tree.body:
            if isinstance(node, ast.ImportFrom):
                yield from (alias.name for alias in node.names)


def _protocols_in(tree: ast.Module) -> list[str]:
    """Endings of the names under which a module is a data set; one empty ending where it has no protocols."""
    for node in tree.body:
        if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") == "PROTOCOLS":
            return list(ast.literal_eval(node.value))
    return [""]
