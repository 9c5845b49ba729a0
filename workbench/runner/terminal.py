"""Output that may disappear (`| head`, a `tee` or a terminal that ended) without stopping training."""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from typing import Any, TextIO, cast

_GONE = (errno.EPIPE, errno.EIO)


class _Lasting:
    """A stream whose reader may go away; what is printed after that goes nowhere."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        try:
            return self._stream.write(text)
        except OSError as error:
            self._mute(error)
            return len(text)

    def flush(self) -> None:
        try:
            self._stream.flush()
        except OSError as error:
            self._mute(error)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def _mute(self, error: OSError) -> None:
        if error.errno not in _GONE:
            raise error
        # What is still buffered would else fail once more when the interpreter ends.
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, self._stream.fileno())
        os.close(nowhere)


@contextmanager
def lasting_output() -> Iterator[None]:
    """Inside, nothing that is printed raises because nobody reads it any more."""
    out, err = cast(TextIO, _Lasting(sys.stdout)), cast(TextIO, _Lasting(sys.stderr))
    with redirect_stdout(out), redirect_stderr(err):
        yield
        out.flush()
