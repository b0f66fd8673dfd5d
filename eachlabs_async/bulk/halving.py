"""Halve a batch that the service refused, until the id or the input at fault is alone."""

from __future__ import annotations

from typing import Final, TypeVar

from ..errors import APIStatusError, EachLabsError, ResponseTooLargeError

T = TypeVar("T")

HALVED_STATUSES: Final = frozenset({400, 404, 413, 422})
"""Refusals of a batch that one of its members, or their number, may have caused."""


def _is_halved(failure: EachLabsError) -> bool:
    return isinstance(failure, ResponseTooLargeError) or (
        isinstance(failure, APIStatusError) and failure.status in HALVED_STATUSES
    )


def halves(batch: list[T], failure: EachLabsError) -> tuple[list[T], list[T]] | None:
    """Return the halves of a batch that was refused or has too large a response; None if that cannot help."""
    if len(batch) < 2 or not _is_halved(failure):
        return None
    middle = len(batch) // 2
    return batch[:middle], batch[middle:]
