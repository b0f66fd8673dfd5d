"""Owns the lazy reading of what a caller hands over, sync or async; refuses to read further than it is asked."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterable, AsyncIterator, Iterable, Iterator
from typing import Any, cast


class InputReader:
    """Any iterable or async iterable, numbered from 0.

    `exhausted` tells that no more will come, `failure` what the source raised, if it did.
    """

    def __init__(self, name: str, source: Iterable[Any] | AsyncIterable[Any]) -> None:
        if isinstance(source, str | bytes | dict):
            raise TypeError(f"{name} must be an iterable of {name}, not one {type(cast(object, source)).__name__}")
        self._sync: Iterator[Any] | None = None
        self._async: AsyncIterator[Any] | None = None
        if isinstance(source, AsyncIterable):
            self._async = aiter(source)
        elif isinstance(source, Iterable):
            self._sync = iter(source)
        else:
            raise TypeError(f"{name} must be an iterable or async iterable of {name}, not {type(source).__name__}")
        self._count = 0
        self.exhausted = False
        self.failure: BaseException | None = None

    async def next(self) -> tuple[int, Any] | None:
        """Read one input and give it with its number; None where the source has ended or failed."""
        try:
            if self._sync is not None:
                value = next(self._sync)
            elif self._async is not None:
                value = await anext(self._async)
            else:
                return None
        except (StopIteration, StopAsyncIteration):
            self.close()
            return None
        except asyncio.CancelledError as exc:
            task = asyncio.current_task()
            if task is None or task.cancelling():
                raise
            # Not we were cancelled but what the source awaited: that must not pass for its end.
            self.failure = exc
            self.close()
            return None
        except Exception as exc:
            self.failure = exc
            self.close()
            return None
        self._count += 1
        return self._count - 1, value

    def close(self) -> None:
        """Read no more; a generator that nobody else knows ends with this."""
        self.exhausted = True
        self._sync = self._async = None
