"""The device of a study's runs, which is the same for all of them."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

from workbench.errors import UserError
from workbench.study.plan import Plan
from workbench.tracking.run_dir import RunDir


def pin_device(plan: Plan, results: Path, asked: str, module: str) -> str:
    """The device of every run: the requested one, else that of earlier runs, else the one available now.

    If each run chose its own, a study that loses its GPU would continue on the CPU, and cells with different
    precision and speed would be compared.
    """
    from workbench.train.environment import pick_device

    if asked:
        check_device(asked)  # refused now rather than after the data are made
        return asked
    if module != "workbench.train":
        return ""
    there = pick_device().type
    before = _devices_before(plan, results)
    if len(before) != 1 or before == {there}:
        return there
    [device] = before
    if device != "cpu":
        raise UserError(
            f"the runs so far are from {device}, which is not usable here now; bring it back, or choose "
            "another device with --device"
        )
    print(f"continuing on {device}, as the runs before; --device chooses another")
    return device


def check_device(asked: str) -> None:
    """Raises `UserError` for a device that this machine does not have, or that cannot be used."""
    from workbench.train.environment import pick_device

    pick_device(asked)


def _devices_before(plan: Plan, results: Path) -> set[str]:
    """Kinds of devices (`cpu`, `cuda`) that the runs of this plan have recorded."""
    found = set()
    for run in plan.runs:
        directory = RunDir.of(results, plan.study.name, run.cell.key, run.seed)
        with suppress(UserError):  # a damaged record is the affair of the run it belongs to
            found.add(str(directory.read_json("environment.json").get("device", "")).partition(":")[0])
    return found - {""}
