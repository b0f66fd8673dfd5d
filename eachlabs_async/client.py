"""The client: it makes one session of its arguments and the environment, and the resources on that session.

Making a client does no I/O; the first call opens the first connection.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from ssl import SSLContext
from types import TracebackType
from typing import Any, Literal, NoReturn, Self, TypeVar

import aiohttp

from .errors import ConfigurationError
from .hooks import Hook, checked_hooks
from .hosts import Hosts, ServiceName, default_hosts
from .jobs.ledger import Ledger
from .pagination.listing_choice import RefusedListings
from .resources.billing import Billing
from .resources.executions import Executions
from .resources.files import Files
from .resources.flow_executions import FlowExecutions
from .resources.models import Models
from .resources.predictions import Predictions
from .resources.public_workflows import PublicWorkflows
from .resources.runs import Runs
from .resources.webhook_deliveries import WebhookDeliveries
from .resources.workflow_executions import WorkflowExecutions
from .resources.workflows import Workflows
from .transport.arguments import checked_count
from .transport.call import Call
from .transport.guidance import NamesGuide, WithGuide
from .transport.keys import checked_key
from .transport.requests import encoded
from .transport.retry import RetryPolicy, Timeouts
from .transport.session import Session
from .transport.transport import Transport
from .transport.wire import checked_path, query

V = TypeVar("V")

_REPEATABLE = {"GET": True, "HEAD": True, "PUT": True, "DELETE": True, "POST": False, "PATCH": False}


class EachLabs(NamesGuide, WithGuide):
    """A client of the Each Labs services. Use it with `async with`, or call `await client.close()` at the end.

    Its attributes have the calls: `executions`, `workflow_executions`, `flow_executions`, `runs`, `workflows`,
    `public_workflows`, `predictions`, `models`, `billing`, `webhook_deliveries` and `files`; `help(Executions)` and so
    on, of `eachlabs_async.resources`, describe them. `request` calls any other endpoint.

    `api_key` is the Each Labs key and defaults to the environment variable `EACHLABS_API_KEY`; `runs_api_key` is the
    Noxus key and defaults to `NOXUS_API_KEY`. Only a call that needs a missing key raises `ConfigurationError`.
    `hosts` is `COMPAT`, `UNIFIED` or a `Hosts` of your own; None selects the edition that `EACHLABS_EDITION` names, or
    `COMPAT`. A `session` that you pass in is used and never closed. `ssl` is a context with your certificate
    authorities or your client certificate, for the services and the storages alike; it cannot be combined with a
    `session`. `retry` and `timeouts` apply to every call, see `with_options`. `max_concurrency` is the largest number
    of requests in flight over all services, and of connections that are kept open, from 1. `max_answer_bytes` is the
    largest body of a response, from 1 and after decompression; a larger one raises `ResponseTooLargeError`. Downloads
    have a `max_bytes` of their own. `hooks` are functions that are called with an event for each thing that the client
    does, see `eachlabs_async.hooks`.
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
    webhook_deliveries: WebhookDeliveries
    files: Files

    def __init__(
        self,
        api_key: str | None = None,
        *,
        hosts: Hosts | None = None,
        runs_api_key: str | None = None,
        session: aiohttp.ClientSession | None = None,
        ssl: SSLContext | None = None,
        retry: RetryPolicy = RetryPolicy(),  # noqa: B008  # frozen, so one default is as good as many
        timeouts: Timeouts = Timeouts(),  # noqa: B008  # like the policy
        max_concurrency: int = 64,
        max_answer_bytes: int = 64 * 1024 * 1024,
        hooks: Iterable[Hook] = (),
    ) -> None:
        # Before anything else the keys are wrapped, even those that are refused: a traceback shows the locals.
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
        if ssl is not None and not isinstance(ssl, SSLContext):
            raise TypeError(f"ssl must be an ssl.SSLContext, not {type(ssl).__name__}")
        if ssl is not None and session is not None:
            raise ConfigurationError("ssl is for a client's own connections: pass it to the connector of your session")
        called = checked_hooks(hooks)
        ledger = Ledger(called)
        shared = Session(
            default_hosts() if hosts is None else hosts,
            api_key=key,
            runs_api_key=runs_key,
            external=session,
            context=ssl,
            max_concurrency=checked_count("max_concurrency", max_concurrency, least=1),
            max_answer_bytes=checked_count("max_answer_bytes", max_answer_bytes, least=1),
            creations=ledger.creations,
            hooks=called,
        )
        self._owns_session = True
        self._set_up(
            shared,
            ledger,
            RefusedListings(),
            _checked("retry", retry, RetryPolicy),
            _checked("timeouts", timeouts, Timeouts),
        )

    def _set_up(
        self, session: Session, ledger: Ledger, refused: RefusedListings, retry: RetryPolicy, timeouts: Timeouts
    ) -> None:
        self._session = session
        self._ledger = ledger
        self._refused = refused
        self._transport = transport = Transport(session, retry, timeouts)
        self.executions = Executions(transport, refused)
        self.workflow_executions = WorkflowExecutions(transport, ledger)
        self.flow_executions = FlowExecutions(transport)
        self.runs = Runs(transport)
        self.workflows = Workflows(transport, ledger)
        self.public_workflows = PublicWorkflows(transport, ledger)
        self.predictions = Predictions(transport, ledger, refused)
        self.models = Models(transport)
        self.billing = Billing(transport)
        self.webhook_deliveries = WebhookDeliveries(transport)
        self.files = Files(transport)

    def __reduce__(self) -> NoReturn:
        raise TypeError(
            "an EachLabs client cannot be pickled or copied: make one in each process, "
            "or use with_options() for a view of this one"
        )

    def __repr__(self) -> str:
        if not hasattr(self, "_session"):  # A traceback may show a client with refused arguments.
            return "<EachLabs client, not set up>"
        state = "closed" if self._session.closed else "open"
        return f"<EachLabs client, {self._session.hosts.edition} edition, {state}>"

    @property
    def hosts(self) -> Hosts:
        """The hosts that this client calls."""
        return self._session.hosts

    @property
    def webhooks(self) -> WebhookDeliveries:
        """Another name of `webhook_deliveries`."""
        return self.webhook_deliveries

    def with_options(self, *, retry: RetryPolicy | None = None, timeouts: Timeouts | None = None) -> Self:
        """Return a view of this client with another retry policy or other timeouts.

        Arguments that are left out keep their values. A view shares the session, the keys and the limits of the client,
        and what is known of its executions. Closing a view does nothing: the client owns the session.
        """
        view = object.__new__(type(self))
        view._owns_session = False
        view._set_up(
            self._session,
            self._ledger,
            self._refused,
            self._transport.retry if retry is None else _checked("retry", retry, RetryPolicy),
            self._transport.timeouts if timeouts is None else _checked("timeouts", timeouts, Timeouts),
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
        """Call an endpoint that has no method of its own, under the same rules, and return the decoded JSON.

        `path` begins with a slash and is appended to the base URL of `service`; its arguments must be percent-encoded.
        `params` is the query, `json` the body. The result is None for an empty body. A POST or PATCH is taken to create
        something: it is sent again only if the first request certainly did nothing.

        Raises `OutcomeUnknownError` if a POST or PATCH may have been carried out, `ValueError` or `TypeError` at once
        for an argument that cannot be right, and the other errors of a call.
        """
        if not isinstance(method, str) or method not in _REPEATABLE:
            raise ValueError(f"method must be one of {', '.join(_REPEATABLE)}, not {method!r}")
        self._session.hosts.service(service)
        checked = checked_path(path)
        encoded_query = "" if params is None else query(params)
        body = None if json is None else encoded("json", json)
        bound = self._session.service(service)
        call = Call(bound, method, bound.url(checked, encoded_query), body=body, creating=not _REPEATABLE[method])
        call.execution_count = int(call.creating)  # It may create an execution.
        return await self._transport.get_json(call)

    async def close(self) -> None:
        """Close the client; later calls raise `ConfigurationError`. A session that was passed in stays open."""
        if self._owns_session:
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
