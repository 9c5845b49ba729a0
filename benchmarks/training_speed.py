"""A training step of this project beside those of transformers, open_clip and timm, on any device.

    python benchmarks/training_speed.py                              # small core and ViT-S; 1, 4, 16 frames
    python benchmarks/training_speed.py --cores small --frames 4 --rounds 2 --steps 1
    python benchmarks/training_speed.py --cores small s b --device cuda --compile

All are trained in this process and take turns, so that a slow moment of the machine hits all of them. Ours is
the whole loop of `workbench.train`; the others have the same loader, AdamW and gradient norm. `contrast` is a
clip's contrast with its caption, ours `mac`, beside timm's ViT and open_clip's CLIP with patch dropout;
`reconstruct` predicts the pixels of what is hidden, ours `videomae`, beside transformers' VideoMAE. Hidden
are 60 % of 4 frames, 75 % of a picture and 90 % of 16 frames. The small core reads frames of 64 pixels in
patches of 8, the others frames of 224 in patches of 16; a token spans two frames. Of a peer's attention
kernels the faster one counts.

Prints Markdown. MFU is the FLOPs of a step to what a plain matrix product of 2048 x 2048 reaches here; memory
is what a step needs above what was there before it; the last column is the share of time that masking saves
to the share of FLOPs that it saves. Needs the extra `oracles`.
"""

from __future__ import annotations

import argparse
import math
import re
import sys
import tempfile
import time
from collections.abc import Generator
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from statistics import median
from typing import Any

import torch
from reference_models import CONTRASTS, RECONSTRUCTIONS, Peer, Work
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from workbench.config import Budget, DataConfig, OptimConfig, RunConfig, Stage
from workbench.data.loader import Loader
from workbench.data.store import FrameStore
from workbench.masking.video import PerFrameMasking, TubeMasking
from workbench.models.attention import attention_kernels, set_attention_kernels
from workbench.models.decoder import DecoderConfig
from workbench.models.text import TextConfig, Vocabulary
from workbench.models.video import VideoConfig
from workbench.recipes import mac, videomae
from workbench.testing.world import write_store
from workbench.train import environment
from workbench.train.cost import matmul_flops_per_s, synchronise
from workbench.train.loop import ROWS, train
from workbench.train.session import Session, open_session
from workbench.train.step.transfer import Transfer

CORES = {"small": (128, 4, 2, 8, 64), "s": (384, 12, 6, 16, 224), "b": (768, 12, 12, 16, 224)}
"""Width, depth, heads, patch and frame side of each."""
TEXTS = {"small": (128, 2, 2), "s": (384, 6, 6), "b": (768, 6, 12)}
"""Width, depth and heads of the text encoder beside it."""
DECODERS = {"small": (64, 1, 2), "s": (192, 4, 3), "b": (384, 4, 6)}
RATIOS = {1: 0.75, 4: 0.6, 16: 0.9}
TOKENS = {"cpu": 4096, "cuda": 131_072}
"""Tokens of a batch before masking, which determine its size."""
STEPS = OptimConfig(lr=1e-4)


@dataclass
class Measured:
    """Blocks of steps of one contestant."""

    steps: int
    flops: float = 0.0
    """FLOPs of a step, whole batch."""
    seconds: list[float] = field(default_factory=list)
    """Seconds of a step, the mean of each block."""
    waited: list[float] = field(default_factory=list)
    """Seconds of a step spent waiting for data."""
    memory: float = float("nan")
    """GB that a step needs above what was there before it."""

    @property
    def step(self) -> float:
        return median(self.seconds)


def work_of(core: str, frames: int, ratio: float) -> Work:
    width, depth, heads, patch, size = CORES[core]
    text, decoder = TEXTS[core], DECODERS[core]
    tubelet = min(2, frames)
    return Work(
        video=VideoConfig(width=width, depth=depth, heads=heads, patch=patch, tubelet=tubelet),
        text=TextConfig(width=text[0], depth=text[1], heads=text[2]),
        decoder=DecoderConfig(width=decoder[0], depth=decoder[1], heads=decoder[2]),
        frames=frames, size=size, ratio=ratio,
    )  # fmt: skip


