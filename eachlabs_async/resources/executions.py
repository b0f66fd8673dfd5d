"""The executions of models."""

from __future__ import annotations

import builtins
from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta
from typing import Final, Unpack

from ..bulk.hydration import Hydrated
from ..costs.report import CostReport
from ..costs.tally import DEFAULT_SPAN, CostTally
from ..pagination.execution_pager import ExecutionPager
from ..pagination.first_rows import FirstRows, first_rows
from ..pagination.follow import Follow, FollowStats
from ..pagination.follow_checkpoint import read_follow_checkpoint
from ..pagination.follow_state import FollowState, Reading
from ..pagination.listing_choice import RefusedListings
from ..pagination.pager import Pager
from ..pagination.pages import UnreadableRow, WalkOptions, WalkStats
from ..pagination.window_walk import WindowWalk
from ..pagination.windows import Sample, Window, split, split_by_density
from ..records import Execution, Prediction, State, read_state
from ..transport.arguments import (
    checked_count,
    checked_moment,
    checked_seconds,
    checked_span,
    checked_text,
    checked_words,
    rfc3339,
)
from ..transport.endpoints import GET_PREDICTION
from ..transport.guidance import NamesGuide
from ..transport.status_filter import STATUSES, status_filter
from ..transport.transport import Transport

MAX_LIMIT: Final = 100
_UNFINISHED: Final = tuple(word for word in STATUSES if read_state(word) in (State.PENDING, State.RUNNING))
_MARGIN: Final = timedelta(seconds=2)
"""How much further a part of the listing is read: times in checkpoints are in whole seconds."""
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


class ModelExecutionPager(ExecutionPager, Hydrated[Prediction]):
    """A pager over executions that can also fetch them in full, as predictions."""

    _full = GET_PREDICTION
    _identity = "id"


