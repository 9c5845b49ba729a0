"""`python -m workbench.study NAME`: run a study, go on with it, or look at it."""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from workbench import data as datasets
from workbench import tasks
from workbench.addresses import check_addresses, check_local
from workbench.data.workers import usable_cores
from workbench.errors import UserError
from workbench.runner import notify, quota, slurm, workers
from workbench.runner.arguments import parser
from workbench.runner.device import pin_device
from workbench.runner.screen import Screen
from workbench.runner.terminal import lasting_output
from workbench.study import spec, text_output
from workbench.study.cells.confirm import planned
from workbench.study.cells.options import Options, parse_mix, parse_seeds
from workbench.study.plan import Plan
from workbench.tracking.files import check_folder, disk_full
from workbench.tracking.mirrors import registry as mirrors

if TYPE_CHECKING:
    from workbench.runner.work import Machine, Stop, Watcher
    from workbench.study.ledger import Ledger
    from workbench.study.outcome import Entry

COMPLETE, BAD_INPUT, GAPS, INTERRUPTED = 0, 2, 3, 130


def main(
    arguments: Sequence[str] | None = None,
    *,
    module: str = "workbench.train",
    prepare: Callable[..., Path] = datasets.prepare,
) -> int:
    """Exit code: 0 all runs complete, 2 bad input, 3 gaps remain, 130 interrupted.

    `module` and `prepare` are what trains a run and what makes the data ready; tests replace them.
    """
    options = parser().parse_args(arguments)
    options.words = sys.argv[1:] if arguments is None else list(arguments)
    with lasting_output():
        return _main(options, module, prepare)


def _main(options: argparse.Namespace, module: str, prepare: Callable[..., Path]) -> int:
    if options.study is None:
        print(text_output.listing(spec.questions()))
        return COMPLETE
    return _settled(options, lambda: _study(options, module, prepare))


def _settled(options: argparse.Namespace, work: Callable[[], int]) -> int:
    """What `work` returns; what it cannot do is said in one sentence."""
    try:
        return work()
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return BAD_INPUT
    except OSError as error:
        if error.filename is None and not disk_full(error):
            raise  # not about a file: a defect of ours
        from workbench.runner.work import unwritable

        path, full = error.filename or options.results, disk_full(error)
        print(f"error: {unwritable(path, str(error.strerror), full=full)}", file=sys.stderr)
        return BAD_INPUT
    except KeyboardInterrupt:  # before the first run; later a stop is a flag, see run.Stop
        return INTERRUPTED


def _study(options: argparse.Namespace, module: str, prepare: Callable[..., Path]) -> int:
    results = Path(options.results)
    data_root = Path(options.data_root) if options.data_root else results / "data"
    _check(options, results)
    study = spec.load(options.study)
    asked = Options(
        seeds=parse_seeds(options.seeds, int(options.confirm > 0)) if options.seeds else (),
        confirm=options.confirm,
        budget=options.budget,
        data=next(iter(options.data), ""),
        more_data=tuple(options.data[1:]),
        pretrain_data=options.pretrain_data,
        mix=parse_mix(options.mix),
        recipe=options.recipe,
        trials=options.trials,
        single=options.single,
        quick=options.quick,
        smoke=options.smoke,
        settings=tuple(options.set),
    )
    plan = planned(study, asked, data_root, results)
    if options.plan:
        _check_plan(plan, options, module)
    if options.plan or options.status:
        return _look(plan, options, results)
    if options.reconcile:
        from workbench.runner.reconcile import reconcile

        reconcile(plan, results, options.storage, options.mlflow, options.also)
        return COMPLETE
    if options.slurm is not None:
        return _submit(plan, options, results)
    hook = notify.Hook(options.notify, plan.study.name)
    return hook.around(lambda: _begin(plan, options, data_root, module, prepare))


def _check_plan(plan: Plan, options: argparse.Namespace, module: str) -> None:
    """Refuses a plan whose runs would be refused; says that its device is not here, since a plan may be
    looked at on another machine than the one that is to run it."""
    if module == "workbench.train":
        from workbench.study.cells.check import check_runs

        check_runs(plan, options.processes)
    if options.device:
        from workbench.runner.device import check_device

        try:
            check_device(options.device)
        except UserError as error:
            print(f"warning: {error}", file=sys.stderr)


