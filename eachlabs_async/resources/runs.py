"""The runs of the Noxus service, another vendor that never sees the Each Labs key."""

from __future__ import annotations

from collections.abc import AsyncIterable, Callable, Iterable, Mapping
from datetime import UTC, datetime
from functools import partial
from typing import Any, Unpack, cast

from ..bulk.fetch import BulkFetch, Known
from ..bulk.fetch_each import fetch_each
from ..bulk.outcomes import BulkStats
from ..errors import NotFoundError, OutcomeUnknownError
from ..jobs.lost_answer import request_or_look
from ..jobs.poll import Poll
from ..jobs.reconcile import TimeSpan
from ..jobs.wait import id_of, poll_until_finished
from ..pagination.pager import Pager
from ..pagination.pages import WalkOptions
from ..records import Run, RunDeletion, State
from ..transport import requests
from ..transport.arguments import checked_count, checked_seconds
from ..transport.endpoints import DELETE_RUN, GET_RUN, LIST_RUNS, LIST_WORKFLOW_RUNS, STOP_RUN
from ..transport.guidance import NamesGuide
from ..transport.not_found_hints import add_hint, hint_for_id, hint_on_not_found
from ..transport.transport import Transport


class Runs(NamesGuide):
    """The runs of workflows at Noxus. Its calls need `runs_api_key`."""

    __slots__ = ("_transport",)

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def list(self, *, page: int = 1, size: int = 100, **walk: Unpack[WalkOptions]) -> Pager[Run]:
        """Walk all runs; `size` is the page size, `max_rows` the total.

        Source: `GET /runs`. `page` is the number of the first page, from 1. `size` is the number of rows per request, 1
        to 100. `walk` takes the options of `WalkOptions`, `max_rows` among them.

        Raises `ValueError` or `TypeError` at once for a number out of range. The walk raises `EachLabsError`.
        """
        checked_count("page", page, least=1)
        checked_count("size", size, least=1, most=100)
        path = LIST_RUNS.expand(self._transport.edition)
        return Pager(self._transport, LIST_RUNS, path, {}, start=(page - 1) * size, size=size, walk=walk)

    async def get(self, run_id: str) -> Run:
        """Return one run (`GET /runs/{run_id}`).

        Raises `NotFoundError` for an unknown id, and the other errors of a call.
        """
        with hint_on_not_found(hint_for_id(GET_RUN, "")):
            return await self._transport.request(GET_RUN, Run, run_id=run_id)

    def list_for_workflow(
        self, workflow_id: str, *, page: int = 1, size: int = 100, **walk: Unpack[WalkOptions]
    ) -> Pager[Run]:
        """Walk all runs of one workflow; `size` is the page size, `max_rows` the total.

        Source: `GET /workflows/{workflow_id}/runs`. The arguments and errors are those of `list`.
        """
        checked_count("page", page, least=1)
        checked_count("size", size, least=1, most=100)
        path = LIST_WORKFLOW_RUNS.expand(self._transport.edition, workflow_id=workflow_id)
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
        """Stop one run and return it in its new state (`POST /runs/{run_id}/stop`).

        Stopping twice does no harm, so a failed request is retried. If the answer to one attempt was lost and the next
        one is refused, the run is requested: it is no error if it is stopped.

        Raises `NotFoundError` for an unknown id, and the other errors of a call.
        """
        with hint_on_not_found(hint_for_id(STOP_RUN, "")):
            return await request_or_look(
                self._transport.request(STOP_RUN, Run, run_id=run_id),
                partial(self._if_stopped, run_id),
                deadline_s=self._transport.timeouts.deadline_s,
            )

    async def _if_stopped(self, run_id: str) -> Run | None:
        found = await self.get(run_id)
        return found if found.state is State.CANCELLED else None

    async def start(
        self,
        workflow_id: str,
        input: Mapping[str, Any],  # noqa: A002  # the name in the API
        *,
        node_ids: Iterable[str] | Mapping[str, Any] | None = None,
        single_node_id: str | None = None,
        workflow_version_id: str | None = None,
        callback_url: str | None = None,
    ) -> Run:
        """Start one run of a workflow and return it, queued (`POST /workflows/{workflow_id}/runs`).

        `input` is the input of the workflow. `node_ids` (ids, or an object) and `single_node_id` run a part of the
        workflow, `workflow_version_id` a version other than the latest. The service calls `callback_url`, an absolute
        http(s) URL, when the run ends.

        The request is sent once. Raises `OutcomeUnknownError` if no clear answer came; its `lookup` has the time span
        to search in `list_for_workflow`. Raises `ValueError` or `TypeError` at once for an argument that cannot be
        right, and the other errors of a call.
        """
        prepared = requests.run(
            self._transport.edition,
            workflow_id,
            input,
            node_ids,
            single_node_id,
            workflow_version_id,
            callback_url,
        )
        call = self._transport.call(prepared.endpoint, prepared.path, body=prepared.body)
        since = datetime.now(UTC)
        try:
            return await self._transport.get(call, Run)
        except OutcomeUnknownError as exc:
            exc.lookup = TimeSpan(since, datetime.now(UTC)).as_filters(workflow_id=workflow_id)
            raise

    async def wait(
        self,
        run: str | Run,
        *,
        timeout_s: float = 600.0,
        poll: Poll = Poll(),  # noqa: B008  # frozen, so one default is as good as many
        on_update: Callable[[Run], object] | None = None,
    ) -> Run:
        """Poll until the run finishes and return it. The polling interval grows; see `Poll`.

        `run` is an id or a record. The result of `start` may take up to ten seconds to be found; a 404 is ignored for
        that long. `timeout_s` is the longest wait in seconds, above 0. `on_update` is called with the run each time
        that it has changed.

        Raises `ExecutionFailedError` if the run failed or was stopped; `HumanFeedbackRequiredError` if a person must
        act before it continues; `WaitTimeoutError`, with the last state of the run, after `timeout_s`; and the errors
        of a call that retries did not overcome.
        """
        identity = id_of("run", run, "id")
        return await poll_until_finished(
            identity,
            lambda pause_s, left_s: self.get(identity),
            timeout_s=checked_seconds("timeout_s", timeout_s),
            poll=poll,
            on_update=on_update,
            fresh=isinstance(run, Run) and run.state is State.PENDING,
            secrets=self._transport.session.secrets,
        )

    async def delete(self, run_id: str) -> RunDeletion:
        """Delete one finished run with its data (`DELETE /runs/{run_id}`).

        A run that has not finished is kept, and the `errors` of the result say so. A failed request is retried; a 404
        on a retry counts as success.

        Raises `NotFoundError` for an unknown id, `PermissionDeniedError` for a key that may not delete, and the other
        errors of a call.
        """
        path = DELETE_RUN.expand(self._transport.edition, run_id=run_id)
        try:
            return _deletion(await self._transport.get_json(self._transport.call(DELETE_RUN, path)))
        except NotFoundError as exc:
            if exc.attempts > 1:
                return RunDeletion()
            add_hint(exc, hint_for_id(DELETE_RUN, ""))
            raise

    async def delete_many(
        self,
        run_ids: Iterable[str] | None = None,
        *,
        filters: Mapping[str, Any] | None = None,
        expected_count: int | None = None,
        dry_run: bool = False,
    ) -> RunDeletion:
        """Delete finished runs by id, by `filters`, or by both (`POST /runs/bulk/delete`).

        `filters` is sent as it is; `workflow_id` and `to_date` (RFC 3339) are known to work. `expected_count` is the
        number of runs to delete, from 0; if another number matches, the service refuses. `dry_run` only counts.

        A deletion is sent once. Raises `OutcomeUnknownError` if no clear answer came; `dry_run` then counts what is
        left. A dry run is retried under the retry policy. Raises `ConflictError` if the count is not the expected one,
        `ValueError` or `TypeError` at once if neither ids nor filters select runs, and the other errors of a call.
        """
        prepared = requests.deletion(self._transport.edition, run_ids, filters, expected_count, dry_run)
        call = self._transport.call(prepared.endpoint, prepared.path, body=prepared.body)
        return _deletion(await self._transport.get_json(call))

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
        """Fetch many runs (`GET /runs/{run_id}`); yields an outcome for each id, as they arrive.

        The arguments and errors are those of `workflow_executions.get_many`.
        """
        return fetch_each(
            self._transport,
            GET_RUN,
            Run,
            ids,
            concurrency=concurrency,
            ordered=ordered,
            window=window,
            known=known,
            on_progress=on_progress,
            hint=hint_for_id(GET_RUN, ""),
        )


def _deletion(answer: Any) -> RunDeletion:
    """Read an undocumented answer: fields of the expected type are set, and the whole answer is kept."""
    found = cast(dict[str, Any], answer) if isinstance(answer, dict) else {}
    counts = {name: found.get(name) for name in ("matched", "succeeded", "failed")}
    errors = found.get("errors")
    return RunDeletion(
        **{name: count for name, count in counts.items() if type(count) is int},
        errors=cast(dict[str, Any], errors) if isinstance(errors, dict) else None,
        answer=answer,
    )
