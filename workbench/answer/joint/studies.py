"""One answer of several studies: their cells in one table, with comparisons of equal choices.

The study is an axis. A cell is compared with the cell of the first study that has the same other choices,
paired by seed and by query if both studies have the same queries on the same data; if not, their scores are
shown side by side without a difference. No study has planned such a comparison, so it is never a claim.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import polars as pl

from workbench import naming
from workbench.answer.evidence import Evidence
from workbench.answer.results import Answer, answer, answer_of
from workbench.answer.study_record import StudyRecord, load_asked
from workbench.errors import UserError
from workbench.naming import PLAIN
from workbench.tasks import queries_of
from workbench.tracking.cache.queries import QueryValues
from workbench.tracking.run_dir import RunDir

STUDY = "study"
"""The axis that a joint answer adds."""


@dataclass(frozen=True, kw_only=True)
class _Part:
    """One of the studies."""

    answer: Answer
    queries: str
    """Digest of the queries of its runs; empty if the metric is one number for each run."""
    data: str
    """Digest of the data of its runs; empty if it was not recorded, or if runs disagree."""

    @property
    def name(self) -> str:
        return self.answer.asked.name

    def key(self, key: str) -> str:
        """A cell's key among those of the other studies, which may have the same cell."""
        return f"{self.name}/{key}"


def together(names: Sequence[str], results: Path) -> Answer:
    """The joint answer of several studies.

    Raises `UserError` for studies that cannot stand in one table: a search, one without complete runs, two
    that ask for different metrics, one that is named twice.
    """
    if twice := [name for name in dict.fromkeys(names) if list(names).count(name) > 1]:
        raise UserError(f"study {twice[0]!r} is named twice; a report of several studies names each once")
    return joined([answer(load_asked(results, name)[0], results) for name in names], results)


def joined(answers: Sequence[Answer], results: Path) -> Answer:
    """The same of what several studies in one folder have answered each, to the same metric."""
    parts = [_part(found, results) for found in answers]
    _check(parts)
    first, *others = parts
    unpaired = {part.name: why for part in others if (why := _unpaired(first, part))}
    found = answer_of(_asked(parts), _evidence(parts, unpaired))
    said = [_said(first, part, unpaired.get(part.name, ""), found) for part in others]
    own = {
        part.key(row["key"]): (row["low"], row["high"])
        for part in parts
        for row in part.answer.cells.select("key", "low", "high").iter_rows(named=True)
    }
    limits = [own[key] for key in found.cells["key"]]  # from each study's own report, whatever is paired here
    cells = found.cells.with_columns(
        pl.Series("low", [low for low, _ in limits], dtype=pl.Float64),
        pl.Series("high", [high for _, high in limits], dtype=pl.Float64),
    )
    return replace(found, cells=cells, sentence=" ".join([*said, found.sentence]))


def _part(found: Answer, results: Path) -> _Part:
    asked, name = found.asked, found.asked.name
    if asked.search:
        raise UserError(
            f"study {name} is a search, whose trials are chosen one after another; a report of several "
            "studies is for those that run every cell"
        )
    if found.cells.is_empty():
        raise UserError(f"no run of study {name!r} is complete yet; `{asked.command}` runs what is missing")
    if STUDY in asked.axes:
        raise UserError(f"study {name} has an axis {STUDY!r} of its own, as a report of several studies has")
    done, where, queries = found.evidence.done, queries_of(asked.metric), ""
    if where is not None:
        some = done.filter(~pl.col("key").is_in(list(found.evidence.refused)))
        known = (RunDir.of(results, name, key, seed) for key, seed in some.select("key", "seed").rows())
        answered = next((one for run in known if (one := QueryValues().of(run, where)) is not None), None)
        queries = answered.identity if answered is not None else ""
    column = "env.data_digest"
    digests = done[column].unique().to_list() if column in done.columns else []
    data = str(digests[0]) if len(digests) == 1 and digests[0] else ""
    return _Part(answer=found, queries=queries, data=data)


def _check(parts: Sequence[_Part]) -> None:
    """Raises `UserError` for studies that cannot share a table."""
    first = parts[0].answer.asked
    for part in parts[1:]:
        other = part.answer.asked
        if other.metric != first.metric:
            raise UserError(
                f"a report of several studies has one metric, but {first.name} asks for {first.metric} and "
                f"{other.name} for {other.metric}"
            )
        if other.maximize != first.maximize:
            raise UserError(
                f"{first.name} and {other.name} disagree on whether more {first.metric} is better"
            )