def own(work: Work, kind: str, store: FrameStore, batch: int, options: argparse.Namespace) -> Session:
    """Our session; its rows come once a block of steps."""
    if kind == "reconstruct":
        video = replace(work.video, cls=False, pool="mean")
        masking = TubeMasking(ratio=work.ratio)
        recipe: Any = videomae.Config(
            video=video, text=work.text, decoder=work.decoder, video_masking=masking
        )
    else:
        shown = PerFrameMasking(ratio=work.ratio) if work.ratio else None
        recipe = mac.Config(video=work.video, text=work.text, video_masking=shown, text_masking=None)
    config = RunConfig(
        recipe=recipe,
        data=DataConfig(name="random", frames=work.frames, size=work.size),
        stages=(Stage(budget=Budget(unit="steps", amount=ROWS * options.steps)),),
        optim=replace(STEPS, batch_size=batch, compile=options.compile),
        evaluations=1,
    )
    return open_session(config, store, device=options.device)


def our_blocks(session: Session, measured: Measured) -> Generator[None]:
    """Trains a block of steps each time that it is asked to."""
    at, rows = session.progress, train(session)
    next(rows)  # the first step, which is counted
    measured.flops = at.stage_flops
    while True:
        steps, seconds, waited = at.step, at.seconds, at.wait_seconds
        next(rows)
        measured.seconds.append((at.seconds - seconds) / (at.step - steps))
        measured.waited.append((at.wait_seconds - waited) / (at.step - steps))
        yield


def peer_blocks(peer: Peer, loader: Loader, measured: Measured, device: torch.device) -> Generator[None]:
    """As `our_blocks`; the first block of each kernel is not counted, but tells which is the faster one."""
    peer.to(device).train()
    optimizer = torch.optim.AdamW(peer.parameters(), lr=STEPS.lr, betas=STEPS.betas, fused=True)
    batches = loader.batches(0, pinned=device.type == "cuda")
    transfer, precision = Transfer(device), environment.pick_precision(device)
    waited = 0.0

    def step() -> None:
        nonlocal waited
        start = time.perf_counter()
        batch = next(batches)
        waited += time.perf_counter() - start
        batch = transfer(batch)
        optimizer.zero_grad(set_to_none=True)
        with environment.autocast(device, precision):
            loss = peer(batch)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(peer.parameters(), STEPS.clip_norm)
        optimizer.step()

    def block() -> tuple[float, float]:
        nonlocal waited
        start, waited = time.perf_counter(), 0.0
        for _ in range(measured.steps):
            step()
        synchronise(device)
        return (time.perf_counter() - start) / measured.steps, waited / measured.steps

    with (
        attention_kernels(peer, fused=False),
        sdpa_kernel(SDPBackend.MATH),
        FlopCounterMode(display=False) as count,
    ):
        step()
    measured.flops = count.get_total_flops()
    times = {}
    for fused in (True, False):
        set_attention_kernels(peer, fused=fused)
        step()
        times[fused], _ = block()
    set_attention_kernels(peer, fused=min(times, key=lambda fused: times[fused]))
    while True:
        seconds, waits = block()
        measured.seconds.append(seconds)
        measured.waited.append(waits)
        yield


def contestants(
    kind: str, work: Work, store: FrameStore, batch: int, options: argparse.Namespace
) -> dict[str, tuple[Measured, Generator[None]]]:
    found: dict[str, tuple[Measured, Generator[None]]] = {}
    shares = {"this project": work.ratio} | (
        {"this project, nothing hidden": 0.0} if kind == "contrast" else {}
    )
    words: Vocabulary | None = None
    for name, ratio in shares.items():
        session, measured = (
            own(replace(work, ratio=ratio), kind, store, batch, options),
            Measured(options.steps),
        )
        words = session.vocabulary
        found[name] = measured, our_blocks(session, measured)
    assert words is not None
    part = store.splits["train"]
    for name, peer in (CONTRASTS if kind == "contrast" else RECONSTRUCTIONS).items():
        torch.manual_seed(0)
        loader = Loader(store, words.encode(part.captions), batch_size=batch, seed=0)
        measured = Measured(options.steps)
        found[name] = measured, peer_blocks(peer(work, words), loader, measured, options.device)
    return found