class Executions(NamesGuide):
    """The executions of models in the whole organisation."""

    __slots__ = ("_refused", "_transport")

    _instead = {  # noqa: RUF012  # a constant of the class
        "get": "use `client.predictions.get` for one execution of a model, or `client.workflow_executions.get` for one "
        "of a workflow",
        "get_many": "use `client.predictions.get_many`, or `client.workflow_executions.get_many`",
    }

    def __init__(self, transport: Transport, refused: RefusedListings) -> None:
        self._transport = transport
        self._refused = refused

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
    ) -> ModelExecutionPager:
        """Walk all executions, newest first; `limit` is the page size, `max_rows` the total.

        Source: `GET /v2/executions` by cursor, or `GET /v1/executions` by seeking. The unified edition follows cursors.
        The compat edition seeks: it reads up to 1,000 rows by offset, which is all that the service returns for one
        time span, and continues with the rows older than the last one. If the service refuses one of the two, the walk
        continues with the other; `Hosts.executions_by` selects one of them.

        `status` and `error_classification` take one word or several. `status` also takes a `State`, or the word of
        another service for one, such as "failed"; a word that no service knows is refused. `since` and `until`, aware
        datetimes or RFC 3339 text, limit the creation time; without `since` the service goes back 90 days from `until`.
        `limit` is the number of rows per request, 1 to 100. `offset` is the number of rows to skip, from 0; by cursor,
        and above 900, they are read and dropped. `walk` takes the options of `WalkOptions`, `max_rows` among them.

        `snapshot` keeps new executions out of the walk: one request before it asks the service for its time, and
        `until` is set to a second before that, so that executions created later cannot shift the pages. Rows can still
        enter or leave a `status` filter during the walk; `drift="resync"` handles that.

        Raises `ValueError` or `TypeError` at once for an argument that the service would refuse. The walk raises
        `EachLabsError`, for example `PaginationError` if more than 1,000 executions share one second and the service
        offers no cursor.
        """
        filters = self._filters(model, status, workflow_id, workflow_execution_id, error_classification)
        first, last = checked_span(since, until)
        return ModelExecutionPager(
            self._transport,
            self._refused,
            {**filters, "since": first, "until": last},
            start=checked_count("offset", offset),
            size=checked_count("limit", limit, least=1, most=MAX_LIMIT),
            walk=walk,
            pin=self._pin if snapshot else None,
        )

    def follow(
        self,
        *,
        since: datetime | str | None = None,
        every_s: float = 5.0,
        finished: bool = False,
        model: str | None = None,
        status: str | Iterable[str] | None = None,
        workflow_id: str | None = None,
        workflow_execution_id: str | None = None,
        error_classification: str | Iterable[str] | None = None,
        settle_s: float = 60.0,
        resume: str | None = None,
        on_progress: Callable[[FollowStats], object] | None = None,
        on_unreadable: Callable[[UnreadableRow], object] | None = None,
    ) -> Follow[Execution]:
        """Yield each new execution once, as it appears, or, with `finished`, as it ends; for as long as one wants.

        Polls the listing (as `list`) every `every_s` seconds, counted from the start of one poll to that of the next.
        The executions of one poll come oldest first (with `finished` in the order of their ends), but newest first if
        there are more than 1,000, as after a long pause. `since`, an aware datetime or RFC 3339 text, also yields what
        was created from that time on. Without it, following begins with the first answer: what that lists is not new.

        An execution may appear in the listing up to `settle_s` seconds (from 0) after it was created, in any order:
        what was created within that time before the newest one is read again at each poll. At rest that is one request
        a poll, for each 100 rows of that time.

        With `finished`, executions come with their final row. Those that run are watched by the listing, with at most
        15 requests a poll more, however long ago they were created. Without `since` all that run at the beginning and
        were created in the last 90 days are watched too; with `since` only what was created from then on. `status` and
        `error_classification` say how an execution ended and need `finished`; the other filters are those of `list`.
        An execution that leaves the listing before it ends is dropped (`stats.vanished`).

        A service that is down, overloaded or cannot be reached is waited for, without end: one warning in the log, then
        polls with growing pauses of up to a minute (or `every_s`). Errors that do not pass by waiting are raised
        (`AuthenticationError`, `PermissionDeniedError`, `BadRequestError`, `PaginationError`, an invalid certificate)
        and carry the `checkpoint`. `resume` takes a checkpoint, in any process, with the same filters: what appeared or
        ended meanwhile comes then. `on_progress` is called with the `FollowStats` after each poll. `on_unreadable` is
        called once with each row that cannot be read; without it such a row ends following with a
        `ResponseDecodeError`, whose checkpoint resumes after the row.

        Raises `ValueError` or `TypeError` at once for an invalid argument or checkpoint.
        """
        if not finished and (status is not None or error_classification is not None):
            name = "status" if status is not None else "error_classification"
            raise ValueError(f"{name} says how an execution ended: pass finished=True with it")
        filters = self._filters(model, None, workflow_id, workflow_execution_id, None)
        words = status_filter(status, closed=False)
        classes = checked_words("error_classification", error_classification, ERROR_CLASSIFICATIONS)
        first = None if since is None else checked_moment("since", since)
        settle = timedelta(seconds=checked_seconds("settle_s", settle_s, or_zero=True))
        arguments: dict[str, object] = {
            **filters,
            "status": words,
            "error_classification": classes,
            "since": None if first is None else rfc3339(first),
            "finished": finished or None,
        }
        if resume is None:
            at_start = first is None
            state = FollowState(settle, finished, first, skips=at_start, adopts=finished and at_start)
        else:
            state, arguments = read_follow_checkpoint(resume, arguments, settle)

        def read(reading: Reading, report: Callable[[UnreadableRow], object]) -> ExecutionPager:
            more = {"status": ",".join(_UNFINISHED) if reading.running else None, **_span(reading.since, reading.until)}
            return ExecutionPager(self._transport, self._refused, {**filters, **more}, walk={"on_unreadable": report})

        async def of_class(rows: builtins.list[Execution]) -> set[str]:
            """Return the ids of the rows with the wanted error classification, which no row says itself."""
            times = [row.created_at for row in rows if row.created_at is not None and row.state is State.FAILED]
            if not times:
                return set()
            span = _span(min(times), max(times))
            pager = ExecutionPager(self._transport, self._refused, {**filters, "error_classification": classes, **span})
            return {row.id for row in await pager.collect()} & {row.id for row in rows}

        return Follow(
            read,
            state,
            arguments,
            every_s=checked_seconds("every_s", every_s),
            statuses=None if words is None else words.split(","),
            choose=None if classes is None else of_class,
            on_progress=on_progress,
            on_unreadable=on_unreadable,
        )

    async def costs(
        self,
        since: datetime | str | None = None,
        until: datetime | str | None = None,
        *,
        by: str | Iterable[str] = ("model",),
        model: str | None = None,
        status: str | Iterable[str] | None = None,
        workflow_id: str | None = None,
        workflow_execution_id: str | None = None,
        error_classification: str | Iterable[str] | None = None,
        look_ahead: int = 8,
        on_progress: Callable[[WalkStats], object] | None = None,
    ) -> CostReport:
        """Add up what executions cost, in exact decimals; returns a report with a group for each value of `by`.

        Reads the listing once, as `list` does. Only the sums are held in memory. `by` takes one word or several:
        "model", "requested_model", "status", "state", "workflow_id", and "hour", "day" or "month" of the creation, in
        UTC. The other arguments are those of `list`; `look_ahead` is the number of pages requested ahead.

        The `notes` of the report say where it is partial: without `since` the service goes back 90 days only, some
        executions state no cost or have not ended, and rows that cannot be read are left out.

        Raises `ValueError` or `TypeError` at once for an argument that cannot be right, and the errors of a walk.
        """
        tally = CostTally(by)
        rows = self.list(
            model=model,
            status=status,
            workflow_id=workflow_id,
            workflow_execution_id=workflow_execution_id,
            error_classification=error_classification,
            since=since,
            until=until,
            look_ahead=look_ahead,
            on_progress=on_progress,
            on_unreadable=_leave_out,
        )
        async with rows:
            async for execution in rows:
                tally.add(execution)
        notes = [DEFAULT_SPAN] if since is None else []
        if rows.stats.unreadable:
            notes.append(f"{rows.stats.unreadable:,} rows could not be read and are not included")
        return tally.report(
            since=None if since is None else checked_moment("since", since),
            until=None if until is None else checked_moment("until", until),
            notes=notes,
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
        """Split a time span into up to `parts` windows with about equal numbers of rows; returns the oldest first.

        Windows are adjacent and half-open: `since <= created_at < until`. Splitting sends a few counting requests of
        one row each, at most eight per part. If the service caps its count, a window is halved until it does not. If it
        counts no rows, because it lists by cursor only, a few pages show the density of the rows, and the windows'
        `rows` are None. Windows are small and can be pickled, so that other processes can walk them with
        `walk_windows`. `parts` is at least 1; the filters are those of `list`.

        Raises `ValueError` or `TypeError` for an argument that the service would refuse, an empty span, or `parts`
        below 1, and the errors of a call.
        """
        first, last = checked_moment("since", since), checked_moment("until", until)
        if first >= last:
            raise ValueError(f"since must be before until, not {since!s} and {until!s}")
        checked_count("parts", parts, least=1)
        found = self._filters(model, status, workflow_id, workflow_execution_id, error_classification)
        filters = {name: value for name, value in found.items() if value is not None}

        async def ask(since: datetime, until: datetime, limit: int = 1) -> FirstRows:
            span = {"from": rfc3339(since), "to": rfc3339(until)}
            return await first_rows(self._transport, self._refused, {**filters, **span}, limit=limit)

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
        self,
        windows: Iterable[Window],
        *,
        concurrency: int = 8,
        ordered: bool = True,
        buffer_rows: int = 10_000,
        **walk: Unpack[WalkOptions],
    ) -> WindowWalk[Execution]:
        """Walk several windows at once; yields their rows.

        `concurrency` is the number of windows at once, from 1; `max_concurrency` of the client limits it too. With
        `ordered` the rows come newest first, as in a walk of the whole span, without it as the pages arrive. Each
        window is requested a second wider on each side, and its rows are filtered by `since <= created_at < until`, so
        that no row is lost or doubled at a boundary.

        At most `buffer_rows` rows (from 1) and `concurrency` pages of 100 rows are held in memory. Each of the windows
        being read has an equal share of the buffer and stops reading once it has filled it, so a slow consumer stops
        the fetching. With `ordered` a window with more rows than fit its share is cut into pieces of equal length,
        if its number of `rows` is known; else only the first window is read on while the others are full.

        `walk` takes the options of `WalkOptions`, which apply to all windows together, except that `look_ahead` and
        `drift` apply to each window (`look_ahead` pages more per window are then requested and held). The walk has
        `stats` and a `checkpoint`; `resume` takes that checkpoint, with the same windows, in any process. `max_rows` is
        exact, but pages of all windows at once may have been requested for it. `on_unreadable` is called when a row is
        read, which is before its turn.

        Raises `ValueError` or `TypeError` at once for an invalid argument, or a checkpoint of other windows. An error
        in one window ends the walk with that error, and carries the checkpoint of the whole walk.
        """

        def make_pager(window: Window, options: WalkOptions) -> Pager[Execution]:
            since, until = window.wider
            span = {**window.filters, "since": rfc3339(since), "until": rfc3339(until)}
            return ExecutionPager(self._transport, self._refused, span, size=MAX_LIMIT, walk=options)

        # Creating a pager checks the options before the first window is started.
        checked: WalkOptions = {**walk, "resume": None}
        ExecutionPager(self._transport, self._refused, {}, walk=checked)
        return WindowWalk(
            list(windows),
            make_pager,
            concurrency=checked_count("concurrency", concurrency, least=1),
            ordered=ordered,
            buffer_rows=checked_count("buffer_rows", buffer_rows, least=1),
            walk=walk,
        )

    def _filters(
        self,
        model: str | None,
        status: str | Iterable[str] | None,
        workflow_id: str | None,
        workflow_execution_id: str | None,
        error_classification: str | Iterable[str] | None,
    ) -> dict[str, str | None]:
        unified = self._transport.edition == "unified"
        return {
            "model": checked_text("model", model),
            "status": status_filter(status, closed=unified),
            "workflow_id": checked_text("workflow_id", workflow_id),
            "workflow_execution_id": checked_text("workflow_execution_id", workflow_execution_id),
            "error_classification": checked_words("error_classification", error_classification, ERROR_CLASSIFICATIONS),
        }

    async def _pin(self, filters: dict[str, object]) -> None:
        """Set `until` to a second before the service's time, unless it is earlier already."""
        words = {"since": "from", "until": "to"}
        renamed = {words.get(name, name): value for name, value in filters.items()}
        one = await first_rows(self._transport, self._refused, renamed)
        pinned = (one.served_at or datetime.now(UTC)) - timedelta(seconds=1)
        until = filters.get("until")
        if until is None or checked_moment("until", until) > pinned:
            filters["until"] = rfc3339(pinned)


def _span(since: datetime | None, until: datetime | None) -> dict[str, str | None]:
    """Return filters for a time span and a little more on each side."""
    return {
        "since": None if since is None else rfc3339(since - _MARGIN),
        "until": None if until is None else rfc3339(until + _MARGIN),
    }


def _leave_out(row: UnreadableRow) -> None:
    """Go on without a row; the statistics of the walk count it."""
