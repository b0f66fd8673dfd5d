"""Add a hint to the error for a 404 on an execution: it may have been deleted.

An organisation can have its executions deleted by age, so an id of yesterday may be unknown today. The service responds
to a deleted id as it does to one that never existed.
"""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from typing import Final

from ..errors import EachLabsError, NotFoundError

HINT_FOR_ANY_ID: Final = "no such id, or deleted: organisations can delete executions by age"
"""For an id that a caller passed, which may never have existed."""
HINT_FOR_KNOWN_ID: Final = "it does not exist, or no longer exists: organisations can delete executions by age"
"""For an id that a listing named, that this client created, or that a caller waits for."""


def add_hint(error: EachLabsError, hint: str) -> None:
    """Append `hint` to the message of a 404. Any other error stays as it is."""
    if isinstance(error, NotFoundError) and hint:
        error.message = f"{error.message}; {hint}"
        error.args = (error.message,)


@contextmanager
def hint_on_not_found(hint: str) -> Generator[None]:
    """Append `hint` to the message of a 404 that the block raises."""
    try:
        yield
    except NotFoundError as exc:
        add_hint(exc, hint)
        raise