def _begin(plan: Plan, options: Any, data_root: Path, module: str, prepare: Callable[..., Path]) -> int:
    """Tries the models, makes the data, and runs what is missing."""
    options.device = pin_device(plan, Path(options.results), options.device, module)
    if module == "workbench.train":
        from workbench.study.cells.check import try_models

        try_models(plan, options.processes)
    for data in dict.fromkeys(data for cell in plan.samples for data in cell.config.all_data):
        source = plan.options.source(data.name)
        prepare(data, source=source, root=data_root, allow_bad_eval=options.allow_bad_eval)
    return _shared(plan, options, data_root, module)


def _check(options: argparse.Namespace, results: Path) -> None:
    """Refuses what can be refused before anything is loaded or written."""
    check_addresses(results, options.storage, options.mlflow)
    if options.device and not re.fullmatch(r"cpu|cuda(:\d+)?", options.device):
        raise UserError(f"--device must be cpu, cuda or cuda:N, not {options.device!r}")
    asked = [f"--{name}" for name in ("plan", "status", "reconcile") if getattr(options, name)]
    if len(asked) > 1:
        raise UserError(f"give only one of {' and '.join(asked)}: each replaces running the study")
    if options.smoke and options.quick:
        raise UserError(
            "give either --smoke (a small test of the whole path) or --quick (one seed of each cell), "
            "not both"
        )
    if options.dry_run and options.slurm is None:
        raise UserError(
            '--dry-run prints what --slurm "OPTIONS" would submit: give --slurm as well; '
            "--plan shows the runs of a study"
        )
    if options.slurm is None:  # else each job has a machine of its own
        workers.check(options.workers, options.processes, options.device)
    notify.check(options.notify)
    mirrors.check(options.also)
    if options.trials < 0:
        raise UserError(f"--trials must be the total number of trials, 0 or more, not {options.trials}")
    if not options.deadline > 0:
        raise UserError(f"--deadline must be a number of seconds above 0, not {options.deadline:g}")
    if not options.save_every >= 0:
        raise UserError(f"--save-every must be a number of seconds, 0 or more, not {options.save_every:g}")
    quota.parse_size(options.checkpoint_quota)
    looking = options.plan or options.status
    if not looking:
        check_local(results, options.storage, options.mlflow)
    check_folder(results, "--results", writable=not looking)
    if options.data_root:
        check_folder(Path(options.data_root), "--data-root", writable=False)


def _look(plan: Plan, options: argparse.Namespace, results: Path) -> int:
    """Plan or status, without writing anything."""
    from workbench.study.outcome import measured_seconds, recorded
    from workbench.study.search import open_ledger
    from workbench.study.storage import NotBegun

    try:
        ledger = open_ledger(plan, results, options.storage, looking=True)
        entries, others = ledger.entries(), ledger.others()
        plan = ledger.plan
    except NotBegun:
        entries, others = recorded(plan, results), []
    if options.plan:
        print(text_output.plan_text(plan, entries, measured_seconds(plan, results)))
    else:
        print(text_output.status_text(plan, entries, text_output.beside(plan, others, results)))
    return COMPLETE


def _submit(plan: Plan, options: argparse.Namespace, results: Path) -> int:
    """Hands the workers to SLURM, or shows what it would get."""
    command = [sys.executable, "-m", "workbench.study", *slurm.worker_words(options.words)]
    name = plan.study.name
    text = slurm.script(name, command, options.slurm, options.workers, results, options.storage)
    if options.dry_run:
        print(text, end="")
        return COMPLETE
    job = slurm.submit(text, results)
    count = options.workers or "1"
    print(f"submitted job {job}: {count} worker{'' if count == '1' else 's'} of {name}")
    print(
        f"  logs  {results / 'slurm' / f'{name}-{job}_*.log'}\n  look  squeue -j {job}\n  stop  scancel {job}"
    )
    return COMPLETE


def _shared(plan: Plan, options: argparse.Namespace, data_root: Path, module: str) -> int:
    """Lets the workers that were asked for do what is missing, and itself what they leave."""
    from workbench.runner.work import Stop

    def work(number: int, device: str) -> int:
        own = argparse.Namespace(**vars(options) | {"worker": number, "device": device})
        with (heard := Stop()).listening():
            return _settled(own, lambda: _run(plan, own, data_root, module, heard))

    with (stop := Stop()).listening():
        if options.workers:
            codes = workers.share(options.workers, options.device, usable_cores(), work, stop)
            if BAD_INPUT in codes:
                return BAD_INPUT
        return _run(plan, options, data_root, module, stop)


