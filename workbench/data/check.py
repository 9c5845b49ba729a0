"""A report on a whole data set before a study is spent on it: `python -m workbench.data check PATH`.

Every video is decoded as in a study, in killable processes; nothing is stored.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory
from typing import Any

from workbench import data as datasets
from workbench.config import DataConfig
from workbench.data import folder
from workbench.data.annotations.tree import walk
from workbench.data.build import DEADLINE
from workbench.data.index import PICTURES, VIDEOS, Clip, Index, Survey, absent
from workbench.data.progress import Progress
from workbench.data.store import SPLITS
from workbench.data.workers import run_tasks, usable_cores
from workbench.errors import UserError

SHOWN = 10
"""Number of examples of each kind in the report; it counts all of them."""


@dataclass(frozen=True, kw_only=True)
class Report:
    """The findings; videos are named by their path inside the folder."""

    problem: str
    """Why captions and splits cannot be used; empty if they can, or if there are none."""
    splits: dict[str, int]
    """Clips of each split; empty without captions."""
    facts: dict[str, dict[str, Any]]
    """The answer of `decode.examine_task` for each usable video."""
    refused: dict[str, str]
    """Videos that cannot be used, with the reason."""
    duplicate_clips: list[list[str]]
    """Groups of videos with the same content."""
    leaks: list[list[str]]
    """Groups of duplicates that are in more than one split."""
    duplicate_captions: dict[str, list[str]]
    """Captions of more than one clip; in an evaluation such clips are ties, which count against a model."""
    unnamed: list[str] = field(default_factory=list)
    """Videos of the folder that have no captions."""
    notes: tuple[str, ...] = ()
    """Decisions made for the user of a benchmark, such as how clips were split."""
    survey: Survey | None = None
    """For a benchmark: the files read, counts beside the published ones, invalid times."""

    @property
    def fine(self) -> bool:
        """Whether a study can use all of it, and its splits share no clip."""
        invalid = self.survey is not None and self.survey.invalid_times
        return not (self.problem or self.refused or self.leaks or invalid) and bool(self.facts)


def check(place: str, *, progress: bool = True) -> Report:
    """Examines every video of a data set. Raises `UserError` if there is none.

    place: a folder of videos, with or without `captions.csv`, or `NAME:PATH` as a study takes it.
    """
    name, source = datasets.place_of(place)
    if name == "folder" and source == place and not (Path(place) / folder.CAPTIONS).exists():
        return _report(Path(place), None, "", progress)
    datasets.check_source(name, source)
    return _named(name, source, progress)


def _named(name: str, source: str | None, progress: bool) -> Report:
    """Examines a data set by name; if its index cannot be used, the videos at its path."""
    try:
        index = datasets.read_index(DataConfig(name=name), source, usable=False)
    except UserError as error:
        if source is None or not Path(source).is_dir():
            raise
        return _report(Path(source), None, str(error), progress)
    with TemporaryDirectory() as cache:
        videos = datasets.load(name).videos(index, source, Path(cache), progress)
        return _report(videos, index, index.unusable, progress)


def _report(path: Path, index: Index | None, problem: str, progress: bool) -> Report:
    """path: the folder of the videos."""
    there = _media(path, PICTURES if index is not None and index.pictures else VIDEOS)
    if index is None and not there:
        there = _media(path, PICTURES)
    clips = _named_clips(index.clips if index else ())
    if not clips and not there and not problem:
        raise UserError(f"{path} has neither {folder.CAPTIONS} nor a video ({', '.join(sorted(VIDEOS))})")
    facts, refused = _examine(path, clips or dict.fromkeys(there), progress)
    same = _groups((answer["content"], name) for name, answer in facts.items())
    split = {name: clip.split for name, clip in clips.items()}
    return Report(
        problem=problem,
        splits={name: count for name in SPLITS if (count := list(split.values()).count(name))},
        facts=facts,
        refused=refused,
        duplicate_clips=list(same.values()),
        leaks=[group for group in same.values() if len({split.get(name) for name in group}) > 1],
        duplicate_captions={} if index and index.shared else _groups(_captions(clips)),
        unnamed=sorted(set(there) - {clip.path for clip in clips.values()}) if index else [],
        notes=index.notes if index is not None and (index.survey or index.shards) else (),
        survey=index.survey if index is not None else None,
    )


def _media(path: Path, suffixes: Collection[str]) -> list[str]:
    return sorted(name for name in walk(path) if PurePosixPath(name).suffix.lower() in suffixes)


def _named_clips(clips: Sequence[Clip]) -> dict[str, Clip]:
    """Clips by their paths; several segments of one file by their times as well."""
    files = Counter(clip.path for clip in clips)
    return {
        clip.path if files[clip.path] == 1 else f"{clip.path} {clip.start:g} to {clip.end:g} s": clip
        for clip in clips
    }


def _examine(
    path: Path, clips: Mapping[str, Clip | None], progress: bool
) -> tuple[dict[str, dict[str, Any]], dict[str, str]]:
    """Facts of each video that can be used, and the reason for each that cannot, in order of names."""
    size = {"count": DataConfig().frames, "size": DataConfig().size}
    names, tasks = list(clips), []
    facts, refused = {}, {}
    for number, (name, clip) in enumerate(clips.items()):
        task = clip.task(path) if clip else {"path": str(path / name)}
        if "path" in task and (why := absent(Path(task["path"]))):
            refused[name] = why
            continue
        tasks.append((number, task | size))
    answers = run_tasks(
        "workbench.data.shards.members:examine_task", tasks, workers=usable_cores(), deadline=DEADLINE
    )
    with Progress(len(tasks), "checking videos", "video", shown=progress) as bar:
        for done in answers:
            reason = done.failure or done.answer.get("reason")
            if reason:
                refused[names[done.number]] = reason
            else:
                facts[names[done.number]] = done.answer
            bar.update()
    return dict(sorted(facts.items())), dict(sorted(refused.items()))


def _captions(clips: Mapping[str, Clip]) -> Iterator[tuple[str, str]]:
    """Each caption once a clip, without regard to case."""
    for name, clip in clips.items():
        for caption in sorted({caption.casefold() for caption in clip.captions}):
            yield caption, name


def _groups(pairs: Iterable[tuple[str, str]]) -> dict[str, list[str]]:
    """Names under each key that has more than one."""
    found = defaultdict(list)
    for key, name in pairs:
        found[key].append(name)
    return {key: names for key, names in found.items() if len(names) > 1}


def text(report: Report) -> str:
    """The report in lines for a terminal."""
    return "\n".join(_lines(report))


def _lines(report: Report) -> Iterator[str]:
    facts = report.facts.values()
    yield f"{len(facts) + len(report.refused)} videos: {len(facts)} fine, {len(report.refused)} refused"
    if (survey := report.survey) is not None:
        yield f"annotations: {survey.taken}"
        for one in survey.counts:
            beside = "" if one.published is None else f", {one.published} published by {one.source}"
            yield f"{one.what}: {one.found}{beside}{' (differs)' if one.differs else ''}"
        for title, names in (
            ("segments that no clip can have", list(survey.invalid_times)),
            ("several files of one video, the first is taken", [", ".join(d) for d in survey.doubles]),
        ):
            if names:
                yield f"{title}: {len(names)}"
                yield from _examples(names)
    taken = survey.taken if survey is not None else None
    yield from (f"note: {note}" for note in report.notes if taken is None or taken not in note)
    if report.splits:
        yield "splits: " + ", ".join(f"{name} {count}" for name, count in report.splits.items())
    if report.problem:
        yield f"captions cannot be used: {report.problem}"
    for reason, count in Counter(report.refused.values()).most_common():
        yield f"refused, {reason}: {count}"
        yield from _examples([name for name, why in report.refused.items() if why == reason])
    if facts:
        yield f"codecs: {_counts(answer['codec'] for answer in facts)}"
        sizes = (f"{answer['width']}x{answer['height']}" for answer in facts)
        yield f"sizes: {_counts(sizes)}"
        seconds = [answer["seconds"] for answer in facts]
        frames = [answer["total"] for answer in facts]
        if any(seconds):  # images have no duration
            length = f"{min(seconds):.2f} to {max(seconds):.2f} s"
            yield f"duration: {length}; {min(frames)} to {max(frames)} frames"
    for title, names in (
        ("variable rate", [name for name, answer in report.facts.items() if answer["variable_rate"]]),
        ("damaged but usable", [name for name, answer in report.facts.items() if answer["damaged"]]),
        ("repeated frames in", [name for name, answer in report.facts.items() if answer["repeated"]]),
        ("clips that show the same", [" = ".join(group) for group in report.duplicate_clips]),
        ("clips that stand in several splits", [" = ".join(group) for group in report.leaks]),
        (
            "captions of several clips",
            [f"{c!r}: {len(n)} clips" for c, n in report.duplicate_captions.items()],
        ),
        ("videos without a caption", report.unnamed),
    ):
        if names:
            yield f"{title}: {len(names)}"
            yield from _examples(names)


def _examples(names: list[str]) -> Iterator[str]:
    yield from (f"  {name}" for name in names[:SHOWN])
    if len(names) > SHOWN:
        yield f"  and {len(names) - SHOWN} more"


def _counts(values: Iterable[str]) -> str:
    counted = Counter(values).most_common()
    more = f", and {len(counted) - SHOWN} more" if len(counted) > SHOWN else ""
    return ", ".join(f"{value} {count}" for value, count in counted[:SHOWN]) + more
