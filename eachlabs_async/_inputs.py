"""Owns the lazy reading of what a caller hands over, sync or async; refuses to read further than it is asked."""

from __future__ import annotations

from collections.abc import AsyncIterable, AsyncIterator, Iterable, Iterator
from typing import Any, cast


class Inputs:
    """Any iterable or async iterable, numbered from 0.

    `exhausted` tells that no more will come, `failure` what the source raised, if it did.
    """

    def __init__(self, name: str, source: Iterable[Any] | AsyncIterable[Any]) -> None:
        if isinstance(source, str | bytes | dict):
            raise TypeError(f"{name} must be an iterable of inputs, not one {type(cast(object, source)).__name__}")
        self._sync: Iterator[Any] | None = None
        self._async: AsyncIterator[Any] | None = None
        if isinstance(source, AsyncIterable):
            self._async = aiter(source)
        elif isinstance(source, Iterable):
            self._sync = iter(source)
        else:
            raise TypeError(f"{name} must be an iterable or async iterable, not {type(source).__name__}")
        self._count = 0
        self.exhausted = False
        self.failure: Exception | None = None

    async def read(self, most: int) -> list[tuple[int, Any]]:
        """Read up to `most` inputs, each with its number."""
        found: list[tuple[int, Any]] = []
        while len(found) < most and not self.exhausted:
            try:
                value = next(self._sync) if self._sync is not None else await anext(self._of_async())
            except (StopIteration, StopAsyncIteration):
                self.exhausted = True
            except Exception as exc:
                self.exhausted, self.failure = True, exc
            else:
                found.append((self._count, value))
                self._count += 1
        return found

    def _of_async(self) -> AsyncIterator[Any]:
        assert self._async is not None
        return self._async
