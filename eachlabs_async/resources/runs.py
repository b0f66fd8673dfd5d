"""Owns the calls about runs of the Noxus service; refuses the Each Labs key, which that vendor must never see."""

from __future__ import annotations

from collections.abc import AsyncIterable, Callable, Iterable, Mapping
from datetime import UTC, datetime
from functools import partial
from typing import Any, Unpack, cast

from ..bulk.fetch import BulkFetch, Known
from ..bulk.outcomes import BulkStats
from ..bulk.workers import one_each
from ..errors import NotFoundError, OutcomeUnknownError
from ..jobs.create import TimeSpan
from ..jobs.polling import Poll
from ..jobs.wait import checked_timeout, identity_of, until_ended
from ..pagination.pager import Pager, WalkOptions
from ..records import Run, RunDeletion, State
from ..transport import requests as _requests
from ..transport.arguments import checked_count
from ..transport.endpoints import DELETE_RUN, GET_RUN, LIST_RUNS, LIST_WORKFLOW_RUNS, STOP_RUN
from ..transport.transport import Transport


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

    async def start(
        self,
        workflow_id: str,
        input: Mapping[str, Any],  # noqa: A002  # the wire's name
        *,
        node_ids: Iterable[str] | Mapping[str, Any] | None = None,
        single_node_id: str | None = None,
        workflow_version_id: str | None = None,
        callback_url: str | None = None,
    ) -> Run:
        """Start one run of a workflow (`POST /workflows/{workflow_id}/runs`) and give it, queued.

        `input` is what the workflow takes. `node_ids` (ids, or an object) and `single_node_id` run a part of it,
        `workflow_version_id` another version than its latest. `callback_url`, an absolute http(s) URL, is told of the
        end.

        It is sent once: where no clear answer came the error is `OutcomeUnknownError`, and its `lookup` says since when
        to look in `list_for_workflow`. Raises `ValueError` or `TypeError` at once for an argument that cannot be right,
        and the other errors of a call.
        """
        edition = self._transport.session.hosts.edition
        prepared = _requests.run(
            edition, workflow_id, input, node_ids, single_node_id, workflow_version_id, callback_url
        )
        call = self._transport.call(prepared.endpoint, prepared.path, body=prepared.body)
        since = datetime.now(UTC)
        try:
            return await self._transport.get(call, Run)
        except OutcomeUnknownError as exc:
            exc.lookup = TimeSpan(since, datetime.now(UTC)).lookup(workflow_id=workflow_id)
            raise

    async def wait(
        self,
        run: str | Run,
        *,
        timeout_s: float = 600.0,
        poll: Poll = Poll(),  # noqa: B008  # frozen, so one default is as good as many
        on_update: Callable[[Run], object] | None = None,
    ) -> Run:
        """Wait for one run to succeed, asking after it ever more slowly; gives it.

        `run` is an id, or what `start` gave: that one may take ten seconds to be found. `timeout_s` is the longest
        wait in seconds, above 0; `poll` the pauses. `on_update` is called with the run whenever it changed.

        Raises `ExecutionFailedError` where it failed or was stopped, `HumanFeedbackRequiredError` where it goes on only
        once a person has acted, `WaitTimeoutError` (with the run as it was last) after `timeout_s`, and the errors of a
        call that its tries did not overcome.
        """
        identity = identity_of("run", run, "id")
        return await until_ended(
            identity,
            lambda pause_s, left_s: self.get(identity),
            timeout_s=checked_timeout("timeout_s", timeout_s),
            poll=poll,
            on_update=on_update,
            fresh=isinstance(run, Run) and run.state is State.PENDING,
        )

    async def delete(self, run_id: str) -> RunDeletion:
        """Delete one finished run with its data (`DELETE /runs/{run_id}`).

        One that has not finished stays: `errors` of what is given then says so. A failed try is repeated; that the run
        is not found then is taken for success.

        Raises `NotFoundError` for an unknown id, `PermissionDeniedError` for a key that may not delete, and the other
        errors of a call.
        """
        path = DELETE_RUN.expand(self._transport.session.hosts.edition, run_id=run_id)
        try:
            return _deletion(await self._transport.get_json(self._transport.call(DELETE_RUN, path)))
        except NotFoundError as exc:
            if exc.attempts > 1:
                return RunDeletion()
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

        `filters` goes out as it is; `workflow_id` and `to_date` (RFC 3339) are known to work. With `expected_count`,
        from 0, the service refuses where another number of runs is meant (`ConflictError`). `dry_run` only counts.

        A deletion is sent once: where no clear answer came the error is `OutcomeUnknownError`, and `dry_run` tells what
        is left. One that only counts is tried again as the retry policy says. Raises `ValueError` or `TypeError` at
        once where neither ids nor filters say which runs are meant, and the other errors of a call.
        """
        edition = self._transport.session.hosts.edition
        prepared = _requests.deletion(edition, run_ids, filters, expected_count, dry_run)
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


def _deletion(answer: Any) -> RunDeletion:
    """Read an answer that nobody documents: what is as expected goes into its field, and all of it is kept."""
    found = cast(dict[str, Any], answer) if isinstance(answer, dict) else {}
    counts = {name: found.get(name) for name in ("matched", "succeeded", "failed")}
    errors = found.get("errors")
    return RunDeletion(
        **{name: count for name, count in counts.items() if type(count) is int},
        errors=cast(dict[str, Any], errors) if isinstance(errors, dict) else None,
        answer=answer,
    )
