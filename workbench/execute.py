"""One run from its directory: read `config.json`, train, write the record. `python -m workbench.train`.

The run directory is the record: nothing here knows of studies or trackers. Exit codes: 0 complete,
1 failed (the reason is in `status.json`), 2 bad input, 75 asked to stop (the checkpoint is complete).
"""

from __future__ import annotations

import argparse
import errno
import os
import signal
import sys
import time
import traceback
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from workbench import checkpoint, cost, environment
from workbench.config import RunConfig
from workbench.data import prepare
from workbench.data.store import FrameStore
from workbench.errors import UserError
from workbench.evaluate import metrics, ranks
from workbench.masking.preview import preview
from workbench.recipe import Batch
from workbench.tracking.files import replacing
from workbench.tracking.run_dir import RunDir
from workbench.train import Interrupted, NotFinite, Session, expected_steps, open_session, train

BEAT = 2.0
"""Seconds between updates of `status.json`."""
STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1)
INTERRUPTED = 75
_stop = False


def main(arguments: Sequence[str] | None = None) -> int:
    options = _parser().parse_args(arguments)
    try:
        run = RunDir(options.run_dir)
        config = run.config()  # before the lock, which would make the folder
        with run.lock():
            return _run(run, config, options)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m workbench.train", description="Train one run.")
    parser.add_argument("run_dir", type=Path, help="folder with the run's config.json")
    parser.add_argument(
        "--data-root",
        type=Path,
        default=Path(os.environ.get("WORKBENCH_DATA", "results/data")),
        help="where prepared data sets lie (WORKBENCH_DATA)",
    )
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:1")
    parser.add_argument("--save-every", type=float, default=120.0, help="seconds between checkpoints")
    return parser


def _run(run: RunDir, config: RunConfig, options: argparse.Namespace) -> int:
    """Runs and settles the status whatever happens; unforeseen errors keep their traceback in the log."""
    begun = time.perf_counter()
    device = environment.pick_device(options.device)
    before = run.status()
    if before is not None and before.state == "complete":
        print("this run is complete")
        return 0
    for number in STOP_SIGNALS:
        signal.signal(number, _ask_to_stop)
    run.set_status("running", started=time.time(), attempt=run.identity().get("attempt", 1))
    try:
        store = _store(config, options.data_root)
        session = open_session(config, store, device=device)
        _train(run, session, options.save_every, begun)
    except Interrupted as error:
        run.set_status("interrupted", reason=str(error))
        return INTERRUPTED
    except UserError as error:
        run.set_status("failed", failure="data", reason=str(error))
        raise
    except Exception as error:  # noqa: BLE001 - whatever it is, the record says what and the log where
        traceback.print_exc()
        run.set_status("failed", failure=classify(error), reason=f"{type(error).__name__}: {error}"[:500])
        return 1
    finally:
        run.close()
    return 0


def classify(error: BaseException) -> str:
    """The failure class of an error, one of `run_dir.FAILURES`."""
    if isinstance(error, NotFinite | FloatingPointError):
        return "not_finite"
    if isinstance(error, MemoryError | torch.OutOfMemoryError) or "can't allocate memory" in str(error):
        return "out_of_memory"
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EROFS):
        return "disk"
    return "error"


def _store(config: RunConfig, root: Path) -> FrameStore:
    data = config.data
    path = prepare(data, root=root)
    store = FrameStore.open(path)
    if data.digest and store.digest != data.digest:
        raise UserError(f"the data in {path} has changed: expected digest {data.digest[:12]}")
    return store


def _train(run: RunDir, session: Session, save_every: float, begun: float) -> None:
    checkpoints = run.file("checkpoints")
    resumed = checkpoint.resume(checkpoints, session.recipe, session.optimizer, session.config)
    if resumed is not None:
        session.progress = resumed
        session.costs = run.read_json("cost.json")
    run.keep_metrics(session.progress.step)
    _describe(run, session)
    startup = time.perf_counter() - begun
    beat = 0.0
    for step, row in train(session, checkpoints=checkpoints, save_every=save_every, stop=lambda: _stop):
        run.append_metrics({"step": step, **row})
        if time.monotonic() - beat > BEAT:
            beat = time.monotonic()
            _beat(run, session)
            if session.costs:
                run.write_json("cost.json", session.costs)
        if "val/t2v_r1" in row:
            print(f"step {step}: val t2v R@1 {row['val/t2v_r1']:.1f} %", flush=True)
    _finish(run, session, begun, startup)


def _beat(run: RunDir, session: Session) -> None:
    at = session.progress
    run.set_status("running", step=at.step, steps=expected_steps(session), seconds=at.seconds)


