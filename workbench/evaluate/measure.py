"""Evaluation of a finished run with its own tokenizer, weights and frame sampling, by the usual tasks."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import torch
from tqdm import tqdm

from workbench import data as datasets
from workbench import tasks
from workbench.config import DataConfig, RunConfig
from workbench.data.sampling import evaluated_frames
from workbench.data.store import FrameStore, is_ready, store_path
from workbench.errors import UserError
from workbench.evaluate.trained_on import Trained, compare, training_data
from workbench.inspection import loading
from workbench.metrics import full_name
from workbench.models.text import Vocabulary
from workbench.recipe.base import BaseRecipe
from workbench.tasks.gallery import Gallery, Judged, TaskResult, gallery
from workbench.tracking.files import check_folder, wait_for_lock
from workbench.tracking.run_dir import RunDir
from workbench.train import environment
from workbench.train.record import savez
from workbench.train.session import ask, untrained

FOLDER = "evaluations"
"""Folder in the run directory, with a folder for each data set and split."""
RESULT = "result.json"
SAME = ("weights_sha256", "tokenizer_sha256", "frames_sha256", "frames_taken", "precision", "device_name")
"""Fields that two evaluations must share for their metrics to be combined."""


@dataclass(frozen=True, kw_only=True)
class Request:
    """A request for an evaluation."""

    run: Path
    data: str = ""
    """`NAME` or `NAME:PATH`; empty for the run's own."""
    split: str = "test"
    tasks: tuple[str, ...] = ()
    """Tasks; empty for those of the run that its recipe and the data support."""
    root: Path
    """Root of prepared data."""
    device: str = "auto"
    allow_bad_eval: bool = False
    progress: bool = False


def evaluate(request: Request) -> dict[str, Any]:
    """Evaluates a run and writes `evaluations/DATA-DIGEST-SPLIT/result.json` with the results of each query.

    Earlier results for the same weights and frames are kept in that file; nothing else of the run directory
    changes. Raises `UserError` for a run that is missing or has no weights, data that cannot be read, and
    tasks that its recipe or the data do not support.

    Returns: the content of the file.
    """
    run, started = RunDir(request.run), time.perf_counter()
    config = run.config()
    check_folder(run.path, "RUN_DIR")
    check_folder(request.root, "--data-root", writable=False)
    device = environment.pick_device(request.device)
    recipe: BaseRecipe = loading.model(run, "so it cannot be evaluated")
    untaught = untrained(recipe, config.stages)
    wanted = _possible(request, config, type(recipe))
    words = loading.vocabulary(run)
    data, store, notes = _store(request, config)
    asked = _askable(request, wanted, store)
    part = gallery(store, request.split, words.encode(store.splits[request.split].captions), data)
    precision = environment.pick_precision(device)
    judged = Judged(
        recipe.to(device), part, untrained=untaught, device=device, encode=words.encode, between=lambda: None
    )
    found = _ask(asked, judged, precision, request.progress)
    if not any(result.values for result in found.values()):
        raise UserError(
            f"{', '.join(asked)} say nothing of {run.path.name}: its stages have not trained what they need"
        )
    trained = training_data(run, config)
    record = (
        _of_run(run, config, words, trained)
        | _of_data(part, data, request.split, compare(store, request.split, trained, request.root))
        | _of_captions(words, part)
        | environment.describe(device, precision)
        | {"tasks": list(found), "seconds": time.perf_counter() - started}
    )
    record["notes"] += notes
    return _keep(run, record, found)


def _possible(request: Request, config: RunConfig, recipe: type[BaseRecipe]) -> list[str]:
    """The requested tasks, or the possible ones among those of the run and of the data."""
    if request.tasks:
        if refusal := tasks.refusal(request.tasks, [recipe]):
            raise UserError(refusal)
        return list(dict.fromkeys(request.tasks))
    name, source = datasets.named_place(request.data or config.data.name)
    more = datasets.more_tasks(name, source) if name in datasets.names() else ()
    able = tasks.possible(list(dict.fromkeys([*config.tasks, *more])), recipe)
    if not able:
        raise UserError(tasks.refusal(config.tasks, [recipe]))
    return able


def _askable(request: Request, wanted: Sequence[str], store: FrameStore) -> list[str]:
    known = datasets.known_of(store)
    able = tasks.askable(wanted, known)
    if not able or (request.tasks and len(able) < len(wanted)):
        raise UserError(tasks.unknown([name for name in wanted if name not in able], {store.name: known}))
    return able


