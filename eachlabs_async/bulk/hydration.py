"""Hydrating a listing: its rows name executions, which are fetched in full, in the order of the listing."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from typing import Any, ClassVar, Generic, TypeVar

from ..transport.endpoints import Endpoint
from ..transport.not_found_hints import HINT_FOR_KNOWN_ID
from ..transport.stream import Stream
from ..transport.transport import Transport
from .fetch import BulkFetch, Known
from .fetch_each import fetch_each
from .outcomes import BulkStats

F = TypeVar("F")


class Hydrated(Stream, Generic[F]):
    """A listing whose rows can be fetched in full, as records of another class.

    `_full` is the endpoint that returns such a record, and `_identity` the field of a row that has its id.
    """

    _full: ClassVar[Endpoint]
    _identity: ClassVar[str]
    _transport: Transport

    @abstractmethod
    def __aiter__(self) -> AsyncIterator[Any]:
        """Iterate over the rows."""

    def hydrate(
        self,
        *,
        concurrency: int = 32,
        window: int | None = None,
        known: Known[F] | None = None,
        on_progress: Callable[[BulkStats], object] | None = None,
    ) -> BulkFetch[F]:
        """Fetch the full record of every row; yields an outcome for each, in the order of the listing.

        The arguments are those of `get_many`. The listing is walked as part of the fetch, no further ahead than the
        window, and ends with it. An error of the walk is raised after the finished outcomes. The checkpoint of the
        pager is ahead of the outcomes by up to a window: to resume after a crash, walk again and pass the records that
        you have as `known`.
        """
        ids = self._ids()
        return fetch_each(
            self._transport,
            self._full,
            self._full.response,
            ids,
            concurrency=concurrency,
            ordered=True,
            window=window,
            known=known,
            on_progress=on_progress,
            close=ids.aclose,
            hint=HINT_FOR_KNOWN_ID,
        )

    async def _ids(self) -> AsyncGenerator[str, None]:
        async with self as rows:
            async for row in rows:
                yield getattr(row, self._identity)