def _unpaired(first: _Part, other: _Part) -> str:
    """Why cells of two studies cannot be paired; empty if they can."""
    if not (first.data and other.data):
        return "their runs do not note which data they were tested on"
    if first.data != other.data:
        return f"they were tested on other data (digests {first.data[:12]} and {other.data[:12]})"
    return "" if first.queries == other.queries else "they were asked other queries of the same data"


def _asked(parts: Sequence[_Part]) -> StudyRecord:
    """The joint question; registered contrasts remain in each study's own report."""
    first = parts[0].answer.asked
    axes = list(dict.fromkeys(axis for part in parts for axis in part.answer.asked.axes))
    says = _says(parts)
    cells: dict[str, Mapping[str, naming.Value]] = {
        part.key(key): {STUDY: part.name, **chosen}
        for part in parts
        for key, chosen in part.answer.asked.cells.items()
    }
    return replace(
        first,
        name="-and-".join(part.name for part in parts),
        studies=tuple(part.name for part in parts),
        question=" ".join(dict.fromkeys(part.answer.asked.question for part in parts)),
        axes=(STUDY, *axes),
        says=says,
        baseline=parts[0].key(first.baseline or next(iter(first.cells))),
        within=tuple(axes),
        seeds=tuple(sorted({seed for part in parts for seed in part.answer.asked.seeds})),
        reads=tuple(dict.fromkeys(name for part in parts for name in part.answer.asked.reads)),
        claims=(),
        contrasts=(),
        looks={},
        collapse=None,
        exploring=True,
        smoke=any(part.answer.asked.smoke for part in parts),
        plan=PLAIN,
        arguments=(),
        labels={key: naming.cell(chosen, says) for key, chosen in cells.items()},
        cells=cells,
    )


def _says(parts: Sequence[_Part]) -> dict[str, str]:
    """Words of an axis that all studies with that axis have; without them a choice is said by its name."""
    found: dict[str, set[str]] = {}
    for part in parts:
        for axis in part.answer.asked.axes:
            found.setdefault(axis, set()).add(part.answer.asked.says.get(axis, ""))
    words = {axis: next(iter(said)) for axis, said in found.items() if len(said) == 1}
    return {axis: said for axis, said in words.items() if said} | {STUDY: naming.VALUE}


def _evidence(parts: Sequence[_Part], unpaired: Mapping[str, str]) -> Evidence:
    """The runs of all studies under the keys of the joint answer."""
    tables = [
        part.answer.evidence.runs.with_columns(
            pl.format("{}/{}", pl.lit(part.name), "key").alias("key"),
            pl.format("{}/{}", pl.lit(part.name), "run").alias("run"),
            pl.lit(part.name).alias(f"axis.{STUDY}"),
        )
        for part in parts
    ]
    captions = {part.answer.evidence.val_captions for part in parts}
    refused = {part.key(key): why for part in parts for key, why in part.answer.evidence.refused.items()} | {
        part.key(key): f"{parts[0].name} and {part.name} are unpaired: {unpaired[part.name]}"
        for part in parts
        if part.name in unpaired
        for key in part.answer.evidence.values
    }
    return Evidence(
        runs=pl.concat(tables, how="diagonal_relaxed"),
        others=0,
        values={part.key(key): seeds for part in parts for key, seeds in part.answer.evidence.values.items()},
        groups=parts[0].answer.evidence.groups,
        looks=(),
        val_captions=captions.pop() if len(captions) == 1 else None,
        refused=refused,
    )


def _said(first: _Part, other: _Part, unpaired: str, found: Answer) -> str:
    """Whether the cells of two studies are paired, as a sentence."""
    both = f"{first.name} and {other.name}"
    if unpaired:
        return f"{both} are unpaired: {unpaired}; their scores stand beside each other without a difference."
    many = sum(key.startswith(f"{other.name}/") for key in found.comparisons)
    if not many:
        return f"{both} were asked the same queries, but no cell of one has all choices of one of the other."
    cells = f"{many} cell{'' if many == 1 else 's'} with the same choices {'is' if many == 1 else 'are'}"
    return (
        f"{both} were asked the same queries of the same data ({first.data[:12]}), so {cells} paired by seed "
        "and query."
    )
