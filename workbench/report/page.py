"""`answer.md`: the question, the answer, what limits it, the table, the pictures, where it comes from."""

from __future__ import annotations

import shlex
from collections.abc import Sequence

import polars as pl

import workbench
from workbench import tables, tasks
from workbench.answer import caveats, contrasts, search, sentences
from workbench.answer import effects as effect_tables
from workbench.answer.results import Answer
from workbench.answer.scaling import curves as scaling
from workbench.answer.study_record import PLAIN, StudyRecord
from workbench.report import rows
from workbench.tables import markdown as plain

CLAIMS, FRONT, MATTERED, CELLS = "The claims", "The Pareto front", "Axis importance", "Every cell"
CONTRASTS = "The registered contrasts"
OVER, CROSSINGS = "Effect of compute", "Where curves cross"
ORDER = "How well a small budget predicts the order"
CHOICES, ORIGIN = "Average effect of each choice", "Provenance"
"""The headings above tables, by which `check` finds them again."""

FACTS = {
    "commit": "commit",
    "dirty": "changed since that commit",
    "data": "data",
    "data_digest": "data digest",
    "data_notes": "data notes",
    "data_skipped": "clips skipped",
    "data_repeated_frames": "frames repeated by the decoder",
    "captions_cut_shares": "captions cut",
    "decoder": "decoder",
    "device_name": "device",
    "hostname": "host",
    "precision": "precision",
    "threads": "threads",
    "processes": "processes a run",
    "start": "weights",
} | {name: name for name in ("python", "torch", "timm", "transformers", "numpy")}
"""What a reader needs to judge the numbers and to get them again."""


def page(answer: Answer, pictures: Sequence[tuple[str, str]]) -> str:
    """The whole page. pictures: name and caption of each file `<name>.png`."""
    asked = answer.asked
    parts = [f"# {plain(asked.name)}", f"**{plain(asked.question)}**", *lead(answer)]
    if answer.contrasts:
        registered = tables.to_markdown(contrasts.table(answer.contrasts))
        parts += [f"## {CONTRASTS}", registered, plain(answer.contrasts_legend)]
    if answer.verdicts:
        parts += [f"## {CLAIMS}", _claims(answer)]
    if answer.scaling is not None:
        parts += _over(answer.scaling)
    if answer.caveats:
        parts += ["## What limits this", "\n".join(f"- {plain(caveat)}" for caveat in answer.caveats)]
    if answer.front:
        table = search.front_table(asked, answer.evidence, answer.cells, answer.front)
        parts += [f"## {FRONT}", tables.to_markdown(table), caveats.FRONT_LEGEND]
    if asked.importances:
        mattered = tables.to_markdown(search.importance_table(asked))
        parts += [f"## {MATTERED}", mattered, caveats.IMPORTANCE_LEGEND]
    parts += [f"## {CELLS}", tables.to_markdown(rows.readable(answer)), plain(rows.legend(answer))]
    if answer.effects is not None:
        parts += [f"## {CHOICES}", *_effects(answer)]
    if pictures:
        parts += ["## Figures", "[Interactive versions](figures.html); each figure is also there as a PDF."]
        parts += [f"![{plain(caption)}]({name}.png)\n\n{plain(caption)}" for name, caption in pictures]
    parts += [f"## {ORIGIN}", "\n".join(f"- {plain(line)}" for line in provenance(answer))]
    parts += [tables.to_markdown(_keys(answer))]
    return "\n\n".join(parts) + "\n"


def lead(answer: Answer) -> list[str]:
    """The answer itself, a paragraph each."""
    return [plain(answer.sentence)]


def provenance(answer: Answer) -> list[str]:
    """Study, runs, commit, data and versions, a line each."""
    done, asked = answer.evidence.done, answer.asked
    lines = [
        f"study {asked.name} ({asked.plan}): {done.height} of {asked.expected} runs complete, seeds "
        f"{', '.join(map(str, asked.seeds))}",
        f"check: {check_command(asked)} --check FILE",
        f"workbench: {workbench.__version__}",
    ]
    if asked.optuna:
        lines.append(f"optuna: {asked.optuna}")
    for fact, name in FACTS.items():
        if (column := f"env.{fact}") in done.columns:
            # Of an unknown commit nobody knows whether something was changed since.
            runs = done.filter(pl.col("env.commit") != "") if fact == "dirty" else done
            values = [str(value) for value in runs[column].unique(maintain_order=True)]
            values = [value if value not in ("", "None") else "unknown" for value in values] or ["unknown"]
            lines.append(f"{name}: {', '.join(values)}")
    return lines


def check_command(asked: StudyRecord) -> str:
    """What compares a saved table with the runs, but for `--check FILE`."""
    usual = asked.plan in (PLAIN, "smoke")
    return shlex.join(
        [
            "python",
            "-m",
            "workbench.report",
            *(asked.studies or (asked.name,)),
            *([] if usual else ["--asked", asked.plan]),
        ]
    )


def _claims(answer: Answer) -> str:
    columns: dict[str, list[str]] = {
        "claim": [v.text for v in answer.verdicts],
        "metric": [tasks.title(v.metric) for v in answer.verdicts],
        "paper": [v.paper for v in answer.verdicts],
        "here": [v.measured for v in answer.verdicts],
        "rule": [v.rule for v in answer.verdicts],
        "verdict": [v.verdict + (f": {v.reason}" if v.reason else "") for v in answer.verdicts],
    }
    rule = sentences.verdict_rule(answer.family, answer.verdict_level)
    return f"{tables.to_markdown(pl.DataFrame(columns))}\n\n{rule}"


def _over(found: scaling.Scaling) -> list[str]:
    said = [f"## {OVER}", "\n".join(f"- {plain(sentence)}" for sentence in found.sentences)]
    if found.grid is None:
        return said
    return [
        *said,
        tables.to_markdown(scaling.curve_table(found)),
        plain(scaling.legend(found)),
        f"## {CROSSINGS}",
        tables.to_markdown(scaling.pair_table(found)),
        f"## {ORDER}",
        tables.to_markdown(scaling.order_table(found)),
    ]


def _effects(answer: Answer) -> list[str]:
    found = answer.effects
    assert found is not None
    parts = [
        tables.to_markdown(effect_tables.main_table(found, answer.asked.says)),
        plain(sentences.effects_legend(found, answer.asked.measure)),
    ]
    if not found.tested or found.family is None:
        return parts
    if (joint := effect_tables.joint_table(found, answer.asked.says)) is None:
        return [*parts, sentences.NO_INTERACTION]
    together = "Choices that do more (or less) together than each by itself:"
    return [*parts, together, tables.to_markdown(joint)]


def _keys(answer: Answer) -> pl.DataFrame:
    seeds = answer.evidence.done.group_by("key").agg(pl.col("seed").sort())
    found = dict(seeds.iter_rows())
    labels = answer.asked.labels
    return pl.DataFrame(
        {
            "cell": list(labels.values()),
            "key": [f"{key}" for key in labels],
            "complete seeds": [", ".join(map(str, found.get(key, []))) or "none" for key in labels],
        }
    )
