"""Decoding of clips in shards: a clip is read and then decoded like any other file."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from workbench.data import decode
from workbench.data.shards import locations
from workbench.errors import UserError


def decode_task(task: dict[str, Any]) -> tuple[dict[str, Any], bytes]:
    """As `decode.decode_task`; in place of `path` there may be a `member` of a shard, see `index.Member`.

    For a member the answer contains the seconds to `read` and to `decode` it; if it could not be read, the
    answer has `unread` beside the reason, since the clip itself may be fine.
    """
    return _opened(decode.decode_task, task)


def examine_task(task: dict[str, Any]) -> tuple[dict[str, Any], bytes]:
    """As `decode.examine_task`, for a file or a member of a shard."""
    return _opened(decode.examine_task, task)


def _opened(
    work: Callable[[dict[str, Any]], tuple[dict[str, Any], bytes]], task: dict[str, Any]
) -> tuple[dict[str, Any], bytes]:
    if "member" not in task:
        return work(task)
    begun = time.perf_counter()
    try:
        content = locations.read(*task["member"])
    except UserError as error:
        return {"reason": str(error), "unread": True}, b""
    read = time.perf_counter()
    with _as_file(content) as path:
        answer, payload = work(task | {"path": path})
    return answer | {"read": read - begun, "decode": time.perf_counter() - read}, payload


@contextmanager
def _as_file(content: bytes) -> Iterator[str]:
    """The path of a file with this content, which the decoders open; in memory where the system can."""
    if not hasattr(os, "memfd_create"):
        with tempfile.NamedTemporaryFile() as file:
            file.write(content)
            file.flush()
            yield file.name
        return
    with open(os.memfd_create("clip"), "wb", buffering=0) as file:
        file.write(content)
        yield f"/proc/self/fd/{file.fileno()}"
