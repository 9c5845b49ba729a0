"""Memory that stays with the process from one training step on a processor to the next."""

from __future__ import annotations

import ctypes

import torch

TRIM, MAPPED = -1, -4
"""glibc's numbers of M_TRIM_THRESHOLD and M_MMAP_MAX."""
DEFAULTS = {TRIM: 128 << 10, MAPPED: 65536}
_users = 0


class Kept:
    """From its making to its `release`, freed memory is used again instead of being given back.

    glibc gives tensors of more than 32 MB back to the system as soon as they are freed. The next step gets
    them as fresh pages, which the system fills with zeros first: where pixels are predicted this takes longer
    than the loss. Does nothing beside an accelerator and where the C library has no `mallopt`.
    """

    def __init__(self, device: torch.device) -> None:
        global _users
        self._library = ctypes.CDLL(None)
        self._active = device.type == "cpu" and hasattr(self._library, "mallopt")
        if self._active:
            _users += 1
            self._library.mallopt(MAPPED, 0)
            self._library.mallopt(TRIM, 2**31 - 1)

    def release(self) -> None:
        """Gives all free memory back, once nobody else keeps it."""
        global _users
        if not self._active:
            return
        self._active = False
        _users -= 1
        if not _users:
            for name, value in DEFAULTS.items():
                self._library.mallopt(name, value)
            self._library.malloc_trim(0)
