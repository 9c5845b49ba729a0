"""The options of `python -m workbench.study`."""

from __future__ import annotations

import argparse
import os

from workbench.project_paths import called
from workbench.runner import quota

BUDGET = (
    "2x multiplies the budget of each stage; 0.5pflops, 300steps, 3epochs or 60seconds is for the whole run, "
    "shared among its stages in proportion (a bare number is in PFLOPs)"
)


def parser() -> argparse.ArgumentParser:
    """What `python -m workbench.study` takes; defaults come from `WORKBENCH_RESULTS` and its like."""

    def default(name: str, otherwise: str = "") -> str:
        return os.environ.get(f"WORKBENCH_{name}", otherwise)

    found = argparse.ArgumentParser(
        prog=called("study"),
        description="Run a study; the same command goes on where it stopped. Without NAME: list all.",
        allow_abbrev=False,
    )
    add = found.add_argument
    add("study", nargs="?", metavar="NAME", help="name of a study, a file in studies/")
    add("--plan", action="store_true", help="print the plan with its expected cost, run nothing")
    add("--status", action="store_true", help="print what is done, running, failed and missing")
    add("--reconcile", action="store_true", help="settle what killed processes left behind, run nothing")
    add("--smoke", action="store_true", help="try the whole path in about two minutes")
    add(
        "--quick",
        action="store_true",
        help="one seed of each cell: a first look, in which nothing is claimed",
    )
    add("--recipe", default="", help="another of the study's recipes, such as simvtp")
    add("--trials", type=int, default=0, help="total number of trials of a search, including finished ones")
    add("--single", action="store_true", help="search for the best metric only, with pruning")
    add(
        "--confirm",
        type=int,
        default=0,
        help="rerun this many of the best trials of a search with new seeds",
    )
    add(
        "--seeds",
        default="",
        help="number of seeds (3 means 0, 1 and 2), or a list (0,4,7); a single seed needs a comma: 7,",
    )
    add("--budget", default="", help=BUDGET)
    add(
        "--set",
        nargs="+",
        action="extend",
        default=[],
        metavar="NAME=VALUE",
        help="settings of every cell, such as optim.lr=3e-4 or recipe.video_masking.ratio=0.8",
    )
    add(
        "--data",
        action="append",
        default=[],
        help="data set, NAME or NAME:PATH, such as folder:PATH with a captions.csv; repeat it for further "
        "data sets that the study trains or evaluates on",
    )
    add(
        "--pretrain-data",
        default="",
        help="data set for the first stage, NAME or NAME:PATH, in studies with pre-training such as transfer",
    )
    add(
        "--mix",
        nargs=2,
        action="append",
        default=[],
        metavar=("DATA", "SHARE"),
        help="data set, NAME or NAME:PATH, that alternates with that of --data, and its share of the steps",
    )
    add("--allow-bad-eval", action="store_true", help="evaluate without the videos that are broken")
    add("--retry", action="store_true", help="retry runs that failed for good")
    add("--results", default=default("RESULTS", "results"), help="folder of all results")
    add("--data-root", default=default("DATA"), help="folder of prepared data (RESULTS/data)")
    add(
        "--device",
        default=default("DEVICE"),
        help="cpu, cuda or cuda:N (default: the device of earlier runs, else a GPU if there is one)",
    )
    add("--workers", default="", help="number of runs at once; auto: one for each GPU or core")
    add("--slurm", metavar="OPTIONS", help="submit workers to SLURM with these options of sbatch")
    add("--dry-run", action="store_true", help="print the script of --slurm, submit nothing")
    add(
        "--processes",
        type=int,
        default=1,
        help="number of processes on this machine that share each batch of a run",
    )
    add(
        "--deadline",
        type=float,
        default=600.0,
        help="seconds without progress after which a run counts as hanging",
    )
    add("--save-every", type=float, default=120.0, help="seconds between checkpoints of a run")
    add(
        "--checkpoint-quota",
        default=quota.DEFAULT,
        help="disk limit for all checkpoints of a study: 500MB, 5GB, none",
    )
    add("--storage", default=default("STORAGE"), help="Optuna storage (RESULTS/optuna.db)")
    add("--mlflow", default=default("MLFLOW"), help="MLflow store (RESULTS/mlflow.db), or none")
    add("--also", default="", metavar="NAME", help="a second tracker beside MLflow: wandb")
    add(
        "--notify",
        default="",
        metavar="URL",
        help="web hook that receives a message when the study ends or a run fails",
    )
    found.set_defaults(worker=0, words=())
    return found
