"""`--notify URL`: a message to a web hook when a study ends, stops or fails, and when one of its runs fails.

The message is a POST of a JSON object; its `text` is a sentence, which the hooks of chat programs show.
Failures are reported on standard error, and the study continues.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Sequence
from http.client import HTTPException
from typing import Any
from urllib.parse import urlsplit
from urllib.request import Request, urlopen

from workbench import __version__
from workbench.addresses import masked
from workbench.errors import UserError
from workbench.study.outcome import Entry, Lease, Outcome

TIMEOUT = 5.0
"""Seconds that a hook may take to answer."""
LONGEST = 1000
"""Largest number of characters of a reason in a message."""
STATES = {0: "complete", 2: "failed", 3: "gaps", 130: "interrupted"}
"""Exit code of a study -> how it ended."""
SAID = {
    "complete": "all runs are complete",
    "gaps": "it ended, and some runs are missing",
    "interrupted": "it was stopped; the same command goes on",
    "failed": "it failed",
}


class Hook:
    """A web hook for messages on a study; an empty address receives none.

    Raises `UserError` for an address that is not a web address.
    """

    def __init__(self, url: str, study: str) -> None:
        check(url)
        self.url, self.study = url, study

    def around(self, work: Callable[[], int]) -> int:
        """The exit code of `work`, which is told with its end; an error is told and goes on its way."""
        try:
            code = work()
        except KeyboardInterrupt:
            self._ended("interrupted")
            raise
        except Exception as error:
            self._ended(
                "failed", f"{'' if isinstance(error, UserError) else type(error).__name__ + ': '}{error}"
            )
            raise
        self._ended(STATES.get(code, "failed"))
        return code

    def _ended(self, state: str, reason: str = "") -> None:
        self._post("end", state, SAID[state], reason)

    def _post(self, event: str, state: str, said: str, reason: str, **facts: Any) -> None:
        if not self.url:
            return
        reason = masked(reason)[:LONGEST]
        text = f"Study {self.study}: {said}{f' ({reason})' if reason else ''}."
        told = {"text": text, "event": event, "study": self.study, "state": state, "reason": reason, **facts}
        headers = {"Content-Type": "application/json", "User-Agent": f"workbench/{__version__}"}
        request = Request(self.url, json.dumps(told).encode(), headers, method="POST")
        try:
            with urlopen(request, timeout=TIMEOUT) as answer:
                answer.read(1)
        except (OSError, HTTPException, ValueError) as error:
            place = f"{urlsplit(self.url).scheme}://{urlsplit(self.url).hostname}"  # the rest is a secret
            print(f"warning: {place} was not notified ({type(error).__name__}: {error})", file=sys.stderr)

    # As one of `work.Watcher`

    def started(self, lease: Lease) -> None:
        """Nobody is told of a beginning."""

    def progressed(self, lease: Lease, share: float) -> None:
        """Nor of progress."""

    def waiting(self, entries: Sequence[Entry]) -> None:
        """Nor of waiting for others."""

    def ended(self, lease: Lease, outcome: Outcome, over: bool) -> None:
        """A run that has failed and is not tried again."""
        if over and outcome.state == "failed":
            label, seed = lease.run.cell.label, lease.run.seed
            reason = f"{outcome.failure}: {outcome.reason}"
            self._post("failure", "failed", f"{label} seed {seed} failed", reason, cell=label, seed=seed)


def check(url: str) -> None:
    """Refuses what is no address of the web; an empty one is none at all, which is allowed."""
    try:
        parts = urlsplit(url)
        usable = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:  # a port that is no number
        usable = False
    if url and (not usable or any(letter.isspace() for letter in url)):
        raise UserError("--notify must be an address that begins with http:// or https:// and names a host")
