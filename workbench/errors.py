"""The exception for users, as opposed to programming errors."""

from __future__ import annotations


class UserError(ValueError):
    """An error with a sentence that states the problem and what is allowed.

    Command lines print it after ``error:`` and exit with code 2; nothing has been written by then.
    """
