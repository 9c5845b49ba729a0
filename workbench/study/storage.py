"""Optuna's storage: opened once at a time, never MLflow's, its failures told in a sentence."""

from __future__ import annotations

import random
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution
from optuna.exceptions import ExperimentalWarning, OptunaError, StorageInternalError
from optuna.storages import RDBStorage
from sqlalchemy.exc import ArgumentError, IntegrityError, ProgrammingError, SQLAlchemyError

from workbench.addresses import masked, same_database
from workbench.errors import UserError
from workbench.study.plan import Plan, Run
from workbench.study.spec import Choice, Study

OPENINGS = 5
"""How often the tables of a shared storage are looked for while another machine may be making them."""
HEARTBEAT = 60
"""Seconds between signs of life of a claimed trial on a shared storage."""


def is_shared(address: str) -> bool:
    """Whether several machines may use this storage; SQLite is for one."""
    return not address.startswith("sqlite")


def record_params(trial: optuna.trial.Trial, plan: Plan, run: Run) -> None:
    """Makes the axes of a run visible as parameters of its trial.

    Numbers as a range, so that a later study file may add choices; words as they are.
    """
    for name in run.cell.axes:
        choices = _choices(plan, name)
        numbers = [c for c in choices if isinstance(c, int | float) and not isinstance(c, bool)]
        if len(numbers) == len(choices):
            _record_param(trial, name, FloatDistribution(min(numbers), max(numbers)))
        else:
            _record_param(trial, name, CategoricalDistribution(choices))


def _choices(plan: Plan, axis: str) -> list[Choice]:
    seen: list[Choice] = []
    for cell in plan.cells:
        for axes in (cell.axes, *cell.twins):
            if axis in axes and axes[axis] not in seen:
                seen.append(axes[axis])
    return seen


def _record_param(trial: optuna.trial.Trial, name: str, distribution: BaseDistribution) -> None:
    try:
        if isinstance(distribution, FloatDistribution):
            trial.suggest_float(name, distribution.low, distribution.high)
        elif isinstance(distribution, CategoricalDistribution):
            trial.suggest_categorical(name, distribution.choices)
    except ValueError:
        # The study file's choices have changed since earlier trials, which Optuna cannot mix. The
        # cell stays identified by its key and its attribute `axes`.
        trial.set_user_attr(f"axis.{name}", trial.user_attrs["axes"][name])


def _storage(address: str, options: dict[str, Any], openings: int) -> RDBStorage:
    """Of two machines that first open an empty server at once, one finds tables half made: it tries again."""
    for left in reversed(range(openings)):
        try:
            return RDBStorage(address, **options)
        except (IntegrityError, ProgrammingError, StorageInternalError):
            if not left:
                raise
            time.sleep(random.uniform(0.5, 1.5))
    raise AssertionError("at least one opening")


def open_study(address: str, name: str, study: Study, shared: bool) -> tuple[RDBStorage, optuna.Study]:
    """The storage and the Optuna study, both created when missing; `UserError` when unreachable."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    # The heartbeat has been "experimental" in Optuna since 2021.
    warnings.filterwarnings("ignore", category=ExperimentalWarning)
    options: dict[str, Any] = {"heartbeat_interval": HEARTBEAT, "grace_period": 3 * HEARTBEAT}
    if not shared:
        options = {"engine_kwargs": {"connect_args": {"timeout": 60}}}
    try:
        storage = _storage(address, options, openings=OPENINGS if shared else 1)
        opened = optuna.create_study(
            study_name=name,
            storage=storage,
            directions=[study.direction, "minimize"] if study.cost else [study.direction],
            load_if_exists=True,
            sampler=optuna.samplers.RandomSampler(),
            pruner=optuna.pruners.NopPruner(),  # a search has its own sampler and pruner, see `search`
        )
        opened.set_user_attr("question", study.question)
        opened.set_user_attr("metric", f"val/{study.metric}")
    except (ArgumentError, SQLAlchemyError, OptunaError, ImportError) as error:
        first = str(error).splitlines()[0]
        raise UserError(f"cannot open the Optuna storage {masked(address)}: {masked(first)}") from error
    return storage, opened


@contextmanager
def explained(address: str) -> Iterator[None]:
    """Turns the loss of the storage in mid-work into a sentence."""
    try:
        yield
    except (StorageInternalError, SQLAlchemyError) as error:
        first = masked(str(error).splitlines()[0])
        raise UserError(
            f"lost the Optuna storage {masked(address)} ({first}); finished runs keep their record, "
            "the same command goes on from here"
        ) from error


def check_addresses(storage: str, tracker: str) -> None:
    """Optuna and MLflow would destroy each other's tables in one database."""
    if storage and tracker and same_database(storage, tracker):
        raise UserError(
            "Optuna and MLflow need a database each, since both keep their migrations in a table of "
            f"the same name; both were given {masked(storage)}"
        )
