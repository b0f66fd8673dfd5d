"""Owns what is added to a 404 about an execution: that it may have been deleted; refuses to guess which it is.

An organisation can have its executions deleted by age, so that an id of yesterday may be unknown today, and the
service's own words for both are the same.
"""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from typing import Final

from ..errors import EachLabsError, NotFoundError

NOBODY_KNOWS: Final = "no such id, or deleted: organisations can delete executions by age"
"""Of an id that a caller asks for: it may never have been one."""
WAS_THERE: Final = "it is not there, or no longer: the organisation may delete executions after a time of its choice"
"""Of an id that a listing gave, that we created or that is waited for: it was one, unless who waits is mistaken."""


def tell(error: EachLabsError, hint: str) -> None:
    """Add a hint to the words of the service; an error that is no 404 stays as it is."""
    if isinstance(error, NotFoundError) and hint:
        error.message = f"{error.message}; {hint}"
        error.args = (error.message,)


@contextmanager
def told(hint: str) -> Generator[None]:
    """Add a hint to the 404 that the block raises."""
    try:
        yield
    except NotFoundError as exc:
        tell(exc, hint)
        raise
