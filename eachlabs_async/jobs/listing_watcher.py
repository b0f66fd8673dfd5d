"""Watch many executions of one workflow with few requests: by its listing rather than one by one.

One call is one check; it does not wait. New executions come first in the listing, so the first pages show those that
still run. Executions that the request budget of a check does not reach are requested by id, in turn; if there are too
many of them, the next check starts further down the listing.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Iterable, Sequence
from typing import Final

from ..errors import EachLabsError, NotFoundError, PaginationError, ResponseDecodeError
from ..pagination.pager import Pager
from ..records import WorkflowExecution, WorkflowExecutionSummary
from ..transport.endpoints import GET_WORKFLOW_EXECUTION, LIST_WORKFLOW_EXECUTIONS
from ..transport.not_found_hints import HINT_FOR_KNOWN_ID, hint_on_not_found
from ..transport.transport import Transport
from .failure import checked_success
from .refusals import FATAL_FOR_MAP
from .status_words import StatusWords

REQUESTS_PER_CHECK: Final = 15
_MIN_ROWS: Final = 10
_MAX_ROWS: Final = 100
_RESERVED_FOR_IDS: Final = 3
"""Requests of a check that are reserved for ids which the listing did not show."""


class ListingWatcher:
    """Checks which executions of one workflow have finished, again and again. `words` are those of their status."""

    def __init__(self, transport: Transport, workflow_id: str) -> None:
        self._transport = transport
        self.words = StatusWords(transport.session.secrets)
        self._path = LIST_WORKFLOW_EXECUTIONS.expand(transport.edition, workflow_id=workflow_id)
        self._missed: deque[str] = deque()  # Ids that the listing did not show, those that waited longest first.
        self._offset = 0

    async def finished(
        self, ids: Iterable[str], fresh: Collection[str] = (), due: Collection[str] | None = None
    ) -> list[str]:
        """Return those of `ids` that have finished or that the service does not know. Sends about 15 requests.

        Of those that the listing does not show, only the `due` ones are requested by id; None for all. A 404 for an id
        in `fresh` is ignored: the execution may not be visible yet.
        """
        left = set(ids)
        finished: list[str] = []
        # If only a few run, they are among the first rows, unless others trigger the same workflow.
        pager = self._pager(min(_MAX_ROWS, max(_MIN_ROWS, 2 * len(left))), self._offset)
        self._offset = 0
        try:
            async with pager:
                async for page in pager.pages():
                    for row in page.rows:
                        if row.execution_id in left:
                            left.discard(row.execution_id)
                            self.words.note(row.execution_id, row)
                            if row.is_finished:
                                finished.append(row.execution_id)
                    if not left:
                        break
                    if pager.stats.requests >= REQUESTS_PER_CHECK - _RESERVED_FOR_IDS:
                        if len(left) > _RESERVED_FOR_IDS:
                            self._offset = page.offset + len(page.rows)
                        break
        except (ResponseDecodeError, PaginationError):
            pass  # A listing that cannot be read must not block the map for ever: the ids are requested one by one.
        if due is not None:
            left &= set(due)
        for identity in self._next_missed(left, max(_RESERVED_FOR_IDS, REQUESTS_PER_CHECK - pager.stats.requests)):
            if await self._is_finished(identity, identity in fresh):
                finished.append(identity)
        return finished

    async def fetch(self, identity: str) -> WorkflowExecution:
        """Read one finished execution with its steps.

        Raises `ExecutionFailedError` if it did not succeed, `WaitTimeoutError` if it has not finished yet.
        """
        with hint_on_not_found(HINT_FOR_KNOWN_ID):
            return checked_success(await self._read(identity), self._transport.session.secrets)

    def _pager(self, size: int, start: int) -> Pager[WorkflowExecutionSummary]:
        return Pager(self._transport, LIST_WORKFLOW_EXECUTIONS, self._path, {}, start=start, size=size, walk={})

    def _next_missed(self, left: set[str], most: int) -> Sequence[str]:
        """Return up to `most` of the ids in `left`, those that waited longest first."""
        waiting = [identity for identity in self._missed if identity in left]
        known = set(waiting)
        waiting += [identity for identity in left if identity not in known]
        chosen = waiting[:most]
        self._missed = deque([*waiting[most:], *chosen])
        return chosen

    async def _is_finished(self, identity: str, fresh: bool) -> bool:
        try:
            return (await self._read(identity)).is_finished
        except NotFoundError:
            return not fresh  # Reading it in full raises the error again.
        except ResponseDecodeError:
            return True
        except FATAL_FOR_MAP:
            raise
        except EachLabsError:
            return False  # The other executions do not wait for this one.

    async def _read(self, identity: str) -> WorkflowExecution:
        query = GET_WORKFLOW_EXECUTION.shortest_poll_query(self._transport.edition)
        found = await self._transport.request(
            GET_WORKFLOW_EXECUTION, WorkflowExecution, query, background=True, execution_id=identity
        )
        self.words.note(identity, found)
        return found
