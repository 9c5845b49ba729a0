"""Combines rows of annotations and the files of a folder into an index."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath
from typing import Any

from workbench.data.annotations.families import Family, Row, Taken, take
from workbench.data.annotations.reading import whole
from workbench.data.annotations.tree import Tree, suffix_of, without_suffix
from workbench.data.digests import Digests
from workbench.data.index import VIDEOS, Clip, Count, Index, Survey, absent
from workbench.data.store import SPLITS
from workbench.errors import UserError

SHARE = 10
"""At most one in this many training clips is moved to val if the benchmark has no val split."""


@dataclass(frozen=True, kw_only=True)
class Benchmark:
    """Description of a benchmark under one of its protocols."""

    name: str
    """Name for `--data`, such as `msrvtt-7k`."""
    families: tuple[Family, ...]
    """Formats of its annotations; the first one that is present is read."""
    layout: str
    """Expected path of a missing video, such as `videos/all/{}.mp4`; `{}` stands for its name."""
    protocol: str
    """The protocol in words, recorded with every store."""
    published: Mapping[str, int] = field(default_factory=dict)
    """Published counts by their names, such as `test clips`."""
    source: str = ""
    """Source of the published counts."""
    pickles: Mapping[str, str] = field(default_factory=dict)
    """Name of a pickle of it -> the text file with the same content."""
    near: Mapping[str, str] = field(default_factory=dict)
    """Pattern of a file that is not sufficient -> the reason, see `take`."""
    shared: bool = False
    """See `Index.shared`."""
    kinds: frozenset[str] = VIDEOS
    """Suffixes of its media files: `VIDEOS` or `PICTURES`."""


def read(benchmark: Benchmark, source: str | None, digests: Digests) -> Index:
    """The index of a benchmark in a folder. Raises `UserError` if its annotations are missing or wrong."""
    assert source is not None, "SOURCE says so"
    tree = Tree.of(Path(source), benchmark.kinds)
    taken = take(benchmark.name, tree, benchmark.families, benchmark.pickles, benchmark.near)
    rows = list(taken.family.read(taken.files))
    found = _gather(benchmark, tree, taken, rows)
    counts = _counts(found.clips, benchmark)
    clips, notes = _with_val(found.clips, tree)
    return Index(
        digest=_digest(tree.root, clips, digests, benchmark.shared),
        clips=clips,
        notes=(
            f"protocol: {benchmark.protocol}",
            f"annotations read: {taken}",
            *(f"{c.what}: {c.found} here, {c.published} published" for c in counts if c.differs),
            *found.notes,
            *notes,
            *_twice(found.doubles),
            *_gaps(tree, clips),
        ),
        shared=benchmark.shared,
        survey=Survey(
            taken=str(taken),
            counts=counts,
            invalid_times=found.faults,
            doubles=tuple(dict.fromkeys(found.doubles)),
        ),
        unusable=_unusable(tree, clips, taken),
    )


def videos(index: Index, source: str | None, cache: Path, progress: bool) -> Path:
    """The folder itself: nothing is copied."""
    assert source is not None, "SOURCE says so"
    return Path(source)


@dataclass(frozen=True)
class _Gathered:
    clips: tuple[Clip, ...]
    faults: tuple[str, ...]
    doubles: tuple[tuple[str, ...], ...]
    notes: tuple[str, ...]


def _gather(benchmark: Benchmark, tree: Tree, taken: Taken, rows: Sequence[Row]) -> _Gathered:
    """A clip for each video or segment with all its captions, in the order of the annotations."""
    clips: dict[tuple[str, float, float], Clip] = {}
    splits: dict[str, str] = {}
    faults: list[str] = []
    doubles: list[tuple[str, ...]] = []
    empty = 0
    known: dict[tuple[str, float, float], dict[str, list[Any]]] = {}
    for row in rows:
        if row.fault:
            faults.append(f"{row.video}: {row.fault}")
        if row.fault or not row.caption:
            empty += not row.fault
            continue
        name = str(PurePosixPath(whole(row.video)))
        if not PurePosixPath(name).name:
            raise UserError(f"{taken}: {row.video!r} names no video")
        if (split := splits.setdefault(name, row.split)) != row.split:
            raise UserError(
                f"{row.video} is in {split} and in {row.split} of {taken}; a video belongs to one split"
            )
        key = name, row.start, row.end
        for what, entry in row.known.items():
            known.setdefault(key, {}).setdefault(what, []).append(entry)
        clip = clips.get(key)
        if clip is None:
            places = tree.places(name)
            if len(places) > 1:
                doubles.append(tuple(places))
            clips[key] = Clip(
                id=name,
                path=places[0] if places else _where(name, benchmark.layout),
                split=row.split,
                captions=(row.caption,),
                label=row.label,
                start=row.start,
                end=row.end,
            )
        else:
            clips[key] = replace(clip, captions=(*clip.captions, row.caption))
    if not clips:
        raise UserError(f"{tree.root}: {taken} names no video with a caption")
    for what in dict.fromkeys(what for one in known.values() for what in one):
        for key, clip in clips.items():
            attributes = {**clip.attributes, what: known.get(key, {}).get(what, [])}
            clips[key] = replace(clip, attributes=attributes)
    notes = []
    if empty:
        notes.append(f"{empty} empty captions left out")
    if faults:
        notes.append(f"{len(faults)} segments left out that no clip can have, such as {faults[0]}")
    segments = Counter(clip.id for clip in clips.values())
    named = (
        replace(clip, id=f"{clip.id}@{clip.start:g}-{clip.end:g}") if segments[clip.id] > 1 else clip
        for clip in clips.values()
    )
    return _Gathered(tuple(named), tuple(faults), tuple(doubles), tuple(notes))


def _where(name: str, layout: str) -> str:
    """Path inside the folder at which a missing video is expected."""
    path, usual = PurePosixPath(name), PurePosixPath(layout)
    if path.parent.parts and not path.is_absolute() and ".." not in path.parts:
        return name if suffix_of(name) else name + usual.suffix
    return str(usual.with_name(path.name)) if suffix_of(path.name) else layout.format(path.name)


def _plain(name: str) -> str:
    """The last part of a name without a suffix."""
    return without_suffix(PurePosixPath(name).name)


def _counts(clips: Sequence[Clip], benchmark: Benchmark) -> tuple[Count, ...]:
    """Clips and captions of each split; 0 for a published split that is missing."""
    found: dict[str, int] = {}
    for split in SPLITS:
        captions = [len(clip.captions) for clip in clips if clip.split == split]
        if captions:
            found |= {f"{split} clips": len(captions), f"{split} captions": sum(captions)}
    return tuple(
        Count(
            what=what,
            found=found.get(what, 0),
            published=benchmark.published.get(what),
            source=benchmark.source if what in benchmark.published else "",
        )
        for what in dict.fromkeys([*found, *benchmark.published])
    )


def _with_val(clips: tuple[Clip, ...], tree: Tree) -> tuple[tuple[Clip, ...], tuple[str, ...]]:
    """Moves clips of train to val, by a hash of the names, if there is no val; and notes on the decision.

    Val gets as many clips as test, but at most a tenth of train, among those whose files exist. If each clip
    of test has one caption, each clip of val keeps only its first, so that queries are of the same kind.
    """
    absent = [split for split in ("train", "test") if not any(clip.split == split for clip in clips)]
    if absent:
        raise UserError(f"the annotations have no captions for {' and '.join(absent)}")
    if any(clip.split == "val" for clip in clips):
        if sum(clip.split == "train" for clip in clips) < 2:
            raise UserError("the annotations have one clip for train; at least 2 are needed")
        return clips, ()
    test = [clip for clip in clips if clip.split == "test"]
    train = sorted((c for c in clips if c.split == "train"), key=lambda c: _rank(c.path))
    share = min(len(test), max(1, len(train) // SHARE))
    if len(train) < 3:
        raise UserError(f"train has {len(train)} videos, too few to take val from; at least 3 are needed")
    files = list(dict.fromkeys(clip.path for clip in train))  # segments of one file stay together
    files = ([one for one in files if (tree.root / one).is_file()] or files)[:share]
    taken = set(files)
    chosen = {clip.id for clip in train if clip.path in taken}
    single = all(len(clip.captions) == 1 for clip in test)
    found = []
    for clip in clips:
        if clip.id in chosen:
            captions = clip.captions[:1] if single else clip.captions
            clip = replace(clip, split="val", captions=captions)
        found.append(clip)
    what = "each with its first caption" if single else "with their captions"
    note = f"val is {len(chosen)} clips of train, {what}: the benchmark has no val apart from its test"
    return tuple(found), (note,)


def _twice(doubles: Sequence[tuple[str, ...]]) -> Iterator[str]:
    """A note if a video exists more than once."""
    if doubles:
        first, *others = doubles[0]
        yield f"{len(doubles)} lie there several times, such as {first}, which is taken, and {others[0]}"


def _gaps(tree: Tree, clips: Iterable[Clip]) -> Iterator[str]:
    """A note for each split with missing or empty files."""
    for split in SPLITS:
        mine = [clip.path for clip in clips if clip.split == split]
        gone = [path for path in mine if absent(tree.root / path)]
        if gone:
            yield f"{len(gone)} of {len(mine)} clips of {split} are not there or empty, such as {gone[0]}"


def _unusable(tree: Tree, clips: Iterable[Clip], taken: Taken) -> str:
    """The reason why an index is unusable: a whole split has no files."""
    for split in SPLITS:
        mine = [clip for clip in clips if clip.split == split]
        if mine and not any((tree.root / clip.path).is_file() for clip in mine):
            return (
                f"none of the {len(mine)} videos of {split} lies in {tree.root}, where the first would be "
                f"{mine[0].path}; or {taken.family.name}'s annotations here are of another benchmark"
            )
    return ""


def _rank(name: str) -> str:
    return hashlib.sha256(_plain(name).encode()).hexdigest()


def _digest(root: Path, clips: Iterable[Clip], digests: Digests, shared: bool) -> str:
    """Digest of captions, splits, segments, attributes and the content of every file; names of files do not
    count."""
    sha = hashlib.sha256(b"shared" if shared else b"")
    for clip in clips:
        row: list[Any] = [clip.id, clip.split, list(clip.captions), clip.label, clip.start, clip.end]
        row += [dict(clip.attributes)] if clip.attributes else []
        sha.update(json.dumps([*row, digests.of(root / clip.path)]).encode())
    return sha.hexdigest()
