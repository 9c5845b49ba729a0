"""`python -m workbench.report STUDY`: the answer of a study as page, tables and pictures."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from workbench.errors import UserError
from workbench.tracking.files import disk_full

DONE, DIFFERENT, BAD_INPUT = 0, 1, 2


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit code: 0 written or matching, 1 a checked table no longer matches, 2 bad input or a full disk."""
    options = _parser().parse_args(arguments)
    try:
        return _report(options.study, Path(options.results), options.check)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return BAD_INPUT
    except OSError as error:
        if error.filename is None and not disk_full(error):
            raise  # not about a file: a defect of ours
        path = error.filename or options.results
        print(f"error: {path}: {error.strerror}; mend that and start the same command again", file=sys.stderr)
        return BAD_INPUT


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m workbench.report",
        description="Write a study's answer to RESULTS/reports/STUDY: page, tables, pictures.",
        allow_abbrev=False,
    )
    add = parser.add_argument
    add("study", metavar="STUDY", help="a study that has runs")
    add("--results", default=os.environ.get("WORKBENCH_RESULTS", "results"), help="folder of all results")
    add(
        "--check",
        type=Path,
        metavar="FILE",
        help="exit with 1 when this table (.csv, .tex, .md) no longer matches",
    )
    return parser


def _report(study: str, results: Path, saved: Path | None) -> int:
    from workbench.answer.asked import load
    from workbench.answer.luck.looked import note
    from workbench.answer.results import answer

    asked = load(results, study)
    found = answer(asked, results)
    if found.cells.is_empty():
        raise UserError(f"no run of study {study!r} is complete yet; `{asked.command}` runs what is missing")
    if saved is not None:
        from workbench.report.check import check

        checked = check(found, saved)
        many = len(checked.differences)
        print(*checked.differences, sep="\n", end="\n" if many else "")
        verdict = (
            f"{saved}: {many} difference{'' if many == 1 else 's'}" if many else f"{saved} matches the runs"
        )
        print(f"{verdict}; compared were {', '.join(checked.compared)}")
        return DIFFERENT if many else DONE
    from workbench.report.write import write

    folder = write(found, results)
    note(asked, found.evidence, results)
    print(f"{asked.question}\n{found.sentence}\n{folder / 'answer.md'}")
    return DONE


if __name__ == "__main__":
    raise SystemExit(main())