def _run(plan: Plan, options: argparse.Namespace, data_root: Path, module: str, stop: Stop) -> int:
    from workbench.study.search import open_ledger
    from workbench.study.storage import explained

    results = Path(options.results)
    results.mkdir(parents=True, exist_ok=True)
    ledger = open_ledger(plan, results, options.storage, retry=options.retry)
    ledger.stopped = lambda: bool(stop)
    with explained(ledger.address):
        if not stop:
            _go_on(ledger, options, data_root, module, stop)
        return COMPLETE if options.worker else _finish(ledger, options, bool(stop))


def _go_on(ledger: Ledger, options: argparse.Namespace, data_root: Path, module: str, stop: Stop) -> None:
    """Repairs what an earlier call left behind, does what is missing, keeps trackers up to date."""
    from workbench.runner.work import Machine
    from workbench.study.description import describe
    from workbench.tracking.cache.prepare import Keeper
    from workbench.tracking.forward import CLOSE_TIMEOUT, Leftovers, forwarder, unsent

    results = ledger.results
    for repair in ledger.reconcile():
        print(repair)
    ledger.enqueue()
    describe(ledger.plan, results)
    entries = ledger.entries()
    directories = [ledger.directory(entry.run) for entry in entries]
    collector = quota.Collector(ledger.plan.study, results, options.checkpoint_quota)
    leftovers = Leftovers(study=ledger.plan.study.name, busy=ledger.busy, directories=directories)
    first = unsent(directories, results, options.mlflow)
    name = ledger.plan.study.name
    trackers = (
        forwarder(results, options.mlflow, first, leftovers),
        mirrors.forwarder(options.also, results, name, directories),
    )
    try:
        if any(entry.state in ("waiting", "running") for entry in entries):
            machine = Machine(
                data_root=data_root,
                device=options.device,
                deadline=options.deadline,
                save_every=options.save_every,
                processes=options.processes,
            )
            keeper = Keeper(tasks.queries_of(ledger.plan.study.metric))
            hook = notify.Hook(options.notify, name)
            watchers: list[Watcher] = [*trackers, collector, keeper, hook]
            _work(ledger, entries, machine, module, watchers, stop, options.worker)
    finally:
        for tracker in trackers:
            if warning := tracker.close(15.0 if stop else CLOSE_TIMEOUT):
                print(f"warning: {warning}", file=sys.stderr)


def _work(
    ledger: Ledger,
    entries: Sequence[Entry],
    machine: Machine,
    module: str,
    watchers: Sequence[Watcher],
    stop: Stop,
    worker: int,
) -> None:
    from workbench.runner.launch import Launcher
    from workbench.runner.work import work

    plan = ledger.plan
    done = sum(entry.state in ("complete", "pruned") for entry in entries)
    total = plan.expected
    if done and not worker:  # workers leave that to whoever started them
        print(f"{done} of {total} runs were done; going on with run {done + 1}")
    elif plan.space is not None and not worker:
        print(f"{total} trials, each with seed 0")
    elif not worker:
        print(f"{total} runs: {len(plan.cells)} cells x {len(plan.seeds)} seeds")
    preload = sorted({type(cell.config.recipe).__module__ for cell in plan.samples})
    screen = Screen(plan, entries, ledger.results, ledger.entries, worker)
    with Launcher(module, preload, stop=lambda: bool(stop), urgent=lambda: stop.urgent) as launcher:
        try:
            work(ledger, launcher, machine, [screen, *watchers], stop)
        finally:
            screen.close()


def _finish(ledger: Ledger, options: argparse.Namespace, stopped: bool) -> int:
    from workbench.answer.results import answer
    from workbench.answer.study_record import StudyRecord
    from workbench.answer.validity.looks import note
    from workbench.report.write import write
    from workbench.study.description import describe

    entries, results = ledger.entries(), ledger.results
    done = sum(entry.state in ("complete", "pruned") for entry in entries)
    if stopped:
        print(
            f"\nStopped with {done} of {ledger.plan.expected} runs done. The same command goes on from here."
        )
        return INTERRUPTED
    asked = StudyRecord.of(describe(ledger.plan, results, ledger.importances()))
    found = answer(asked, results)
    print(text_output.answer_text(found))
    if found.cells.height:
        print(f"\nTables and figures: {write(found, results)}")
        note(asked, found.evidence, results)
    if ledger.exhausted:
        print(f"\nThere is nothing new to try after {done} trials.")
    if ledger.exhausted or done >= ledger.plan.expected:
        print("\n" + text_output.look_further(results, options.results, options.mlflow))
        return COMPLETE
    print("\n" + text_output.status_text(ledger.plan, entries))
    print("After removing the cause, --retry tries failed runs again.")
    return GAPS


if __name__ == "__main__":
    raise SystemExit(main())