def _store(request: Request, config: RunConfig) -> tuple[DataConfig, FrameStore, list[str]]:
    """The data and their frames, decoded where they are not there yet, by the rule of the run's own data; and
    what follows from that rule where they are pictures."""
    name, source = datasets.named_place(request.data)
    data, pictures = replace(config.data, text="captions"), False
    ready = bool(data.digest) and is_ready(store_path(data, request.root))
    # The run's own data need no root of prepared data.
    if name not in ("", data.name) or source or not ready:
        if name not in ("", data.name):
            data = replace(data, name=name, clips=0)
        own = data.digest if not request.data else ""
        described = datasets.describe(replace(data, digest=""), source, root=request.root)
        data, pictures = described.data, described.pictures
        if own and data.digest != own:
            raise UserError(f"the data {data.name} of {request.run} have changed; name them by --data")
    path = datasets.prepare(
        data,
        source=source,
        root=request.root,
        progress=request.progress,
        allow_bad_eval=request.allow_bad_eval,
    )
    still = [f"an image stands still for the {data.frames} frames that the model reads"]
    return data, FrameStore.open(path), still if pictures and data.frames > 1 else []


def _ask(
    wanted: Sequence[str], judged: Judged, precision: torch.dtype, progress: bool
) -> dict[str, TaskResult]:
    """Task -> its result; a progress bar for each task counts encoded batches."""
    found: dict[str, TaskResult] = {}
    for name in wanted:
        with tqdm(desc=f"evaluating {name}", unit="batch", disable=not progress) as bar:
            found |= ask([name], replace(judged, between=_counting(bar)), precision)
    return found


def _counting(bar: tqdm[NoReturn]) -> Callable[[], None]:
    def step() -> None:
        bar.update()

    return step


def _of_run(run: RunDir, config: RunConfig, words: Vocabulary, trained: Trained) -> dict[str, Any]:
    """Record of the model and its training data."""
    identity = run.identity()
    weights = run.file("checkpoints/model.safetensors")
    with open(weights, "rb") as file:
        sha256 = hashlib.file_digest(file, "sha256").hexdigest()
    return {
        "run": run.path.name,
        "study": identity.get("study", ""),
        "recipe": config.recipe_name,
        "start": run.read_json("environment.json").get("start", ""),
        "weights_sha256": sha256,
        "tokenizer_sha256": hashlib.sha256(words.tokenizer.to_str().encode()).hexdigest(),
        "trained_on": [{"data": one.name, "digest": one.digest} for one in trained.data],
    }


def _of_data(part: Gallery, data: DataConfig, split: str, common: dict[str, Any]) -> dict[str, Any]:
    """Record of the evaluated data, and whether the model was trained on such data."""
    store, (captions, _) = part.store, part.pairs
    stored = store.frames.shape[1]
    return {
        "data": store.name,
        "digest": store.digest,
        "split": split,
        "zero_shot": not any(common.values()),
        "overlap": common,
        "frames_sha256": store.frames_sha256,
        "decoder": store.decoder,
        "frames": data.frames,
        "frames_taken": evaluated_frames(stored, data) if stored != data.frames else list(range(stored)),
        "size": data.size,
        "clips": len(part.clips),
        "captions": len(part.captions),
        "chance_t2v_r1": 100 * len(captions) / len(part.captions) / len(part.clips),
        "skipped": [one for one in store.skipped if one["split"] == split],
        "notes": list(store.notes),
    }


def _of_captions(words: Vocabulary, part: Gallery) -> dict[str, Any]:
    """Record of how well the run's tokenizer covers these captions."""
    whole = total = 0
    for one in words.tokenizer.encode_batch(part.captions, add_special_tokens=False):
        pieces = np.bincount([number for number in one.word_ids if number is not None])
        unknown = {number for number, token in zip(one.word_ids, one.ids, strict=True) if token == words.unk}
        whole += sum(int(count) == 1 and number not in unknown for number, count in enumerate(pieces))
        total += len(pieces)
    return {
        "tokens_per_caption": words.length,
        "captions_cut": words.cut(part.captions),
        "words_known_whole": whole / total if total else 0.0,
    }


def _keep(run: RunDir, record: dict[str, Any], found: Mapping[str, TaskResult]) -> dict[str, Any]:
    """Writes arrays and then the record; metrics of an earlier call on the same model and frames stay."""
    split, folder = record["split"], f"{FOLDER}/{record['data']}-{record['digest'][:12]}-{record['split']}"
    values = {full_name(split, "", n): v for result in found.values() for n, v in result.values.items()}
    costs = {name: v for result in found.values() for name, v in result.costs.items()}
    files = [name for result in found.values() for name in result.files]
    run.file(folder).mkdir(parents=True, exist_ok=True)
    with wait_for_lock(run.file(f"{FOLDER}/lock")):
        before = run.read_json(f"{folder}/{RESULT}")
        if any(before.get(name) != record[name] for name in SAME):
            for name in before.get("files", []):  # from another model or other frames
                run.file(f"{folder}/{name}").unlink(missing_ok=True)
            before = {}
        for result in found.values():
            for name, arrays in result.files.items():
                savez(run, f"{folder}/{name}", **arrays)
        record["tasks"] = list(dict.fromkeys([*before.get("tasks", []), *record["tasks"]]))
        record["files"] = list(dict.fromkeys([*before.get("files", []), *files]))
        record["metrics"] = before.get("metrics", {}) | values | costs
        run.write_json(f"{folder}/{RESULT}", record)
    return record | {"measured": list(values), "kept_in": str(run.file(f"{folder}/{RESULT}"))}