def case(kind: str, core: str, frames: int, peak: float, options: argparse.Namespace) -> None:
    """Measures one case and prints its table."""
    work = work_of(core, frames, RATIOS[frames])
    batch = options.batch or max(2, TOKENS[options.device.type] // work.tokens)
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        store = write_store(Path(folder) / "frames", frames=frames, size=work.size, train=4 * batch)
        found = contestants(kind, work, store, batch, options)
        for _, blocks in found.values():
            stack.callback(blocks.close)
        for round_ in range(options.rounds + 1):
            for measured, blocks in found.values():
                before = start_of_memory(options.device)
                next(blocks)
                if not round_:  # warms up
                    measured.seconds.clear()
                    measured.waited.clear()
                elif round_ == 1:
                    measured.memory = memory_since(before, options.device)
    hidden = f"{100 * work.ratio:.0f} % hidden"
    print(f"\n**{kind}, {core} core, {frames} x {work.size} x {work.size}, {hidden}, batch {batch}**\n")
    print(table({name: measured for name, (measured, _) in found.items()}, batch, peak), flush=True)


def table(found: dict[str, Measured], batch: int, peak: float) -> str:
    ours, plain = found["this project"], found.get("this project, nothing hidden")
    fastest = min(one.step for name, one in found.items() if not name.startswith("this"))
    heads = ["step", "clips/s", "ms", "GFLOPs a clip", "MFU", "memory (GB)", "waits for data"]
    rows = [[*heads, "times the fastest peer", "time saved / FLOPs saved"], ["---"] * 9]
    for name, one in found.items():
        saved = ""
        if one is ours and plain is not None:
            saved = f"{(1 - one.step / plain.step) / (1 - one.flops / plain.flops):.2f}"
        mfu, waits = one.flops / one.step / peak, median(one.waited) / one.step
        times = "" if one is plain else f"{fastest / one.step:.2f}"
        memory = "" if math.isnan(one.memory) else f"{one.memory:.2f}"
        rows.append(
            [name, f"{batch / one.step:.1f}", f"{1e3 * one.step:.1f}", f"{one.flops / batch / 1e9:.3g}"]
        )
        rows[-1] += [f"{100 * mfu:.0f} %", memory, f"{100 * waits:.1f} %", times, saved]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def start_of_memory(device: torch.device) -> float:
    """Bytes that are held now; from here on the largest is noted."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        return float(torch.cuda.memory_allocated(device))
    with suppress(OSError):  # only Linux notes it, and not everywhere
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
    return resident("VmRSS")


def memory_since(before: float, device: torch.device) -> float:
    """GB above `before` at the highest."""
    most = float(torch.cuda.max_memory_allocated(device)) if device.type == "cuda" else resident("VmHWM")
    return (most - before) / 1e9


def resident(name: str) -> float:
    """Bytes of this process; no number where the system does not tell."""
    try:
        found = re.search(rf"{name}:\s+(\d+)", Path("/proc/self/status").read_text(encoding="ascii"))
    except OSError:
        return float("nan")
    return 1024 * float(found[1]) if found else float("nan")


def main() -> None:
    found = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    found.add_argument("--cores", nargs="+", choices=CORES, help="small and s; on a GPU b as well")
    found.add_argument("--frames", nargs="+", type=int, choices=RATIOS, default=list(RATIOS))
    found.add_argument("--kinds", nargs="+", choices=("contrast", "reconstruct"))
    found.add_argument("--device", default="auto")
    found.add_argument("--batch", type=int, default=0, help="by default as the memory allows")
    found.add_argument("--rounds", type=int, default=6)
    found.add_argument("--steps", type=int, default=2, help="of each contestant in a round")
    found.add_argument("--compile", action="store_true", help="optim.compile of our runs, on a GPU")
    options = found.parse_args()
    if (options.rounds + 1) * options.steps >= ROWS * options.steps:
        found.error(f"--rounds is at most {ROWS - 2}")
    options.device = environment.pick_device(options.device)
    precision = environment.pick_precision(options.device)
    peak = matmul_flops_per_s(options.device, precision)
    facts = environment.describe(options.device, precision)
    versions = ", ".join(f"{name} {facts[name]}" for name in ("torch", "timm", "transformers"))
    print(f"{facts['device_name']}, {facts['precision']}, {facts['threads']} threads, {versions}; ", end="")
    print(f"a matrix product runs at {peak / 1e12:.2f} TFLOP/s")
    print(f"\n    {' '.join(['python', *sys.argv])}")
    cores = options.cores or (["small", "s", "b"] if options.device.type == "cuda" else ["small", "s"])
    for core in cores:
        for frames in options.frames:
            for kind in options.kinds or ("contrast", "reconstruct"):
                if kind == "contrast" or frames > 1:
                    case(kind, core, frames, peak, options)


if __name__ == "__main__":
    main()
