"""The HTTP server: routes from `ENDPOINTS`, the check of keys, the request log, and the faults around each handler.

The replies come from `handlers`. The emulator shares only the table of endpoints with the client and never imports it;
the two are tested against each other.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Awaitable, Callable
from datetime import UTC
from email.utils import format_datetime
from hashlib import sha256
from types import TracebackType
from typing import Any, Final, Self, Unpack

from aiohttp import web

from ..hosts import Edition, Hosts
from ..transport.endpoints import ENDPOINTS, Endpoint
from . import raw_faults
from .address import checked_host, checked_port, url_at
from .authentication import auth_for, key_status, key_status_in_body
from .fault import Fault
from .fault_rules import FaultPlan, Faults
from .handler_request import HandlerRequest
from .handlers import HANDLERS
from .handlers.executions import deprecation_headers, is_switched_off
from .moves import Moves, PendingMoves
from .reply import Reply, error_reply
from .request_log import STORAGE, UNROUTED, RecordedRequest, RequestLog, RequestLogView
from .simulation import Simulation, SimulationOptions
from .url_prefixes import PREFIXES, hosts_at, prefix_of

__all__ = ["Emulator"]

_EDITIONS: Final[tuple[Edition, ...]] = ("compat", "unified")
_LARGEST_BODY: Final = 64 * 2**20
# Handlers are cancelled at exit, so this bounds only a request that arrives at that very moment.
_SHUTDOWN_S: Final = 0.5


def _has_key_in_body(endpoint: Endpoint | None) -> bool:
    return endpoint is not None and endpoint.key == "body"


class Emulator(Simulation, RequestLogView):
    """A real HTTP server on loopback that speaks both editions of all services, with rows and faults of your choice.

    `async with Emulator(executions=1000, seed=1) as emulator:` starts it. However the block ends, no task and no socket
    is left behind. The same arguments and the same `now` give the same bytes. Executions that are submitted to it run,
    and end. Numbers without a unit are counts; shares are 0..1.

    The rows:

    - `executions`: the number of rows of each kind. `workflow_executions`, `flow_executions` and `runs` set the number
      of one kind. `workflows` is the number of workflows that share them, `models` that of the models.
    - `unfinished`, `failed`, `cancelled`: the shares of rows in these states.
    - `now`, `span_days`: rows were created within `span_days` days before `now` (default: the last midnight, UTC).

    Reading them; all of these can also be set on the emulator at any time:

    - `hold_unfinished`: how many real seconds the compat edition holds the response for an unfinished workflow
      execution, for each second of the query's `timeout` (default 0: it responds at once).
    - `max_bulk_ids`: the most ids in one bulk read; beyond it the response has the status `bulk_refusal`.
      `poisoned_ids`, an attribute only, maps an id to the status of any bulk read that contains it.
    - `v1_depth`: how many executions `/v1/executions` reaches by offset before it responds with a 400 (default 1000).
      None: all of them, and the responses are not marked as deprecated.
    - `v1_executions`, `v2_executions`: False removes that route (404).
    - `v2_auth`: the header of the key below `/v2` in the compat edition: `"any"` of the two, or `"bearer"` alone.
    - `cursor_lifetime`: for how many seconds of the clock a cursor is valid (default None: for ever).
      `expire_cursors()` ends all of them.

    Running submitted executions; all but `virtual_time` can also be set at any time:

    - `step_seconds`: how long each step runs. `virtual_time=True` stops the clock, which then moves only by
      `clock.advance`. The clock starts at `now` if that is given, else at the present time.
    - `fail_rate`: the share that fails, drawn from the seed. The inputs of an execution can decide for themselves:
      `seconds` (of the whole execution), `fail` (true, the number or id of a step, or a class of errors), `invalid`
      (refused for this reason), and for a prediction `uncancellable`.
    - `account_cap`: how many may run at once. One more is refused with a 429, whose `Retry-After` is `cap_retry_after`,
      and nothing is created. A bulk trigger that does not fit is refused as a whole; with `partial_bulks` the inputs
      that fit are started and the others listed as failed.
    - `balance_low`: refuse every start with a 402. `balance` (in dollars): each running execution reserves its
      `estimate`, a start that is not covered is a 402 whose `details` say so, and an execution is paid for at its end.
    - `burst`: more starts than this within `burst_seconds` are a 429 without `Retry-After`, and so is every start until
      none was attempted for `burst_silence` seconds of the clock. `blocked` says whether that is so.

    Webhooks and files; later these are attributes of `deliveries` and `storage`:

    - `retry_seconds`, `duplicate_deliveries` (`deliveries.duplicates`): a webhook is attempted up to three times,
      `retry_seconds` apart, and with `duplicate_deliveries` once more after a success.
    - `url_lifetime`: for how many seconds of the clock a presigned URL is valid.
    - `keep_uploads` (`storage.keep`): False keeps only the size and hash of an upload.
    - `chunked_uploads` (`storage.chunked`): False refuses uploads without a declared length.

    A prediction with a `fallback_selector` (`any-image` or `any-video`) that would fail succeeds with another model;
    `fallbacks_enabled=False`, an attribute only, refuses every selector with a 403. `balance_usd`, another attribute,
    is the reported balance while no `balance` is given. A started run ends after `step_seconds`; its input may contain
    `seconds` and `fail` as above, and `feedback`, with which it waits for a person and goes no further.

    `log_size` is the number of requests in `log`. `host` and `port` (0: any free one) are the address to listen on. A
    host that is not loopback is a `ValueError` without `beyond_loopback`: the keys are no secret.
    """

    def __init__(
        self,
        executions: int = 1000,
        seed: int = 1,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        beyond_loopback: bool = False,
        api_key: str = "emulator-key",
        runs_api_key: str = "emulator-runs-key",
        log_size: int = 10_000,
        **options: Unpack[SimulationOptions],
    ) -> None:
        super().__init__(executions, seed, **options)
        self.api_key = api_key
        self.runs_api_key = runs_api_key
        self.faults = Faults(seed)
        self.moves = Moves(self, seed)
        self._host = checked_host(host, beyond_loopback=beyond_loopback)
        self._port = checked_port(port)
        self._request_log = RequestLog(log_size)
        self._runner: web.AppRunner | None = None
        self._tasks: set[asyncio.Task[Any]] = set()
        self._connections: dict[int, tuple[asyncio.BaseTransport, int]] = {}
        self._connections_made = 0

    # Address

    @property
    def url(self) -> str:
        """The origin, such as `http://127.0.0.1:8123`. Raises `RuntimeError` while the emulator is not listening."""
        if self._runner is None:
            raise RuntimeError("the emulator is not listening: use `async with Emulator(...) as emulator`")
        return url_at(*self._runner.addresses[0][:2])

    @property
    def hosts(self) -> Hosts:
        """The hosts of the compat edition, for `EachLabs(hosts=...)`."""
        return hosts_at(self.url, "compat")

    @property
    def unified_hosts(self) -> Hosts:
        """The hosts of the unified edition, for `EachLabs(hosts=...)`."""
        return hosts_at(self.url, "unified")

    # Requests; see also `RequestLogView`

    @property
    def connections(self) -> int:
        """The number of TCP connections that brought a request."""
        return self._connections_made

    def reset_counters(self) -> None:
        """Empty the log and reset all counters. Faults, rows and submitted executions stay."""
        self._request_log.reset()
        self.max_running = self.running
        self._connections_made = 0
        self.faults.injected.clear()
        self.moves.made.clear()

    # Start and end

    async def __aenter__(self) -> Self:
        if self._runner is not None:
            raise RuntimeError("the emulator is listening already")
        app = web.Application(client_max_size=_LARGEST_BODY)
        for route in self._routes():
            app.router.add_route(*route)
        # With handler_cancellation, a handler that holds its response ends when the client leaves.
        runner = web.AppRunner(
            app,
            access_log=None,
            handler_cancellation=True,
            shutdown_timeout=_SHUTDOWN_S,
            keepalive_timeout=600,
        )
        await runner.setup()
        try:
            await web.TCPSite(runner, self._host, self._port).start()
        except BaseException:
            await runner.cleanup()
            raise
        self._runner = runner
        self.clock.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        runner, self._runner = self._runner, None
        if runner is None:
            return
        self.clock.stop()
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self.deliveries.close()
        await runner.cleanup()
        self._connections.clear()
        # A transport closes its socket in a callback, two turns of the loop later.
        await asyncio.sleep(0)
        await asyncio.sleep(0)

    def _routes(self) -> list[tuple[str, str, Callable[[web.Request], Awaitable[web.StreamResponse]]]]:
        routes: dict[tuple[str, str], Callable[[web.Request], Awaitable[web.StreamResponse]]] = {}
        for edition in _EDITIONS:
            had = [(endpoint, path) for endpoint in ENDPOINTS if (path := endpoint.path(edition)) is not None]
            for endpoint, template in had:
                # An id is any single encoded segment.
                path = prefix_of(endpoint, edition) + re.sub(r"\{(\w+)\}", r"{\1:[^/]+}", template)
                # Flows and runs have the same paths in both editions, so one route serves both.
                routes.setdefault((endpoint.method, path), self._route(endpoint, edition))
        for name, method, path in zip(STORAGE, ("PUT", "GET"), ("uploads", "public"), strict=True):
            routes[(method, f"/storage/{path}/{{name}}")] = self._route(None, "unified", name)
        routes[("*", "/{rest:.*}")] = self._route(None, "compat")
        return [(method, path, handler) for (method, path), handler in routes.items()]

    def _route(
        self, endpoint: Endpoint | None, edition: Edition, name: str = UNROUTED
    ) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
        async def serve(request: web.Request) -> web.StreamResponse:
            task = asyncio.current_task()
            assert task is not None
            self._tasks.add(task)
            number = self._request_log.request_started()
            try:
                recorded = await self._record(request, endpoint, edition, number, name)
                plan = self.faults.plan(recorded)
                pending_moves = self.moves.moves_for(recorded, request.match_info)
                try:
                    return await self._reply(request, endpoint, edition, recorded, plan, pending_moves)
                finally:
                    plan.release()
            finally:
                self._request_log.request_finished()
                self._tasks.discard(task)

        return serve

    # Handling one request

    async def _record(
        self, request: web.Request, endpoint: Endpoint | None, edition: Edition, number: int, name: str
    ) -> RecordedRequest:
        at = time.monotonic()
        # The storage reads the body of an upload itself, and the log does not keep it.
        body = await request.read() if request.can_read_body and name not in STORAGE else b""
        service = endpoint.service if endpoint is not None else "api"
        own, other = self.api_key, self.runs_api_key
        if service == "runs":
            own, other = other, own
        key, headers = key_status(
            request.headers,
            f"{request.raw_path} {body.decode(errors='replace')}",
            auth=None if name in STORAGE else auth_for(endpoint, edition, self.v2_auth, request.headers),
            expected=own,
            foreign=other,
        )
        if _has_key_in_body(endpoint):
            key, body = key_status_in_body(body, key, own)
        recorded = RecordedRequest(
            number=number,
            endpoint=endpoint.name if endpoint is not None else name,
            service=service if endpoint is not None else "",
            edition=edition,
            method=request.method,
            target=request.raw_path,
            path=request.path,
            query=dict(request.query),
            headers=headers,
            body=body,
            key=key,
            connection=self._connection_number(request),
            at=at,
        )
        self._request_log.record(recorded)
        return recorded

    def _connection_number(self, request: web.Request) -> int:
        # The log keeps a reference to the transport, so that its id() is not reused.
        transport = request.transport
        assert transport is not None
        known = self._connections.get(id(transport))
        if known is None:
            self._connections = {key: kept for key, kept in self._connections.items() if not kept[0].is_closing()}
            self._connections_made += 1
            known = self._connections[id(transport)] = (transport, self._connections_made)
        return known[1]

    async def _reply(
        self,
        request: web.Request,
        endpoint: Endpoint | None,
        edition: Edition,
        recorded: RecordedRequest,
        plan: FaultPlan,
        pending_moves: PendingMoves,
    ) -> web.StreamResponse:
        pending_moves.make("before")
        if plan.delay_s:
            await asyncio.sleep(plan.delay_s)
        pending_moves.make("during")
        fault = plan.breaking
        if fault is not None and not fault.late:
            return await self._fault_response(request, fault, None, recorded)
        if endpoint is not None and not is_switched_off(self, endpoint.name):
            reply = await self._handler_reply(request, endpoint, edition, recorded, plan)
        elif recorded.endpoint in STORAGE:
            reply = await self._storage_reply(request, recorded)
        else:
            reply = error_reply(404, "route not found")
        pending_moves.make("after")
        if fault is not None:
            return await self._fault_response(request, fault, reply, recorded)
        return self._response(reply, recorded)

    async def _handler_reply(
        self, request: web.Request, endpoint: Endpoint, edition: Edition, recorded: RecordedRequest, plan: FaultPlan
    ) -> Reply:
        if recorded.key != "right" and endpoint.key != "none":
            message = "Invalid API key" if endpoint.service == "runs" else "Invalid or missing API key"
            return error_reply(401, message, service=endpoint.service)
        handler_request = HandlerRequest(
            edition=edition,
            fields=request.match_info,
            query=recorded.query,
            body=recorded.body,
            clamp=plan.clamp,
            base=self.url + PREFIXES[edition][endpoint.service],
            origin=self.url,
            organisation=sha256(self.api_key.encode()).hexdigest(),
            short_page=plan.short_page,
        )
        return plan.edit(await HANDLERS[endpoint.name](self, handler_request), recorded)

    async def _storage_reply(self, request: web.Request, recorded: RecordedRequest) -> Reply:
        name = request.match_info["name"]
        if recorded.method == "GET":
            return self.storage.get(name, recorded.headers)
        refused = self.storage.refuses(name, recorded.query, recorded.headers)
        if refused is not None:
            return refused
        incoming = self.storage.incoming()
        async for chunk in request.content.iter_any():
            if not incoming.add(chunk):
                return self.storage.too_large()
        return self.storage.put(name, incoming)

    def _headers(self, reply: Reply, recorded: RecordedRequest) -> dict[str, str]:
        date = format_datetime(self.clock.now().astimezone(UTC), usegmt=True)
        request_id = recorded.headers.get("x-request-id") or f"emulator-{recorded.number}"
        own = {"Content-Type": reply.content_type, "X-Request-Id": request_id, "Date": date}
        if recorded.service == "runs":
            own["x-noxus-request-id"] = f"noxus-{recorded.number}"
        return {**own, **deprecation_headers(self, recorded.endpoint), **reply.headers}

    def _response(self, reply: Reply, recorded: RecordedRequest) -> web.Response:
        self._request_log.answers[reply.status] += 1
        return web.Response(status=reply.status, body=reply.body, headers=self._headers(reply, recorded))

    async def _fault_response(
        self, request: web.Request, fault: Fault, reply: Reply | None, recorded: RecordedRequest
    ) -> web.StreamResponse:
        if fault.reply is not None:
            return self._response(fault.reply, recorded)
        transport = request.transport
        # A client that leaves cancels the handler, so there is still a connection here.
        assert transport is not None
        if fault.kind == "reset":
            raw_faults.reset(transport)
        elif reply is None or fault.kind == "stalled_answer":
            await raw_faults.hold(transport, b"")
        else:
            head = raw_faults.head_of(reply, self._headers(reply, recorded))
            part = reply.body[: int(len(reply.body) * fault.keep)]
            if fault.kind == "cut_headers":
                raw_faults.close_after(transport, head[: len(head) // 2])
            elif fault.kind == "cut_body":
                raw_faults.close_after(transport, head + part)
            else:
                await raw_faults.hold(transport, head + part)
        # The connection is gone; aiohttp notices and ignores it.
        return web.Response()
