"""`python -m workbench.report STUDY`: the answer of a study as page, tables and pictures."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from workbench.errors import UserError
from workbench.project_paths import called
from workbench.report.fit import TEXT_WIDTH
from workbench.tracking.archive import opened
from workbench.tracking.files import disk_full

if TYPE_CHECKING:
    from workbench.answer.results import Answer
    from workbench.answer.study_record import StudyRecord
    from workbench.report.check import Checked

DONE, DIFFERENT, BAD_INPUT = 0, 1, 2
INTERVAL, DEVIATION = "interval", "mean ± std"
"""What `--format` may be."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit code: 0 written or matching, 1 a checked table no longer matches, 2 bad input or a full disk."""
    options = _parser().parse_args(arguments)
    try:
        with opened(Path(options.results)) as folder:
            if folder != Path(options.results):
                _check_archive(folder, options)
            options.results = str(folder)
            return _report(options)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return BAD_INPUT
    except OSError as error:
        if error.filename is None and not disk_full(error):
            raise  # not about a file: a defect of ours
        path = error.filename or options.results
        print(f"error: {path}: {error.strerror}; mend that and start the same command again", file=sys.stderr)
        return BAD_INPUT


def _check_archive(folder: Path, options: argparse.Namespace) -> None:
    """Refuses what an archive, unpacked in a folder, cannot be used for, by its own name."""
    if options.check is None:
        raise UserError(
            f"{options.results} is an archive, which is for --check; for reports unpack it: "
            f"python -m workbench.tracking gather {options.results} --into RESULTS"
        )
    known = sorted(path.name for path in (folder / "runs").glob("*"))
    for study in options.studies:
        if study not in known:
            those = ", ".join(known) or "none"
            raise UserError(f"{options.results} has no runs of study {study!r}; it has those of {those}")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=called("report"),
        description="Write a study's answer to RESULTS/reports/STUDY: page, tables, figures.",
        allow_abbrev=False,
    )
    add = parser.add_argument
    add("studies", nargs="+", metavar="STUDY", help="a study that has runs; several make one report")
    add(
        "--results",
        default=os.environ.get("WORKBENCH_RESULTS", "results"),
        help="folder of all results; for --check also an archive of runs",
    )
    add(
        "--asked",
        default="",
        metavar="PLAN",
        help="report on this plan of the study, such as 'budget 2x' (default: the study as it stands)",
    )
    add("--rows", nargs="+", default=[], metavar="AXIS", help="axes for the rows of a custom table")
    add("--columns", nargs="+", default=[], metavar="AXIS", help="axes for its columns")
    add(
        "--metrics",
        nargs="+",
        default=[],
        metavar="NAME",
        help="metrics in each cell of the table, such as t2v_r1 clips_per_s",
    )
    add("--format", default="", metavar="FORM", help=f"'{INTERVAL}' (the default) or '{DEVIATION}'")
    add(
        "--check",
        type=Path,
        metavar="FILE",
        help="exit with 1 when this table (.csv, .tex, .md, shared .html) no longer matches",
    )
    add("--share", type=Path, metavar="FILE.html", help="the whole answer as one page that needs no network")
    add(
        "--text-width",
        type=float,
        default=TEXT_WIDTH,
        metavar="POINTS",
        help="text width in points that LaTeX tables must fit "
        f"({TEXT_WIDTH:.0f} for NeurIPS, 345 for article)",
    )
    add(
        "--data-root",
        default="",
        help="folder of prepared data from which --share takes clips (default RESULTS/data)",
    )
    return parser


