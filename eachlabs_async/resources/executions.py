"""Owns the calls about model executions; refuses paging and decoding, which are the pager's and the codec's."""

from __future__ import annotations

import builtins
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Final, Unpack

from ..pagination.execution_pager import ExecutionPager
from ..pagination.first_rows import FirstRows, first_rows
from ..pagination.pager import Pager, WalkOptions
from ..pagination.windows import Sample, Window, WindowWalk, split, split_by_density
from ..records import Execution
from ..transport.arguments import (
    checked_count,
    checked_moment,
    checked_text,
    checked_time,
    checked_words,
    rfc3339,
)
from ..transport.transport import Transport

MAX_LIMIT: Final = 100
ERROR_CLASSIFICATIONS: Final = frozenset(
    {
        "content_moderation",
        "execution_timeout",
        "invalid_user_input",
        "invalid_model_config",
        "provider_auth",
        "provider_error",
        "provider_rate_limit",
        "provider_unavailable",
        "internal_error",
        "unknown",
    }
)
UNIFIED_STATUSES: Final = frozenset({"created", "starting", "success", "error"})


class Executions:
    """The executions of models, over the whole organisation."""

    __slots__ = ("_transport",)

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def list(
        self,
        *,
        model: str | None = None,
        status: str | Iterable[str] | None = None,
        workflow_id: str | None = None,
        workflow_execution_id: str | None = None,
        error_classification: str | Iterable[str] | None = None,
        since: datetime | str | None = None,
        until: datetime | str | None = None,
        limit: int = 100,
        offset: int = 0,
        snapshot: bool = False,
        **walk: Unpack[WalkOptions],
    ) -> Pager[Execution]:
        """Walk executions, newest first (`GET /v2/executions` by cursor, or `GET /v1/executions` by seeking).

        The unified edition follows cursors. The compat edition seeks: it reads up to 1,000 rows by offset, which is
        all that the service gives of one span of time, and goes on with what is older than the last row. Where the
        service refuses one of the two the walk goes on with the other; `Hosts.executions_by` chooses by hand.

        `status` and `error_classification` take one word or several; the second is a closed set, and in the
        unified edition so is the first. `since` and `until` bound the creation time: aware datetimes, or RFC 3339
        text. Without `since` the service goes back 90 days from `until`, no further. `limit` is rows a request,
        1 to 100; `offset` rows to skip, from 0: by cursor, and where they are more than 900, they are read and not
        given. `walk`: see `WalkOptions`.

        `snapshot` makes the view stable: one request before the walk asks the service for its time, and `until` is
        pinned a second before it, so that executions created meanwhile cannot shift the pages. Rows can still enter
        or leave a `status` filter while they are walked; `drift="resync"` is for that.

        Raises `ValueError` or `TypeError` at once for an argument that the service would refuse; the walk raises
        `EachLabsError`: a `PaginationError` where more than 1,000 executions share one second and there is no cursor.
        """
        filters = self._filters(model, status, workflow_id, workflow_execution_id, error_classification)
        return ExecutionPager(
            self._transport,
            {**filters, "since": checked_time("since", since), "until": checked_time("until", until)},
            start=checked_count("offset", offset),
            size=checked_count("limit", limit, least=1, most=MAX_LIMIT),
            walk=walk,
            pin=self._pin if snapshot else None,
        )

    async def windows(
        self,
        since: datetime | str,
        until: datetime | str,
        *,
        parts: int,
        model: str | None = None,
        status: str | Iterable[str] | None = None,
        workflow_id: str | None = None,
        workflow_execution_id: str | None = None,
        error_classification: str | Iterable[str] | None = None,
    ) -> builtins.list[Window]:
        """Split a time span into windows of about equal rows, oldest first: `parts` of them, or fewer.

        They adjoin and are half-open: `since <= created_at < until`. It costs a few counting requests (one row
        each), at most eight a part; where the service caps its count a piece is halved until it does not. Where it
        counts no rows at all (it lists by cursor alone) a few pages show how dense the rows are, and the windows'
        `rows` are None. Each window is small and picklable, so that other processes can walk it with `walk_windows`.

        Raises `ValueError` or `TypeError` for an argument that the service would refuse, a span that is empty, or
        `parts` below 1.
        """
        first, last = checked_moment("since", since), checked_moment("until", until)
        if first >= last:
            raise ValueError(f"since must be before until, not {since!s} and {until!s}")
        checked_count("parts", parts, least=1)
        found = self._filters(model, status, workflow_id, workflow_execution_id, error_classification)
        filters = {name: value for name, value in found.items() if value is not None}

        async def ask(since: datetime, until: datetime, limit: int = 1) -> FirstRows:
            span = {"from": rfc3339(since), "to": rfc3339(until)}
            return await first_rows(self._transport, {**filters, **span}, limit=limit)

        async def count(since: datetime, until: datetime) -> int | None:
            return whole.total if (since, until) == (first, last) else (await ask(since, until)).total

        async def sample(until: datetime) -> Sample:
            found = await ask(first, until, MAX_LIMIT)
            times = [row.created_at for row in found.rows if row.created_at is not None]
            return Sample(len(found.rows), min(times, default=until) if found.more else first)

        whole = await ask(first, last)
        if not whole.counted:
            return await split_by_density(first, last, parts, filters, sample)
        return await split(first, last, parts, filters, count)

    def walk_windows(
        self, windows: Iterable[Window], *, concurrency: int = 8, ordered: bool = True
    ) -> WindowWalk[Execution]:
        """Walk windows side by side, `concurrency` at once (from 1; `max_concurrency` of the client bounds them too).

        With `ordered` the rows come as one walk of the whole span gives them, newest first: windows behind the
        first wait with all their rows in memory, so have more of them, and smaller ones. Without it rows come as
        pages do, and a slow consumer stops the fetching. Each window is asked for a second wider on each side and
        its rows are held against `since <= created_at < until`, so that none is lost or doubled at a seam.
        """

        def make_pager(window: Window) -> Pager[Execution]:
            since, until = window.wider
            return ExecutionPager(
                self._transport,
                {**window.filters, "since": rfc3339(since), "until": rfc3339(until)},
                size=MAX_LIMIT,
            )

        return WindowWalk(
            windows,
            make_pager,
            concurrency=checked_count("concurrency", concurrency, least=1),
            ordered=ordered,
        )

    def _filters(
        self,
        model: str | None,
        status: str | Iterable[str] | None,
        workflow_id: str | None,
        workflow_execution_id: str | None,
        error_classification: str | Iterable[str] | None,
    ) -> dict[str, str | None]:
        unified = self._transport.session.hosts.edition == "unified"
        return {
            "model": checked_text("model", model),
            "status": checked_words("status", status, UNIFIED_STATUSES if unified else None),
            "workflow_id": checked_text("workflow_id", workflow_id),
            "workflow_execution_id": checked_text("workflow_execution_id", workflow_execution_id),
            "error_classification": checked_words("error_classification", error_classification, ERROR_CLASSIFICATIONS),
        }

    async def _pin(self, filters: dict[str, object]) -> None:
        """Pin `until` a second before the server's time, or earlier where the caller said so."""
        words = {"since": "from", "until": "to"}
        one = await first_rows(self._transport, {words.get(name, name): value for name, value in filters.items()})
        pinned = (one.served_at or datetime.now(UTC)) - timedelta(seconds=1)
        until = filters.get("until")
        if until is None or checked_moment("until", until) > pinned:
            filters["until"] = rfc3339(pinned)
