"""The one exception that speaks to a user instead of to a programmer."""

from __future__ import annotations


class UserError(ValueError):
    """One sentence that says what is wrong and what is allowed.

    Command lines print it after ``error:`` and exit with code 2; nothing has been written by then.
    """