def _finish(run: RunDir, session: Session, begun: float, startup: float) -> None:
    """Measures the test split once, writes what is left of the record, and only then calls it complete."""
    rows = run.read_metrics().rows
    last = [row for row in rows if "val/t2v_r1" in row][-1]
    summary = {name: value for name, value in last.items() if name.startswith("val/")}
    for row in rows:
        summary |= {name: value for name, value in row.items() if name.startswith("test/stage")}
    summary |= _test(run, session)
    at, batch = session.progress, session.config.optim.batch_size
    step_seconds = cost.typical_step_seconds(row for row in rows if "train/loss" in row)
    speed = at.flops / (at.step * step_seconds)
    total = time.perf_counter() - begun
    summary |= session.costs | {
        "cost/train_pflops": at.flops / 1e15,
        "cost/peak_memory_gb": cost.peak_memory_gb(session.device),
        "cost/parameters_m": sum(p.numel() for p in session.recipe.parameters()) / 1e6,
        "speed/clips_per_s": batch / step_seconds,
        "speed/step_ms": 1000 * step_seconds,
        "speed/data_wait_share": at.wait_seconds / at.seconds,
        "speed/train_seconds": at.seconds,
        "speed/eval_seconds": session.eval_seconds,
        "speed/startup_seconds": startup,
        "speed/total_seconds": total,
        "speed/mfu": speed / cost.matmul_flops_per_s(session.device, session.precision),
        "train/steps": at.step,
        "train/epochs": at.step / session.loader.per_epoch,
    }
    checkpoint.finish(run.file("checkpoints"), session.recipe)
    run.write_json("summary.json", summary)
    run.file("cost.json").unlink(missing_ok=True)
    run.set_status("complete", step=at.step, steps=at.step, seconds=at.seconds)


def _test(run: RunDir, session: Session) -> dict[str, float]:
    """Metrics of the test split; ranks and embeddings go to files of their own."""
    part = session.galleries["test"]
    video, text = session.embed("test")
    found = ranks(video, text, part.owner)
    owners = [part.clip_ids[i] for i in part.owner]
    _savez(run, "ranks.npz", t2v_rank=found.t2v, t2v_id=np.array(part.caption_ids),
           t2v_group=np.array(owners), v2t_rank=found.v2t, v2t_id=np.array(part.clip_ids))  # fmt: skip
    _savez(run, "embeddings.npz", video=video.half().numpy(), text=text.half().numpy(),
           video_id=np.array(part.clip_ids), text_id=np.array(part.caption_ids),
           text_group=np.array(owners), caption=np.array(part.captions))  # fmt: skip
    return {f"test/{name}": value for name, value in metrics(found).items()}


def _savez(run: RunDir, name: str, **arrays: np.ndarray) -> None:
    with replacing(run.file(name)) as temporary, open(temporary, "wb") as file:
        np.savez_compressed(file, allow_pickle=False, **arrays)


def _describe(run: RunDir, session: Session) -> None:
    """What only this process knows: environment, data, tokenizer, and a picture of the mask."""
    store = session.store
    run.write_json(
        "environment.json",
        environment.describe(session.device, session.precision)
        | {
            "data": store.name,
            "data_digest": store.digest,
            "data_skipped": len(store.skipped),
            "data_repeated_frames": store.repeated_frames,
            "frames_sha256": store.frames_sha256,
            "decoder": store.decoder,
            "parameters": sum(p.numel() for p in session.recipe.parameters()),
            "tokens_per_caption": session.vocabulary.length,
            "start": _start(session.config),
        },
    )
    with replacing(run.file("tokenizer.json")) as temporary:
        session.vocabulary.tokenizer.save(str(temporary))
    with replacing(run.file("mask_preview.png")) as temporary:
        mask_preview(session).save(temporary, format="PNG")


def mask_preview(session: Session, clips: int = 3) -> Image.Image:
    """The first clips of the validation split under the run's masking."""
    part = session.galleries["val"]
    rows = [int(np.flatnonzero(part.owner == i)[0]) for i in range(min(clips, len(part.clips)))]
    video = torch.from_numpy(session.store.frames[part.clips[: len(rows)]])
    batch = Batch(video, part.text.select(torch.tensor(rows)))
    rng = torch.Generator().manual_seed(session.config.seed)
    masked = any(stage.masked for stage in session.config.stages)
    video_mask = session.recipe.video_mask(batch, rng) if masked else None
    text_mask = session.recipe.text_mask(batch, rng) if masked else None
    words = [_words(session, batch, text_mask, i) for i in range(len(rows))]
    return preview(video, video_mask, session.recipe.video.grid, words)


def _words(session: Session, batch: Batch, mask: torch.Tensor | None, row: int) -> str:
    tokens, valid = batch.text.tokens[row], batch.text.layout.valid[row]
    names = [session.vocabulary.tokenizer.id_to_token(int(t)) or "?" for t in tokens[valid]]
    hidden = [False] * len(names) if mask is None else mask[row][valid].tolist()
    return " ".join("_" * len(name) if gone else name for name, gone in zip(names, hidden, strict=True))


def _start(config: RunConfig) -> str:
    """Where the weights come from, in words."""
    sides = {"video": config.recipe.video.pretrained, "text": config.recipe.text.pretrained}
    return ", ".join(f"{side}: {name or 'random init'}" for side, name in sides.items())


def _ask_to_stop(number: int, frame: object) -> None:
    global _stop
    _stop = True
