"""Owns the front door: arguments and environment become one shared session and the resources on it.

It refuses I/O in its constructor: the first call opens the first connection.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from types import TracebackType
from typing import Any, Literal, Self, TypeVar

import aiohttp

from .errors import ConfigurationError
from .hosts import Hosts, ServiceName, default_hosts
from .resources.billing import Billing
from .resources.executions import Executions
from .resources.files import Files
from .resources.flow_executions import FlowExecutions
from .resources.models import Models
from .resources.predictions import Predictions
from .resources.public_workflows import PublicWorkflows
from .resources.runs import Runs
from .resources.webhooks import Webhooks
from .resources.workflow_executions import WorkflowExecutions
from .resources.workflows import Workflows
from .transport.arguments import checked_count
from .transport.call import Call
from .transport.keys import checked_key
from .transport.requests import encoded
from .transport.retry import RetryPolicy, Timeouts
from .transport.session import Session
from .transport.transport import Transport
from .transport.wire import checked_path, query

V = TypeVar("V")

_REPEATABLE = {"GET": True, "HEAD": True, "PUT": True, "DELETE": True, "POST": False, "PATCH": False}


class EachLabs:
    """A client of the Each Labs services; `async with` it, or `await client.close()` when done.

    `api_key` is the Each Labs key, else `EACHLABS_API_KEY`; `runs_api_key` the Noxus key, else `NOXUS_API_KEY`.
    A key is missed only by the call that needs it (`ConfigurationError`). `hosts` is `COMPAT`, `UNIFIED` or your
    own; None takes what `EACHLABS_EDITION` names, else `COMPAT`. `session` is an `aiohttp.ClientSession` of yours:
    it is used and never closed. `retry` and `timeouts` hold for every call, see `with_options`.
    `max_concurrency` bounds the requests in flight over all services, from 1.
    """

    executions: Executions
    workflow_executions: WorkflowExecutions
    flow_executions: FlowExecutions
    runs: Runs
    workflows: Workflows
    public_workflows: PublicWorkflows
    predictions: Predictions
    models: Models
    billing: Billing
    webhooks: Webhooks
    files: Files

    def __init__(
        self,
        api_key: str | None = None,
        *,
        hosts: Hosts | None = None,
        runs_api_key: str | None = None,
        session: aiohttp.ClientSession | None = None,
        retry: RetryPolicy = RetryPolicy(),  # noqa: B008  # frozen, so one default is as good as many
        timeouts: Timeouts = Timeouts(),  # noqa: B008  # as the policy
        max_concurrency: int = 64,
    ) -> None:
        # First of all the keys go where no traceback's locals show them, also where they are refused.
        key = runs_key = refused = None
        try:
            key, runs_key = checked_key("api_key", api_key), checked_key("runs_api_key", runs_api_key)
            key = key or checked_key("api_key", os.environ.get("EACHLABS_API_KEY"))
            runs_key = runs_key or checked_key("runs_api_key", os.environ.get("NOXUS_API_KEY"))
        except (TypeError, ConfigurationError) as exc:
            refused = exc.with_traceback(None)
        api_key = runs_api_key = None
        if refused is not None:
            raise refused
        if hosts is not None and not isinstance(hosts, Hosts):
            raise TypeError(f"hosts must be a Hosts, not {type(hosts).__name__}")
        if session is not None and not isinstance(session, aiohttp.ClientSession):
            raise TypeError(f"session must be an aiohttp.ClientSession, not {type(session).__name__}")
        shared = Session(
            default_hosts() if hosts is None else hosts,
            api_key=key,
            runs_api_key=runs_key,
            given=session,
            max_concurrency=checked_count("max_concurrency", max_concurrency, least=1),
        )
        self._open(shared, _checked("retry", retry, RetryPolicy), _checked("timeouts", timeouts, Timeouts), True)

    def _open(self, session: Session, retry: RetryPolicy, timeouts: Timeouts, owner: bool) -> None:
        self._session = session
        self._owner = owner
        self._transport = transport = Transport(session, retry, timeouts)
        self.executions = Executions(transport)
        self.workflow_executions = WorkflowExecutions(transport)
        self.flow_executions = FlowExecutions(transport)
        self.runs = Runs(transport)
        self.workflows = Workflows(transport)
        self.public_workflows = PublicWorkflows(transport)
        self.predictions = Predictions(transport)
        self.models = Models(transport)
        self.billing = Billing(transport)
        self.webhooks = Webhooks(transport)
        self.files = Files(transport)

    def __repr__(self) -> str:
        if not hasattr(self, "_session"):  # A traceback may show a client whose arguments were refused.
            return "<EachLabs client, not set up>"
        state = "closed" if self._session.closed else "open"
        return f"<EachLabs client, {self._session.hosts.edition} edition, {state}>"

    @property
    def hosts(self) -> Hosts:
        """The hosts that this client talks to."""
        return self._session.hosts

    def with_options(self, *, retry: RetryPolicy | None = None, timeouts: Timeouts | None = None) -> EachLabs:
        """Give a view on the same session, keys and bounds with another retry policy or other time-outs.

        What is left out stays as it is. Closing a view does nothing: the client it came from owns the session.
        """
        view = object.__new__(type(self))
        view._open(
            self._session,
            self._transport.retry if retry is None else _checked("retry", retry, RetryPolicy),
            self._transport.timeouts if timeouts is None else _checked("timeouts", timeouts, Timeouts),
            False,
        )
        return view

    async def request(
        self,
        service: ServiceName,
        method: Literal["GET", "POST", "PUT", "PATCH", "DELETE", "HEAD"],
        path: str,
        *,
        params: Mapping[str, object] | None = None,
        json: Any = None,
    ) -> Any:
        """Call an endpoint that has no method here yet, with all the care of the others; gives the decoded JSON.

        `path` begins with a slash and goes below the base URL of `service`; encode what stands in it. A POST or
        PATCH is taken to create something: it is never sent twice unless the first certainly did nothing, and
        where that cannot be told the error is `OutcomeUnknownError`. An empty body gives None.
        """
        if not isinstance(method, str) or method not in _REPEATABLE:
            raise ValueError(f"method must be one of {', '.join(_REPEATABLE)}, not {method!r}")
        self._session.hosts.service(service)
        below = checked_path(path)
        found = "" if params is None else query(params)
        body = None if json is None else encoded("json", json)
        where = self._session.service(service)
        call = Call(where, method, where.url(below, found), body=body, creating=not _REPEATABLE[method])
        call.asked = int(call.creating)  # perhaps an execution
        return await self._transport.get_json(call)

    async def close(self) -> None:
        """Close the client: calls from now on are a `ConfigurationError`. A session that was passed in stays open."""
        if self._owner:
            await self._session.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()


def _checked(name: str, value: object, kind: type[V]) -> V:
    if not isinstance(value, kind):
        raise TypeError(f"{name} must be a {kind.__name__}, not {type(value).__name__}")
    return value
