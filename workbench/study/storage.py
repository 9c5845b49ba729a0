"""Optuna's storage: opened once at a time, never MLflow's, its failures told in a sentence."""

from __future__ import annotations

import functools
import random
import re
import secrets
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Concatenate, ParamSpec, Protocol, TypeVar
from urllib.parse import quote

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution
from optuna.exceptions import ExperimentalWarning, OptunaError, StorageInternalError
from optuna.storages import RDBStorage
from optuna.study import StudyDirection
from sqlalchemy.exc import (
    ArgumentError,
    IntegrityError,
    InterfaceError,
    OperationalError,
    ProgrammingError,
    SQLAlchemyError,
)
from tqdm import tqdm

from workbench.addresses import masked
from workbench.errors import UserError
from workbench.study.plan import Plan, Run
from workbench.study.spec import Choice, Study
from workbench.tracking.files import write_atomic

OPEN_ATTEMPTS = 5
"""How often the tables of a shared storage are looked for while another machine may be making them."""
HEARTBEAT_INTERVAL = 60
"""Seconds between heartbeats of a lease on a shared storage."""
SQLITE_TIMEOUT = 60
"""Seconds for which SQLite waits for another process to let go of the file."""
RETRY_FOR = 300.0
"""Seconds for which a server that is away is tried again before the study ends."""
FIRST_PAUSE, LONGEST_PAUSE = 0.5, 15.0
"""Seconds between two attempts: they double from the first up to the second."""
STORAGE_ERRORS = (StorageInternalError, SQLAlchemyError)
"""Errors of Optuna if a storage is gone, full or locked."""
CONNECTION = {
    "connect_timeout": 10,
    "keepalives": 1,
    "keepalives_idle": 30,
    "keepalives_interval": 10,
    "keepalives_count": 3,
    "tcp_user_timeout": 30_000,  # milliseconds
}
"""Of PostgreSQL: a network that drops packets would else hold a worker for hours."""


def is_shared(address: str) -> bool:
    """Whether several machines may use this storage; SQLite is for one."""
    return not address.startswith("sqlite")


def record_params(storage: RDBStorage, trial: int, plan: Plan, run: Run) -> None:
    """Makes the axes of a run visible as parameters of its trial, which it may have already.

    Numbers as a range, so that a later study file may add choices; words as they are.
    """
    for name, value in run.cell.axes.items():
        choices = _choices(plan, name)
        numbers = [c for c in choices if isinstance(c, int | float) and not isinstance(c, bool)]
        distribution: BaseDistribution = CategoricalDistribution(choices)
        if len(numbers) == len(choices):
            distribution = FloatDistribution(min(numbers), max(numbers))
        try:
            storage.set_trial_param(trial, name, distribution.to_internal_repr(value), distribution)
        except ValueError:
            # The study file's choices have changed since earlier trials, which Optuna cannot mix. The
            # cell stays identified by its key and its attribute `axes`.
            storage.set_trial_user_attr(trial, f"axis.{name}", value)


def _choices(plan: Plan, axis: str) -> list[Choice]:
    seen: list[Choice] = []
    for cell in plan.cells:
        for axes in (cell.axes, *cell.twins):
            if axis in axes and axes[axis] not in seen:
                seen.append(axes[axis])
    return seen


def _storage(address: str, options: dict[str, Any], attempts: int) -> RDBStorage:
    """Of two machines that first open an empty server at once, one finds tables half made: it tries again."""
    for left in reversed(range(attempts)):
        try:
            return RDBStorage(address, **options)
        except (IntegrityError, ProgrammingError, StorageInternalError):
            if not left:
                raise
            time.sleep(random.uniform(0.5, 1.5))
    raise AssertionError("at least one attempt")


def look_at_study(path: Path, name: str) -> tuple[RDBStorage, optuna.Study]:
    """An SQLite storage and its Optuna study as they are, also in a folder that nobody may write to.

    Raises `NotBegun` where either is missing.
    """
    if not path.exists():
        raise NotBegun(f"there is no Optuna storage {path}")
    address = f"sqlite:///file:{quote(str(path.resolve()))}?mode=ro&uri=true"
    options = {"engine_kwargs": {"connect_args": {"timeout": SQLITE_TIMEOUT}}, "skip_table_creation": True}
    with _opening(address):
        storage = _storage(address, options, attempts=1)
        try:
            return storage, optuna.load_study(study_name=name, storage=storage)
        except KeyError:
            raise NotBegun(f"{path} holds no study {name}") from None


class NotBegun(UserError):
    """No storage or study exists yet."""


