"""Owns the listening: routes from `ENDPOINTS`, keys, counting, faults around each handler, and a clean end.

It refuses to know what an endpoint answers (`handlers.py`) and never imports the client: client and emulator
share the table of endpoints, and are tested against each other.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections import Counter, deque
from collections.abc import Awaitable, Callable, Mapping
from datetime import datetime
from types import TracebackType
from typing import Any, Final, Self

from aiohttp import web

from ..endpoints import ENDPOINTS, Endpoint
from ..hosts import Auth, Edition, Hosts, Service, ServiceName
from . import wire
from .faults import Fault, Faults, Plan
from .handlers import HANDLERS, Answer, Call, refusal
from .journal import UNROUTED, Journal, Seen, judged_key
from .moves import Moves, Moving
from .state import State

__all__ = ["Emulator", "PREFIXES"]

PREFIXES: Final[Mapping[Edition, Mapping[ServiceName, str]]] = {
    "compat": {
        "api": "/compat/api/v1",
        "workflows": "/compat/workflows/api/v1",
        "flows": "/flows/api/v1",
        "runs": "/noxus/v1",
    },
    "unified": {
        "api": "/unified/v1",
        "workflows": "/unified/v1",
        "flows": "/flows/api/v1",
        "runs": "/noxus/v1",
    },
}
"""The path prefix of each service, on the one origin of the emulator."""

_EDITIONS: Final[tuple[Edition, ...]] = ("compat", "unified")
_LARGEST_BODY: Final = 64 * 2**20
# Handlers are cancelled on the way out, so this bounds only a request that arrives in that very moment.
_SHUTDOWN_S: Final = 0.5


def _auth(edition: Edition, service: ServiceName) -> Auth:
    return "bearer" if edition == "unified" and service in ("api", "workflows") else "x-api-key"


class Emulator(State):
    """A real HTTP server on loopback that speaks both editions of all services, with rows and faults to
    order.

    `async with Emulator(executions=1000, seed=1) as emulator:` starts it and, however the block ends,
    leaves no task and no socket behind. The same arguments and the same `now` give the same bytes.

    `executions` is the number of rows of each kind; `workflow_executions`, `flow_executions` and `runs`
    (default: as many) count one kind. `workflows` is how many workflows share them. `unfinished`, `failed`
    and `cancelled` are shares (0..1) of the rows. The rows were created within the `span_days` days before
    `now` (default: the last midnight, UTC). `hold_unfinished` is how many real seconds the compat edition
    holds the answer of an unfinished workflow execution for each second of the query's `timeout` (default
    0: not at all). `max_bulk_ids` is the most ids that one bulk read takes; `bulk_refusal` the status
    beyond it. `log_size` bounds the log, in requests. `hold_unfinished`, `max_bulk_ids`, `bulk_refusal` and
    `poisoned_ids` (id to the status of any bulk read that contains it) can also be set at any time.
    """

    def __init__(
        self,
        executions: int = 1000,
        seed: int = 1,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        api_key: str = "emulator-key",
        runs_api_key: str = "emulator-runs-key",
        workflow_executions: int | None = None,
        flow_executions: int | None = None,
        runs: int | None = None,
        workflows: int = 3,
        unfinished: float = 0.05,
        failed: float = 0.1,
        cancelled: float = 0.02,
        span_days: float = 60.0,
        now: datetime | None = None,
        hold_unfinished: float = 0.0,
        max_bulk_ids: int | None = None,
        bulk_refusal: int = 413,
        log_size: int = 10_000,
    ) -> None:
        super().__init__(
            executions,
            seed,
            workflow_executions=workflow_executions,
            flow_executions=flow_executions,
            runs=runs,
            workflows=workflows,
            unfinished=unfinished,
            failed=failed,
            cancelled=cancelled,
            span_days=span_days,
            now=now,
            hold_unfinished=hold_unfinished,
            max_bulk_ids=max_bulk_ids,
            bulk_refusal=bulk_refusal,
        )
        self.api_key = api_key
        self.runs_api_key = runs_api_key
        self.faults = Faults(seed)
        self.moves = Moves(self, seed)
        self._host = host
        self._port = port
        self._journal = Journal(log_size)
        self._runner: web.AppRunner | None = None
        self._tasks: set[asyncio.Task[Any]] = set()
        self._connections: dict[int, tuple[asyncio.BaseTransport, int]] = {}
        self._connections_made = 0
        self._hosts_made: dict[tuple[str, Edition], Hosts] = {}

    # Where it listens

    @property
    def url(self) -> str:
        """The origin, as `http://127.0.0.1:PORT`; a `RuntimeError` while it is not listening."""
        if self._runner is None:
            raise RuntimeError("the emulator is not listening: use `async with Emulator(...) as emulator`")
        host, port = self._runner.addresses[0][:2]
        return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"

    @property
    def hosts(self) -> Hosts:
        """The hosts of the compat edition, for `EachLabs(hosts=...)`."""
        return self._hosts("compat")

    @property
    def unified_hosts(self) -> Hosts:
        """The hosts of the unified edition, for `EachLabs(hosts=...)`."""
        return self._hosts("unified")

    def _hosts(self, edition: Edition) -> Hosts:
        url = self.url
        # Remembered, since a test may well ask in a loop, and making one checks four URLs.
        if (url, edition) not in self._hosts_made:
            services: dict[str, Any] = {
                name: Service(url + prefix, _auth(edition, name)) for name, prefix in PREFIXES[edition].items()
            }
            self._hosts_made[url, edition] = Hosts(edition=edition, **services)
        return self._hosts_made[url, edition]

    # What it saw

    @property
    def requests(self) -> Counter[str]:
        """How many requests came, by endpoint name (`"unrouted"` for no endpoint)."""
        return self._journal.requests

    @property
    def answers(self) -> Counter[int]:
        """How many answers went out, by status; a broken connection is not an answer."""
        return self._journal.answers

    @property
    def log(self) -> deque[Seen]:
        """The last requests, oldest first."""
        return self._journal.log

    @property
    def wrong_keys(self) -> list[Seen]:
        """The requests that brought one vendor's key to the other's service; empty is the only good value."""
        return self._journal.wrong_keys

    @property
    def in_flight(self) -> int:
        """How many requests are being answered now."""
        return self._journal.in_flight

    @property
    def max_in_flight(self) -> int:
        """How many requests were being answered at once at most."""
        return self._journal.max_in_flight

    @property
    def connections(self) -> int:
        """How many TCP connections brought a request."""
        return self._connections_made

    def reset_counters(self) -> None:
        """Empty the log and start all counts anew; faults and rows stay."""
        self._journal.reset()
        self._connections_made = 0
        self.faults.injected.clear()
        self.moves.made.clear()

    # Its life

    async def __aenter__(self) -> Self:
        if self._runner is not None:
            raise RuntimeError("the emulator is listening already")
        app = web.Application(client_max_size=_LARGEST_BODY)
        for route in self._routes():
            app.router.add_route(*route)
        # With handler_cancellation a handler that holds an answer ends when its client leaves.
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
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        runner, self._runner = self._runner, None
        if runner is None:
            return
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await runner.cleanup()
        self._connections.clear()
        # Transports close in a callback: two turns of the loop, and the sockets are gone.
        await asyncio.sleep(0)
        await asyncio.sleep(0)

    def _routes(self) -> list[tuple[str, str, Callable[[web.Request], Awaitable[web.StreamResponse]]]]:
        routes: dict[tuple[str, str], Callable[[web.Request], Awaitable[web.StreamResponse]]] = {}
        for edition in _EDITIONS:
            had = [(endpoint, path) for endpoint in ENDPOINTS if (path := endpoint.path(edition)) is not None]
            for endpoint, template in had:
                # An id is any one encoded segment, whatever is in it.
                path = PREFIXES[edition][endpoint.service] + re.sub(r"\{(\w+)\}", r"{\1:[^/]+}", template)
                # Flows and runs are the same in both editions: one route serves them.
                routes.setdefault((endpoint.method, path), self._route(endpoint, edition))
        routes[("*", "/{rest:.*}")] = self._route(None, "compat")
        return [(method, path, handler) for (method, path), handler in routes.items()]

    def _route(
        self, endpoint: Endpoint | None, edition: Edition
    ) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
        async def serve(request: web.Request) -> web.StreamResponse:
            task = asyncio.current_task()
            assert task is not None
            self._tasks.add(task)
            number = self._journal.arrived()
            try:
                seen = await self._seen(request, endpoint, edition, number)
                plan = self.faults.plan(seen)
                moving = self.moves.arrived(seen, request.match_info)
                try:
                    return await self._answer(request, endpoint, edition, seen, plan, moving)
                finally:
                    plan.done()
            finally:
                self._journal.left()
                self._tasks.discard(task)

        return serve

    # One request

    async def _seen(self, request: web.Request, endpoint: Endpoint | None, edition: Edition, number: int) -> Seen:
        at = time.monotonic()
        body = await request.read() if request.can_read_body else b""
        service = endpoint.service if endpoint is not None else "api"
        own, other = self.api_key, self.runs_api_key
        if service == "runs":
            own, other = other, own
        key, headers = judged_key(
            request.headers,
            f"{request.raw_path} {body.decode(errors='replace')}",
            auth=_auth(edition, service),
            expected=own,
            foreign=other,
        )
        seen = Seen(
            number=number,
            endpoint=endpoint.name if endpoint is not None else UNROUTED,
            service=service if endpoint is not None else "",
            edition=edition,
            method=request.method,
            target=request.raw_path,
            path=request.path,
            query=dict(request.query),
            headers=headers,
            body=body,
            key=key,
            connection=self._connection(request),
            at=at,
        )
        self._journal.note(seen)
        return seen

    def _connection(self, request: web.Request) -> int:
        # The transport is held while it is known, so that its id() cannot come again.
        transport = request.transport
        assert transport is not None
        known = self._connections.get(id(transport))
        if known is None:
            self._connections = {key: kept for key, kept in self._connections.items() if not kept[0].is_closing()}
            self._connections_made += 1
            known = self._connections[id(transport)] = (transport, self._connections_made)
        return known[1]

    async def _answer(
        self,
        request: web.Request,
        endpoint: Endpoint | None,
        edition: Edition,
        seen: Seen,
        plan: Plan,
        moving: Moving,
    ) -> web.StreamResponse:
        moving.at("before")
        if plan.delay_s:
            await asyncio.sleep(plan.delay_s)
        moving.at("during")
        fault = plan.breaking
        if fault is not None and fault.answer is not None:
            return self._sent(fault.answer, seen)
        if fault is not None and fault.kind in ("reset", "stalled_answer"):
            return await self._broken(request, fault, None, seen)
        if endpoint is None:
            answer = refusal(404, "route not found")
        elif seen.key != "right":
            message = "Invalid API key" if endpoint.service == "runs" else "Invalid or missing API key"
            answer = refusal(401, message, service=endpoint.service)
        else:
            call = Call(edition=edition, fields=request.match_info, query=seen.query, body=seen.body, clamp=plan.clamp)
            answer = plan.edited(await HANDLERS[endpoint.name](self, call), seen)
            moving.at("after")
        if fault is not None:
            return await self._broken(request, fault, answer, seen)
        return self._sent(answer, seen)

    def _headers(self, answer: Answer, seen: Seen) -> dict[str, str]:
        own = {"Content-Type": answer.content_type, "X-Request-Id": f"emulator-{seen.number}"}
        return {**own, **answer.headers}

    def _sent(self, answer: Answer, seen: Seen) -> web.Response:
        self._journal.answers[answer.status] += 1
        return web.Response(status=answer.status, body=answer.body, headers=self._headers(answer, seen))

    async def _broken(
        self, request: web.Request, fault: Fault, answer: Answer | None, seen: Seen
    ) -> web.StreamResponse:
        transport = request.transport
        # A client that leaves cancels the handler, so that whoever comes this far still has a connection.
        assert transport is not None
        if fault.kind == "reset":
            wire.reset(transport)
        elif answer is None:
            await wire.hold(transport, b"")
        else:
            head = wire.head_of(answer, self._headers(answer, seen))
            part = answer.body[: int(len(answer.body) * fault.keep)]
            if fault.kind == "cut_headers":
                wire.close_after(transport, head[: len(head) // 2])
            elif fault.kind == "cut_body":
                wire.close_after(transport, head + part)
            else:
                await wire.hold(transport, head + part)
        # The connection is gone: aiohttp finds that out when it tries to send this, and is content.
        return web.Response()
