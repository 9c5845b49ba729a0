"""The options of `python -m workbench.study`."""

from __future__ import annotations

import argparse
import os

from workbench.project_paths import called
from workbench.runner import quota

BUDGET = (
    "2x: twice that of each stage; 0.5pflops, 300steps, 3epochs, 60seconds: of the whole run, shared by its "
    "stages in their proportions (steps by largest remainder, at least one each)"
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
    add("study", nargs="?", metavar="NAME", help="a file of studies/")
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
    add("--trials", type=int, default=0, help="of a search: how many in all, those that are done included")
    add("--single", action="store_true", help="of a search: the best metric alone, with pruning")
    add("--confirm", type=int, default=0, help="of a search: run so many of its best again with fresh seeds")
    add("--seeds", default="", help="how many (3) or which (0,1,2, or 7, for one)")
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
        help="a data set, NAME or NAME:PATH, such as folder:PATH with a captions.csv; again: the place of "
        "another that the study trains or evaluates on",
    )
    add(
        "--pretrain-data",
        default="",
        help="what runs train on before --data, NAME or NAME:PATH; of a study that does so, such as transfer",
    )
    add(
        "--mix",
        nargs=2,
        action="append",
        default=[],
        metavar=("DATA", "SHARE"),
        help="data, NAME or NAME:PATH, that runs read by turns with those of --data, in this share of steps",
    )
    add("--allow-bad-eval", action="store_true", help="evaluate without the videos that are broken")
    add("--retry", action="store_true", help="try runs again that were given up")
    add("--results", default=default("RESULTS", "results"), help="folder of all results")
    add("--data-root", default=default("DATA"), help="folder of prepared data (RESULTS/data)")
    add("--device", default=default("DEVICE"), help="cpu, cuda, cuda:1; by default what there is")
    add("--workers", default="", help="so many runs at once; auto: one for each GPU or core")
    add("--slurm", metavar="OPTIONS", help="submit workers to SLURM with these options of sbatch")
    add("--dry-run", action="store_true", help="print the script of --slurm, submit nothing")
    add("--processes", type=int, default=1, help="of this machine that share each batch of a run")
    add("--deadline", type=float, default=600.0, help="seconds without progress that mean a hang")
    add("--save-every", type=float, default=120.0, help="seconds between checkpoints of a run")
    add("--checkpoint-quota", default=quota.DEFAULT, help="for all checkpoints of a study: 500MB, 5GB, none")
    add("--storage", default=default("STORAGE"), help="Optuna storage (RESULTS/optuna.db)")
    add("--mlflow", default=default("MLFLOW"), help="MLflow store (RESULTS/mlflow.db), or none")
    add("--also", default="", metavar="NAME", help="a second tracker beside MLflow: wandb")
    add("--notify", default="", metavar="URL", help="a web hook that is told of the end and of failures")
    found.set_defaults(worker=0, words=())
    return found
