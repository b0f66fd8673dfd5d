"""What one client created: which executions belong to its calls, how many run, and how many the account allows."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Iterable, Mapping, Sequence

from ..errors import ResponseDecodeError
from ..hooks import ExecutionEnded, ExecutionSubmitted, Hooks
from ..records import Prediction, WorkflowExecution
from ..transport.call import Call
from ..transport.creations import Creations
from ..transport.endpoints import Endpoint
from ..transport.transport import Transport
from ..transport.wire import http_date
from .account_limit import RememberedLimit
from .claims import Claims, SentInput
from .own_executions import OwnExecutions
from .service_clock import ServiceClock


def cost_usd(record: object) -> float | None:
    """Return what an execution cost in USD, as its record states it, None if it states nothing."""
    if isinstance(record, WorkflowExecution):
        return record.total_cost
    metrics = record.metrics if isinstance(record, Prediction) else None
    return None if metrics is None else metrics.cost


def scope_of(filters: Mapping[str, str]) -> str:
    """Return the scope in which equal inputs mean the same: that of a listing with these arguments."""
    return json.dumps(filters, sort_keys=True)


class Ledger:
    """The executions that one client created; all of its views share one ledger.

    `creations` is the part that the transport needs: the creating calls in flight and the pause of creations.
    `account_limit` is the number of executions that the account runs at once as the last map learned it, or None if it
    met no limit.
    """

    __slots__ = ("_clocks", "account_limit", "claims", "creations", "executions", "hooks")

    def __init__(self, hooks: Hooks | None = None) -> None:
        self.hooks = hooks
        self.claims = Claims()
        self.executions = OwnExecutions()
        self.creations = Creations(self.executions.running)
        self.account_limit: RememberedLimit | None = None
        self._clocks: dict[str, ServiceClock] = {}

    def clock(self, transport: Transport, endpoint: Endpoint) -> ServiceClock:
        """Return the clock of the service that an endpoint belongs to."""
        url = transport.session.hosts.service(endpoint.service).base_url
        return self._clocks.setdefault(url, ServiceClock())

    def observe(self, transport: Transport, call: Call, sent_at: float) -> None:
        """Record the time in the answer to a call that was sent at `sent_at` (Unix time)."""
        if call.endpoint is not None:
            clock = self.clock(transport, call.endpoint)
            clock.observe(http_date(call.headers.get("Date")), sent_at, time.time())

    def accept(self, inputs: Sequence[SentInput], ids: Sequence[str | None]) -> None:
        """Record the execution of each input as an answer names it; the other inputs were not carried out.

        Raises `ResponseDecodeError` if the answer names one that belongs to another input, or one twice.
        """
        named = [identity for identity in ids if identity is not None]
        for number, identity in enumerate(named):
            if identity in self.claims or identity in named[:number]:
                raise ResponseDecodeError(f"the answer names {identity}, which already belongs to another call")
        for one, found in zip(inputs, ids, strict=False):
            if found is not None:
                self.claims.claim(one, found)
        self.created(named)

    def created(self, ids: Iterable[str]) -> None:
        """Record executions that a call created: the call claims them, and they run."""
        found = list(ids)
        self.claims.add(found)
        self.executions.created(found, _now())
        if found:
            self.creations.succeeded()
        if self.hooks is not None:
            for identity in found:
                self.hooks.emit(ExecutionSubmitted(id=identity))

    def seen(self, identity: str, *, finished: bool, record: object = None) -> None:
        """Record the state in which an execution was found, with the record if it was read."""
        if self.executions.seen(identity, finished=finished, now=_now()):
            self.report_end(identity, record)

    def report_end(self, identity: str, record: object) -> None:
        """Tell the hooks that an execution of this client has ended, with the record if it was read."""
        if self.hooks is not None:
            status, cost = getattr(record, "status", None), cost_usd(record)
            self.hooks.emit(ExecutionEnded(id=identity, status=status, cost_usd=cost))

    def running(self) -> int:
        """Return how many executions of this client run or are being created."""
        return self.creations.running(_now())

    def paused_for_s(self) -> float:
        """Return for how many seconds nothing may be created; zero or less if creating is possible."""
        return self.creations.paused_until - _now()

    @property
    def ends_are_observed(self) -> bool:
        """Whether an end of an execution will be noticed: a map watches one, or a creating request is in flight."""
        return bool(self.creations.in_flight()) or self.executions.is_watched


def _now() -> float:
    return asyncio.get_running_loop().time()
