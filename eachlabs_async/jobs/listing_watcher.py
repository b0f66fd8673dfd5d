"""Owns the looking at many executions of one workflow at little cost: by its listing, not one by one.

It refuses to wait: one call is one look. New executions stand at the top, so the pages that hold those that still run
are the first ones; what the budget of a look does not reach is asked for by id, in turn, and where that is too much
the next look goes on further down.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Collection, Iterable, Sequence
from typing import Final

from ..errors import EachLabsError, NotFoundError, PaginationError, ResponseDecodeError
from ..pagination.pager import Pager
from ..records import WorkflowExecution, WorkflowExecutionSummary
from ..transport.endpoints import GET_WORKFLOW_EXECUTION
from ..transport.transport import Transport
from .map_state import FATAL_FOR_MAP

REQUESTS_PER_CHECK: Final = 15
_LEAST_ROWS: Final = 10
_MOST_ROWS: Final = 100
_KEPT_FOR_IDS: Final = 3
"""Requests of a look that are kept for ids which the listing has not shown."""


class ListingWatcher:
    """Repeated looks at the same workflow; it remembers whose turn it is among those that the listing misses."""

    def __init__(self, transport: Transport, make_pager: Callable[[int, int], Pager[WorkflowExecutionSummary]]) -> None:
        self._transport = transport
        self._make_pager = make_pager
        self._turn: deque[str] = deque()
        self._place = 0

    async def settled(self, ids: Iterable[str], fresh: Collection[str] = ()) -> list[str]:
        """Give those of `ids` that are finished, or that the service does not know; at most 15 requests.

        The `fresh` ones were created just now: that they are not found says nothing.
        """
        left = set(ids)
        settled: list[str] = []
        # Few that run are among the first rows, unless others trigger the same workflow.
        pager = self._make_pager(min(_MOST_ROWS, max(_LEAST_ROWS, 2 * len(left))), self._place)
        self._place = 0
        try:
            async with pager:
                async for page in pager.pages():
                    for row in page.rows:
                        if row.execution_id in left:
                            left.discard(row.execution_id)
                            if row.is_finished:
                                settled.append(row.execution_id)
                    if not left:
                        break
                    if pager.stats.requests >= REQUESTS_PER_CHECK - _KEPT_FOR_IDS:
                        if len(left) > _KEPT_FOR_IDS:
                            self._place = page.offset + len(page.rows)
                        break
        except (ResponseDecodeError, PaginationError):
            pass  # A listing that makes no sense must not hide what runs for ever: they are asked for by id.
        for identity in self._next_of(left, REQUESTS_PER_CHECK - pager.stats.requests):
            if await self._is_settled(identity, identity in fresh):
                settled.append(identity)
        return settled

    def _next_of(self, left: set[str], most: int) -> Sequence[str]:
        """Give up to `most` of those that are left: first those that waited longest."""
        waiting = [identity for identity in self._turn if identity in left]
        known = set(waiting)
        waiting += [identity for identity in left if identity not in known]
        chosen = waiting[:most]
        self._turn = deque([*waiting[most:], *chosen])
        return chosen

    async def _is_settled(self, identity: str, fresh: bool) -> bool:
        edition = self._transport.session.hosts.edition
        path = GET_WORKFLOW_EXECUTION.expand(edition, execution_id=identity)
        query = GET_WORKFLOW_EXECUTION.soon(edition)
        call = self._transport.call(GET_WORKFLOW_EXECUTION, path, query, background=True)
        try:
            return (await self._transport.get(call, WorkflowExecution)).is_finished
        except NotFoundError:
            return not fresh  # Reading it whole will say so.
        except ResponseDecodeError:
            return True
        except FATAL_FOR_MAP:
            raise
        except EachLabsError:
            return False  # The others are not to wait for this one.
