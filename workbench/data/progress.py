"""Progress display: a bar on a terminal, a few lines for other output."""

from __future__ import annotations

import sys
from types import TracebackType
from typing import Self

from tqdm import tqdm

LINES = 10
"""Number of lines for one piece of work without a terminal, because logs should not contain carriage
returns."""


class Progress:
    """Counts up to `total` on standard error, as a context manager.

    Args:
        total: number of steps; with 0 nothing is shown.
        what: name of the work, such as `decoding clips`.
        unit: unit of a step, such as `clip`.
        shown: False shows nothing.
    """

    def __init__(self, total: int, what: str, unit: str, *, shown: bool = True) -> None:
        self._total, self._what, self._unit = total, what, unit
        self._done = self._said = 0
        terminal = sys.stderr.isatty()
        self._lines = shown and total > 0 and not terminal
        self._bar = tqdm(
            total=total, desc=what, unit=unit, disable=not (shown and total and terminal), file=sys.stderr
        )

    def update(self, steps: int = 1) -> None:
        """Adds finished steps."""
        self._done += steps
        self._bar.update(steps)
        tenth = LINES * self._done // max(1, self._total)
        if self._lines and tenth > self._said:
            self._said = tenth
            print(f"{self._what}: {self._done} of {self._total} {self._unit}s", file=sys.stderr, flush=True)

    def say(self, text: str) -> None:
        """Prints a line on standard error, above the bar if there is one."""
        if self._bar.disable:
            print(text, file=sys.stderr, flush=True)
        else:
            self._bar.write(text, file=sys.stderr)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.close()
