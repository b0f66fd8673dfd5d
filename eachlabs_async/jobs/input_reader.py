"""Read the caller's inputs lazily, from a sync or async iterable, and number them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterable, AsyncIterator, Iterable, Iterator
from typing import Any, cast


class InputReader:
    """Reads any iterable or async iterable, one input at a time, numbered from 0.

    `exhausted` is True when no more inputs will come; `failure` is the error that the source raised, if any.
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
        """Return the next input with its number, or None if the source has ended or failed."""
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
            # This task was not cancelled, but something that the source awaited: it must not pass for the end.
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
        """Stop reading. A generator ends with this if the caller holds no reference to it."""
        self.exhausted = True
        self._sync = self._async = None