def _report(options: argparse.Namespace) -> int:
    from workbench.answer.facts import odd_records
    from workbench.answer.results import answer
    from workbench.answer.study_record import load_asked
    from workbench.answer.validity.looks import note

    results = Path(options.results)
    if options.format not in ("", INTERVAL, DEVIATION):
        raise UserError(f"--format must be {INTERVAL!r} or {DEVIATION!r}, not {options.format!r}")
    if not 100 <= options.text_width <= 2000:
        raise UserError(
            f"--text-width must be a number of points from 100 to 2000, not {options.text_width:g}"
        )
    if options.share is not None or options.data_root:
        _check_share(options)
    if len(options.studies) > 1:
        return _joint(options)
    asked, others = load_asked(results, options.studies[0], options.asked)
    if options.rows or options.columns or options.metrics or options.format:
        return _pivot(asked, options)
    found = answer(asked, results)
    if found.cells.is_empty():
        odd = "".join(f"; {sentence.removesuffix('.')}" for sentence in odd_records(asked, found.evidence))
        raise UserError(
            f"no run of study {asked.name!r} is complete yet; `{asked.command}` runs what is missing{odd}"
        )
    done = _written(found, options)
    if options.check is None:
        note(asked, found.evidence, results)
        if others:
            print(f"asked as well: {', '.join(others)} (--asked)")
    return done


def _written(found: Answer, options: argparse.Namespace) -> int:
    """Writes an answer as a report or as one page, or compares a saved table with it."""
    from workbench.answer.facts import odd_records

    results = Path(options.results)
    if options.check is not None:
        from workbench.report.check import check

        return _verdict(check(found, options.check), options.check)
    odd = odd_records(found.asked, found.evidence)
    if options.share is not None:
        from workbench.report.share import page

        data = Path(options.data_root or os.environ.get("WORKBENCH_DATA") or results / "data")
        size, lacking = page.write(found, results, data, options.share)
        print(found.sentence, *odd, f"{options.share} ({size / 1e6:.1f} MB)", *lacking, sep="\n")
        return DONE
    from workbench.report.write import write

    folder = write(found, results, text_width=options.text_width)
    print(found.asked.question, found.sentence, *odd, folder / "answer.md", sep="\n")
    return DONE


def _joint(options: argparse.Namespace) -> int:
    """One report of several studies, each as it asks itself."""
    from workbench.answer.joint.studies import together

    if options.asked:
        raise UserError("--asked is for one study; a report of several takes each study as it stands")
    if options.rows or options.columns or options.metrics or options.format:
        raise UserError("--rows, --columns, --metrics and --format make a table of one study, not of several")
    return _written(together(options.studies, Path(options.results)), options)


def _check_share(options: argparse.Namespace) -> None:
    """Refuses what does not go with `--share`."""
    from workbench.report.share.page import check_file

    if options.share is None:
        raise UserError("--data-root is where --share finds clips: give --share FILE.html as well")
    if options.check is not None:
        raise UserError("--share writes a page and --check compares a saved one: give only one of them")
    if options.rows or options.columns or options.metrics or options.format:
        raise UserError(
            "--share holds the whole answer; --rows, --columns, --metrics and --format make another table"
        )
    if options.data_root and not Path(options.data_root).is_dir():
        raise UserError(f"--data-root: there is no folder {options.data_root}")
    check_file(options.share)


def _pivot(asked: StudyRecord, options: argparse.Namespace) -> int:
    """A table in the layout that was asked for: written and shown, or compared with a saved one."""
    from workbench import tables
    from workbench.report.check import check_pivot
    from workbench.report.pivot import Layout, pivot
    from workbench.report.write import write_pivot

    layout = Layout(
        rows=tuple(options.rows),
        columns=tuple(options.columns),
        metrics=tuple(options.metrics),
        form=options.format or INTERVAL,
    )
    found = pivot(asked, Path(options.results), layout)
    if options.check is not None:
        return _verdict(check_pivot(found, options.check), options.check)
    paths = write_pivot(found, Path(options.results), text_width=options.text_width)
    print(f"{tables.to_text(found.words())}\n\n{found.caption}", *paths, sep="\n")
    return DONE


def _verdict(checked: Checked, saved: Path) -> int:
    many = len(checked.differences)
    print(*checked.differences, sep="\n", end="\n" if many else "")
    verdict = f"{saved}: {many} difference{'' if many == 1 else 's'}" if many else f"{saved} matches the runs"
    print(f"{verdict}; compared were {', '.join(checked.compared)}")
    return DIFFERENT if many else DONE


if __name__ == "__main__":
    raise SystemExit(main())
