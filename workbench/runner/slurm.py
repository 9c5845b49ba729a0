"""Workers of a study as an array of SLURM jobs: a script, `sbatch`, and nothing that stays behind.

Each job runs the study command itself. Two minutes before its time is up SLURM signals the script, the
worker saves and stops as at Ctrl-C, and the job queues again. What a job that is killed or preempted leaves
behind is taken over by the others, or by itself once it runs again.
"""

from __future__ import annotations

import shlex
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

from workbench.addresses import sqlite_path
from workbench.errors import UserError

NOTICE = 120
"""Seconds before the end of a job's time at which its worker is told to save and stop."""
OURS = ("--array", "-a", "--wrap")
"""Options of `sbatch` that may not be given, since the script decides them."""

_SCRIPT = """\
#!/bin/bash
#SBATCH --job-name=workbench-{name}
#SBATCH --array=1-{workers}
#SBATCH --signal=B:USR1@{notice}
#SBATCH --requeue
#SBATCH --open-mode=append
#SBATCH --output={log}
#SBATCH {options}

cd {folder} || exit 2
if [ -n "${{SLURM_CPUS_PER_TASK:-}}" ]; then
    export OMP_NUM_THREADS="${{OMP_NUM_THREADS:-$SLURM_CPUS_PER_TASK}}"
fi
again=
trap 'again=yes; kill -TERM "$worker"' USR1  # time is nearly up: save, stop, queue again
trap 'again=; kill -TERM "$worker"' TERM     # cancelled: save and stop
{command} &
worker=$!
wait "$worker"; code=$?
while kill -0 "$worker" 2>/dev/null; do wait "$worker"; code=$?; done
if [ -n "$again" ]; then scontrol requeue "$SLURM_JOB_ID"; fi
exit "$code"
"""


def script(name: str, command: Sequence[str], options: str, workers: str, results: Path, storage: str) -> str:
    """The batch script of an array of workers.

    Raises `UserError` for options or a folder that `sbatch` could not read, options that the script decides,
    and where several jobs would share an SQLite ledger.

    Args:
        name: of the study.
        command: that one worker runs, as words.
        options: of `sbatch`, as one would type them.
        workers: how many, as the command line has it; empty for one.
        results: folder of all results; logs of the jobs lie in its `slurm`.
        storage: address of Optuna's storage; empty for the SQLite file in `results`.
    """
    if not (workers or "1").isdecimal() or workers == "0":
        raise UserError(f"with --slurm, --workers must be the number of jobs, 1 or more, not {workers!r}")
    try:
        words = shlex.split(options)
    except ValueError as error:
        raise UserError(f"--slurm must hold options of sbatch, which {options!r} is not: {error}") from error
    if "\n" in options or not words or not words[0].startswith("-"):
        raise UserError(
            f'--slurm must hold options of sbatch, such as "--partition=gpu --gres=gpu:1 --time=4:00:00", '
            f"not {options!r}"
        )
    if taken := [word for word in words if word.partition("=")[0] in OURS]:
        raise UserError(
            f"--slurm must not hold {taken[0]}, which is set here: --workers is the number of jobs"
        )
    count = int(workers or "1")
    if count > 1 and (not storage or sqlite_path(storage) is not None):
        raise UserError(
            f"{count} jobs may run on several machines, which cannot share an SQLite ledger: "
            "give --storage postgresql://USER@HOST/NAME, or one worker"
        )
    return _SCRIPT.format(
        name=name,
        workers=count,
        notice=NOTICE,
        log=shlex.quote(f"{_folder_name(results)}/slurm/{name}-%A_%a.log"),
        options=options.strip(),
        folder=shlex.quote(str(Path.cwd())),
        command=shlex.join(command),
    )


def _folder_name(results: Path) -> str:
    """The path of a folder as `sbatch` reads it in the name of a log, where `%` stands before a number."""
    path = str(results.resolve())
    if "\n" in path or "\\" in path:  # the one ends its line, the other is read as an escape even in quotes
        raise UserError(
            f"with --slurm, the results must have a path without line breaks and backslashes, not {path!r}"
        )
    return path.replace("%", "%%")


def submit(text: str, results: Path) -> str:
    """Hands a script to `sbatch`; returns the number of the job.

    Raises `UserError` where there is no SLURM, and with its own words where it refuses.
    """
    if shutil.which("sbatch") is None:
        raise UserError("--slurm needs sbatch on this machine; --dry-run prints the script that it would get")
    (results / "slurm").mkdir(parents=True, exist_ok=True)
    done = subprocess.run(["sbatch", "--parsable"], input=text, capture_output=True, text=True, check=False)
    if done.returncode:
        said = " ".join(done.stderr.split()).removeprefix("sbatch: error: ")
        raise UserError(f"SLURM refuses the job: {said or f'exit code {done.returncode}'}")
    return done.stdout.strip().partition(";")[0]


def worker_words(arguments: Sequence[str]) -> list[str]:
    """The arguments of one worker: those of the whole command without what makes it an array."""
    kept: list[str] = []
    rest = iter(arguments)
    for word in rest:
        if word in ("--slurm", "--workers"):
            next(rest, None)
        elif word != "--dry-run" and not word.startswith(("--slurm=", "--workers=")):
            kept.append(word)
    return kept
