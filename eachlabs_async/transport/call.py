"""Describe one call: what is sent, and its state while it is carried out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from yarl import URL

from .adapter import RequestBody
from .deadline import Deadline
from .endpoints import Endpoint
from .service import BoundService

if TYPE_CHECKING:
    from .call_events import CallEvents


class Call:
    """One call of an endpoint, or of a path that the caller wrote; `endpoint` is then None.

    `creating` marks a call that must not be carried out twice, and `execution_count` is the number of executions that
    it asks for. With `fresh` it gets a new connection, as a creating call always does. A `background` call, of a bulk
    job or a walk, queues behind single calls. `chosen_by_caller` is False where this package chose the endpoint, so
    that no one is warned of its deprecation.

    `attempts` counts the attempts. `in_flight` is True while an attempt is under way. `attempted` is True from then on
    until the wait for the next attempt has ended: without it, an error is not this request's own but, for instance, the
    cause of a pause. `request_body` is the body of the current attempt, where it matters whether it has begun to leave.
    `headers` are those of the successful response. `request_id` is the id of the last attempt; each has its own.
    `number` and `events` are for the hooks of the client, None without any.
    """

    __slots__ = (
        "attempted",
        "attempts",
        "background",
        "body",
        "chosen_by_caller",
        "creating",
        "deadline",
        "endpoint",
        "events",
        "execution_count",
        "fresh",
        "headers",
        "in_flight",
        "method",
        "number",
        "request_body",
        "request_id",
        "service",
        "url",
    )

    deadline: Deadline
    headers: Mapping[str, str]

    def __init__(
        self,
        service: BoundService,
        method: str,
        url: URL,
        *,
        body: bytes | None = None,
        creating: bool = False,
        background: bool = False,
        endpoint: Endpoint | None = None,
        chosen_by_caller: bool = True,
    ) -> None:
        self.service = service
        self.method = method
        self.url = url
        self.body = body
        self.creating = creating
        self.fresh = creating
        self.execution_count = 0
        self.background = background
        self.endpoint = endpoint
        self.chosen_by_caller = chosen_by_caller
        self.attempts = 0
        self.request_id = ""
        self.in_flight = False
        self.request_body: RequestBody | None = None
        self.attempted = False
        self.number: int | None = None
        self.events: CallEvents | None = None

    @property
    def may_have_arrived(self) -> bool:
        """Whether an attempt is under way and may have reached the server."""
        return self.in_flight and (self.request_body is None or self.request_body.write_started)
