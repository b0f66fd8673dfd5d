"""Owns the listening: routes from `ENDPOINTS`, keys, counting, faults around each handler, and a clean end.

It refuses to know what an endpoint answers (`handlers.py`) and never imports the client: client and emulator
share the table of endpoints, and are tested against each other.
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
from . import wire
from .answers import Answer, Call, refusal
from .execution_handlers import deprecation, is_off
from .faults import Faults, Plan
from .handlers import HANDLERS
from .journal import STORAGE, UNROUTED, Journal, Observed, Seen, judged_key, key_in_body
from .kinds import Fault
from .live import Live, LiveOptions
from .moves import Moves, Moving
from .places import PREFIXES, auth_for, hosts_at, prefix_of

__all__ = ["Emulator"]

_EDITIONS: Final[tuple[Edition, ...]] = ("compat", "unified")
_LARGEST_BODY: Final = 64 * 2**20
# Handlers are cancelled on the way out, so this bounds only a request that arrives in that very moment.
_SHUTDOWN_S: Final = 0.5


def _in_body(endpoint: Endpoint | None) -> bool:
    return endpoint is not None and endpoint.key == "body"


class Emulator(Live, Observed):
    """A real HTTP server on loopback that speaks both editions of all services, with rows and faults to
    order, and which carries out what is submitted to it.

    `async with Emulator(executions=1000, seed=1) as emulator:` starts it and, however the block ends,
    leaves no task and no socket behind. The same arguments and the same `now` give the same bytes.

    `executions` is the number of rows of each kind; `workflow_executions`, `flow_executions` and `runs`
    (default: as many) count one kind. `workflows` is how many workflows share them, `models` how many models
    there are. `unfinished`, `failed` and `cancelled` are shares (0..1) of the rows. The rows were created within
    the `span_days` days before `now` (default: the last midnight, UTC). `hold_unfinished` is how many real seconds
    the compat edition holds the answer of an unfinished workflow execution for each second of the query's
    `timeout` (default 0: not at all). `max_bulk_ids` is the most ids that one bulk read takes; `bulk_refusal` the
    status beyond it. `log_size` bounds the log, in requests. `hold_unfinished`, `max_bulk_ids`, `bulk_refusal` and
    `poisoned_ids` (id to the status of any bulk read that contains it) can also be set at any time.

    `v1_depth` is how many rows of the executions can be reached by offset (default 1000; None: all of them, and the
    answers are not marked as deprecated). Beyond it `/v1/executions` answers 400; `/v2/executions` shows them by
    cursor. `v1_executions` and `v2_executions` are False where that route is not there (404). `v2_auth` is how `/v2`
    of the compat edition is told the key: in either header (`"any"`), or as `"bearer"` alone. A cursor lives
    `cursor_lifetime` seconds of the clock (default None: for ever), or until `expire_cursors()`. All of these can be
    set at any time.

    What is triggered or predicted runs for `step_seconds` a step of real time, or of `clock.advance` where
    `virtual_time`; the clock starts now, or at a given `now`. A share `fail_rate` fails, drawn by the seed. An input
    can ask for its fate: `seconds` (of the whole), `fail` (true, a step's number or id, or a class of errors),
    `invalid` (refused, with this reason) and, for a prediction, `uncancellable`. `account_cap` is how many may run
    at once: what goes beyond is a 429 (with `cap_retry_after` as its `Retry-After`) and creates nothing. A bulk
    trigger that does not fit is refused as a whole, or with `partial_bulks` takes what fits and fails the rest by
    name. `balance_low` refuses all of it with a 402. With a `balance` (dollars) each execution that runs reserves
    its `estimate`, what is not covered is a 402 whose `details` say so, and what ends is paid for. With `burst`,
    more starts than that within `burst_seconds` are a 429 without `Retry-After`, as is every start until nobody has
    tried for `burst_silence` seconds of the clock (`blocked` tells). A webhook is told up to three times,
    `retry_seconds` apart, and once more than it needs with `duplicate_deliveries` (the two are attributes of
    `deliveries`). A presigned URL lives `url_lifetime` seconds; `keep_uploads=False` forgets the bytes of a file,
    not its size and hash, and `chunked_uploads=False` refuses what declares no length (these three are attributes
    of `storage`, the last two named `keep` and `chunked`). The others can be set on the emulator at any time.

    Two more attributes can be set: `balance_usd` is what is told of the balance where no `balance` is given, and
    `fallbacks_enabled=False` refuses every `fallback_selector` with a 403. `any-image` and `any-video` are the ones
    that are known: where the prediction would fail, another model takes over. A run that is started ends in
    `step_seconds`; its input can ask for `seconds` and `fail` as above, and with `feedback` it waits for a person
    and goes no further.
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
        log_size: int = 10_000,
        **options: Unpack[LiveOptions],
    ) -> None:
        super().__init__(executions, seed, **options)
        if not 0 <= port <= 65535:
            raise ValueError(f"port must be 0..65535, not {port}")
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
        return hosts_at(self.url, "compat")

    @property
    def unified_hosts(self) -> Hosts:
        """The hosts of the unified edition, for `EachLabs(hosts=...)`."""
        return hosts_at(self.url, "unified")

    # What it saw; more of it is in `Observed`

    @property
    def connections(self) -> int:
        """How many TCP connections brought a request."""
        return self._connections_made

    def reset_counters(self) -> None:
        """Empty the log and start all counts anew; faults, rows and what was submitted stay."""
        self._journal.reset()
        self.max_running = self.running
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
        # Transports close in a callback: two turns of the loop, and the sockets are gone.
        await asyncio.sleep(0)
        await asyncio.sleep(0)

    def _routes(self) -> list[tuple[str, str, Callable[[web.Request], Awaitable[web.StreamResponse]]]]:
        routes: dict[tuple[str, str], Callable[[web.Request], Awaitable[web.StreamResponse]]] = {}
        for edition in _EDITIONS:
            had = [(endpoint, path) for endpoint in ENDPOINTS if (path := endpoint.path(edition)) is not None]
            for endpoint, template in had:
                # An id is any one encoded segment, whatever is in it.
                path = prefix_of(endpoint, edition) + re.sub(r"\{(\w+)\}", r"{\1:[^/]+}", template)
                # Flows and runs are the same in both editions: one route serves them.
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
            number = self._journal.arrived()
            try:
                seen = await self._seen(request, endpoint, edition, number, name)
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

    async def _seen(
        self, request: web.Request, endpoint: Endpoint | None, edition: Edition, number: int, name: str
    ) -> Seen:
        at = time.monotonic()
        # The bytes of an upload are the storage's: the log does not hold them too.
        body = await request.read() if request.can_read_body and name not in STORAGE else b""
        service = endpoint.service if endpoint is not None else "api"
        own, other = self.api_key, self.runs_api_key
        if service == "runs":
            own, other = other, own
        key, headers = judged_key(
            request.headers,
            f"{request.raw_path} {body.decode(errors='replace')}",
            auth=None if name in STORAGE else auth_for(endpoint, edition, self.v2_auth, request.headers),
            expected=own,
            foreign=other,
        )
        if _in_body(endpoint):
            key, body = key_in_body(body, key, own)
        seen = Seen(
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
        if fault is not None and not fault.late:
            return await self._broken(request, fault, None, seen)
        if endpoint is not None and not is_off(self, endpoint.name):
            answer = await self._carried_out(request, endpoint, edition, seen, plan)
        elif seen.endpoint in STORAGE:
            answer = await self._stored(request, seen)
        else:
            answer = refusal(404, "route not found")
        moving.at("after")
        if fault is not None:
            return await self._broken(request, fault, answer, seen)
        return self._sent(answer, seen)

    async def _carried_out(
        self, request: web.Request, endpoint: Endpoint, edition: Edition, seen: Seen, plan: Plan
    ) -> Answer:
        if seen.key != "right" and endpoint.key != "none":
            message = "Invalid API key" if endpoint.service == "runs" else "Invalid or missing API key"
            return refusal(401, message, service=endpoint.service)
        call = Call(
            edition=edition,
            fields=request.match_info,
            query=seen.query,
            body=seen.body,
            clamp=plan.clamp,
            base=self.url + PREFIXES[edition][endpoint.service],
            origin=self.url,
            organisation=sha256(self.api_key.encode()).hexdigest(),
            shortened=plan.shortened,
        )
        return plan.edited(await HANDLERS[endpoint.name](self, call), seen)

    async def _stored(self, request: web.Request, seen: Seen) -> Answer:
        name = request.match_info["name"]
        if seen.method == "GET":
            return self.storage.get(name, seen.headers)
        refused = self.storage.refuses(name, seen.query, seen.headers)
        if refused is not None:
            return refused
        incoming = self.storage.incoming()
        async for chunk in request.content.iter_any():
            if not incoming.add(chunk):
                return self.storage.too_large()
        return self.storage.put(name, incoming)

    def _headers(self, answer: Answer, seen: Seen) -> dict[str, str]:
        date = format_datetime(self.clock.now().astimezone(UTC), usegmt=True)
        request_id = seen.headers.get("x-request-id") or f"emulator-{seen.number}"
        own = {"Content-Type": answer.content_type, "X-Request-Id": request_id, "Date": date}
        if seen.service == "runs":
            own["x-noxus-request-id"] = f"noxus-{seen.number}"
        return {**own, **deprecation(self, seen.endpoint), **answer.headers}

    def _sent(self, answer: Answer, seen: Seen) -> web.Response:
        self._journal.answers[answer.status] += 1
        return web.Response(status=answer.status, body=answer.body, headers=self._headers(answer, seen))

    async def _broken(
        self, request: web.Request, fault: Fault, answer: Answer | None, seen: Seen
    ) -> web.StreamResponse:
        if fault.answer is not None:
            return self._sent(fault.answer, seen)
        transport = request.transport
        # A client that leaves cancels the handler, so that whoever comes this far still has a connection.
        assert transport is not None
        if fault.kind == "reset":
            wire.reset(transport)
        elif answer is None or fault.kind == "stalled_answer":
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
