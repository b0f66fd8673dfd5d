"""Owns the calls about runs of the Noxus service; refuses the Each Labs key, which that vendor must never see."""

from __future__ import annotations

from collections.abc import AsyncIterable, Callable, Iterable
from functools import partial
from typing import Unpack

from .._arguments import checked_count
from .._jobs import one_each
from .._session import Transport
from ..bulk import BulkFetch, Known
from ..endpoints import GET_RUN, LIST_RUNS, LIST_WORKFLOW_RUNS, STOP_RUN
from ..outcomes import BulkStats
from ..pager import Pager, WalkOptions
from ..records import Run


class Runs:
    """The runs of workflows at Noxus; needs `runs_api_key`."""

    __slots__ = ("_transport",)

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def list(self, *, page: int = 1, size: int = 100, **walk: Unpack[WalkOptions]) -> Pager[Run]:
        """Walk runs from page number `page` on (`GET /runs`).

        `page` counts from 1; `size` is rows a request, 1 to 100. `walk`: see `WalkOptions`.

        Raises `ValueError` or `TypeError` at once for a number out of range; the walk raises `EachLabsError`.
        """
        checked_count("page", page, least=1)
        checked_count("size", size, least=1, most=100)
        path = LIST_RUNS.expand(self._transport.session.hosts.edition)
        return Pager(self._transport, LIST_RUNS, path, {}, start=(page - 1) * size, size=size, walk=walk)

    async def get(self, run_id: str) -> Run:
        """Get one run (`GET /runs/{run_id}`); `NotFoundError` for an unknown id."""
        path = GET_RUN.expand(self._transport.session.hosts.edition, run_id=run_id)
        return await self._transport.get(self._transport.call(GET_RUN, path), Run)

    def list_for_workflow(
        self, workflow_id: str, *, page: int = 1, size: int = 100, **walk: Unpack[WalkOptions]
    ) -> Pager[Run]:
        """Walk the runs of one workflow from page number `page` on (`GET /workflows/{workflow_id}/runs`).

        The arguments and errors are those of `list`.
        """
        checked_count("page", page, least=1)
        checked_count("size", size, least=1, most=100)
        path = LIST_WORKFLOW_RUNS.expand(self._transport.session.hosts.edition, workflow_id=workflow_id)
        return Pager(
            self._transport,
            LIST_WORKFLOW_RUNS,
            path,
            {},
            named={"workflow_id": workflow_id},
            start=(page - 1) * size,
            size=size,
            walk=walk,
        )

    async def stop(self, run_id: str) -> Run:
        """Stop one run and give it as it is then (`POST /runs/{run_id}/stop`); `NotFoundError` for an unknown id.

        Asking again does no harm, so a failed try is repeated.
        """
        path = STOP_RUN.expand(self._transport.session.hosts.edition, run_id=run_id)
        return await self._transport.get(self._transport.call(STOP_RUN, path), Run)

    def get_many(
        self,
        ids: Iterable[str] | AsyncIterable[str],
        *,
        concurrency: int = 32,
        ordered: bool = False,
        window: int | None = None,
        known: Known[Run] | None = None,
        on_progress: Callable[[BulkStats], object] | None = None,
    ) -> BulkFetch[Run]:
        """Get many runs, an outcome per id; the arguments and errors are those of `workflow_executions.get_many`."""
        return BulkFetch(
            one_each(self._transport, GET_RUN, "run_id", Run),
            ids,
            concurrency=concurrency,
            ordered=ordered,
            window=window,
            known=known,
            on_progress=on_progress,
            paused=partial(self._transport.waiting, GET_RUN),
        )