@contextmanager
def _opening(address: str) -> Iterator[None]:
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    # The heartbeat has been "experimental" in Optuna since 2021.
    warnings.filterwarnings("ignore", category=ExperimentalWarning)
    try:
        yield
    # RuntimeError: tables of another version of Optuna, or somebody else's.
    except (ArgumentError, SQLAlchemyError, OptunaError, ImportError, RuntimeError) as error:
        raise UserError(f"cannot open the Optuna storage {masked(address)}: {cause(error)}") from error


def open_study(address: str, name: str, study: Study, shared: bool) -> tuple[RDBStorage, optuna.Study]:
    """The storage and the Optuna study, both created when missing; `UserError` when unreachable."""
    options: dict[str, Any] = {"engine_kwargs": {"connect_args": {"timeout": SQLITE_TIMEOUT}}}
    if shared:
        engine: dict[str, Any] = {"pool_pre_ping": True}  # a server that came back costs no failure
        if re.match(r"postgres(ql)?(\+psycopg2?)?:", address):
            engine["connect_args"] = CONNECTION
        options = {
            "heartbeat_interval": HEARTBEAT_INTERVAL,
            "grace_period": heartbeat_timeout(),
            "engine_kwargs": engine,
        }
    best = StudyDirection[study.direction.upper()]
    with _opening(address):
        storage = _storage(address, options, attempts=OPEN_ATTEMPTS if shared else 1)
        opened = optuna.create_study(
            study_name=name,
            storage=storage,
            directions=[best, StudyDirection.MINIMIZE] if study.cost else [best],
            load_if_exists=True,
            sampler=optuna.samplers.RandomSampler(),
            pruner=optuna.pruners.NopPruner(),  # a search has its own sampler and pruner, see `search`
        )
        opened.set_user_attr("question", study.question)
        opened.set_user_attr("metric", f"val/{study.metric}")
    return storage, opened


@contextmanager
def explained(address: str) -> Iterator[None]:
    """Turns the loss of the storage in mid-work into a sentence."""
    try:
        yield
    except STORAGE_ERRORS as error:
        raise UserError(
            f"lost the Optuna storage {masked(address)} ({cause(error)}); finished runs keep their record, "
            "the same command goes on from here"
        ) from error


def heartbeat_timeout() -> float:
    """Seconds without a heartbeat after which a machine is taken for dead."""
    return 3 * HEARTBEAT_INTERVAL


def cause(error: BaseException) -> str:
    """What the database itself said, without passwords; Optuna wraps it in words that fit any error."""
    while error.__cause__ is not None:
        error = error.__cause__
    return masked(next(iter(str(error).splitlines()), "") or type(error).__name__)


def away(error: BaseException) -> bool:
    """Whether the server could not be reached, rather than that it refused what it was asked."""
    inner = error.__cause__ if isinstance(error, StorageInternalError) else error
    return isinstance(inner, OperationalError | InterfaceError)


class Retrying(Protocol):
    """What `retried` needs of a ledger."""

    address: str
    shared: bool
    stopped: Callable[[], bool]


_P = ParamSpec("_P")
_T = TypeVar("_T")
_S = TypeVar("_S", bound=Retrying)


def retried(method: Callable[Concatenate[_S, _P], _T]) -> Callable[Concatenate[_S, _P], _T]:
    """Tries a method of a ledger again while a shared storage is away (a restart, a network).

    The method is called again from its start, so it has to look anew at what is there.
    """

    @functools.wraps(method)
    def retrying(self: _S, *arguments: _P.args, **options: _P.kwargs) -> _T:
        end, pause = time.monotonic() + RETRY_FOR, FIRST_PAUSE
        while True:
            try:
                return method(self, *arguments, **options)
            except STORAGE_ERRORS as error:
                if not (self.shared and away(error)) or self.stopped() or time.monotonic() > end:
                    raise
                if pause == FIRST_PAUSE:
                    tqdm.write(
                        f"warning: the Optuna storage {masked(self.address)} is away ({cause(error)}); "
                        f"trying again for {RETRY_FOR:.0f} seconds",
                        file=sys.stderr,
                    )
            _wait(pause, self.stopped)
            pause = min(LONGEST_PAUSE, 2 * pause)

    return retrying


def _wait(seconds: float, stopped: Callable[[], bool]) -> None:
    end = time.monotonic() + seconds
    while not stopped() and time.monotonic() < end:
        time.sleep(0.1)


def results_id(results: Path) -> str:
    """Random digits that stay with a results folder; the names of cloned machines are all the same."""
    path = results / ".identity"
    if not path.exists():
        write_atomic(path, secrets.token_hex(8))
    return path.read_text(encoding="ascii").strip()
