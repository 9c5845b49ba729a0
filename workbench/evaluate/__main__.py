"""`python -m workbench.evaluate RUN_DIR --data NAME:PATH`: evaluates a finished run on any data.

Nothing is masked. The run's own record does not change: results are written to `evaluations/` in its
directory.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from workbench.errors import UserError
from workbench.tracking.files import check_folder, disk_full, write_atomic

DONE, DIVERGED, BAD_INPUT, DISK, INTERRUPTED = 0, 1, 2, 74, 130


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit code: 0 success, 1 scores of the model are NaN, 2 bad input, 74 disk full, 130 interrupted.

    Nothing is written unless it is 0.
    """
    options = _parser().parse_args(arguments)
    try:
        return _evaluate(options)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return BAD_INPUT
    except FloatingPointError as error:
        print(f"error: {error}", file=sys.stderr)
        return DIVERGED
    except OSError as error:
        if error.filename is None and not disk_full(error):
            raise  # not about a file, so a defect of the workbench
        print(f"error: {error.filename or options.run_dir}: {error.strerror}", file=sys.stderr)
        return DISK if disk_full(error) else BAD_INPUT
    except KeyboardInterrupt:
        return INTERRUPTED


def _evaluate(options: argparse.Namespace) -> int:
    if options.json:  # fail now rather than after minutes of decoding
        if not options.json.absolute().parent.is_dir() or options.json.is_dir():
            raise UserError(f"--json must be a file in an existing folder, not {options.json}")
        check_folder(options.json.absolute().parent, "--json")
    from workbench.evaluate.measure import Request, evaluate
    from workbench.evaluate.summary import text

    found = evaluate(
        Request(
            run=options.run_dir,
            data=options.data,
            split=options.split,
            tasks=tuple(options.tasks),
            root=options.data_root or _beside(options.run_dir),
            device=options.device,
            allow_bad_eval=options.allow_bad_eval,
            progress=sys.stderr.isatty(),
        )
    )
    print(text(found))
    if options.json:
        write_atomic(options.json, json.dumps(found, indent=2) + "\n")
    return DONE


def _beside(run: Path) -> Path:
    """The prepared data of the results folder of a run directory, `RESULTS/runs/STUDY/RUN`."""
    parents = run.resolve().parents
    own = len(parents) > 2 and parents[1].name == "runs"
    return parents[2] / "data" if own else Path("results/data")


def _parser() -> argparse.ArgumentParser:
    data = os.environ.get("WORKBENCH_DATA")
    parser = argparse.ArgumentParser(
        prog="python -m workbench.evaluate",
        description="Measure a finished run on other data, or once more on its own, unmasked.",
        allow_abbrev=False,
    )
    add = parser.add_argument
    add("run_dir", type=Path, metavar="RUN_DIR", help="folder of a complete run, with its weights")
    add("--data", default="", help="data set, NAME or NAME:PATH (default: the run's own)")
    add("--split", choices=("test", "val"), default="test", help="split to measure on (default: test)")
    add(
        "--tasks",
        nargs="+",
        default=[],
        metavar="TASK",
        help="tasks, such as retrieval dual_softmax (default: the run's and those usual for the data)",
    )
    add("--allow-bad-eval", action="store_true", help="evaluate without the videos that are broken")
    add("--data-root", type=Path, default=Path(data) if data else None, help="folder of prepared data")
    add("--device", default=os.environ.get("WORKBENCH_DEVICE") or "auto", help="auto, cpu, cuda or cuda:N")
    add("--json", type=Path, help="write all that was found to this file as well")
    return parser


if __name__ == "__main__":
    sys.exit(main())
