"""One call: what is sent, and how far it has come."""

from __future__ import annotations

from collections.abc import Mapping

from yarl import URL

from .adapter import RequestBody
from .deadline import Deadline
from .endpoints import Endpoint
from .service import BoundService


class Call:
    """One call: what is sent, and how far it has come.

    `creating` marks a call that must not be carried out twice, and `asked` is the number of executions that it asks
    for. A `background` call, of a bulk job or a walk, queues behind single calls. `attempts` counts the tries.
    `in_flight` is True while a try is out, and `tried` from then on: an earlier error, such as the cause of a pause, is
    not this request's own. `outgoing` is the body of this try, where it matters whether it has begun to leave.
    `headers` are those of the success. `request_id` is the id of the last try; each try has its own. `chosen` is False
    where this package and not the caller chose the `endpoint`, so that nobody is warned of its deprecation; the
    endpoint is None for a path that the caller wrote.
    """

    __slots__ = (
        "asked",
        "attempts",
        "background",
        "body",
        "chosen",
        "creating",
        "deadline",
        "endpoint",
        "headers",
        "in_flight",
        "method",
        "outgoing",
        "request_id",
        "service",
        "tried",
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
        chosen: bool = True,
    ) -> None:
        self.service = service
        self.method = method
        self.url = url
        self.body = body
        self.creating = creating
        self.asked = 0
        self.background = background
        self.endpoint = endpoint
        self.chosen = chosen
        self.attempts = 0
        self.request_id = ""
        self.in_flight = False
        self.outgoing: RequestBody | None = None
        self.tried = False

    @property
    def is_out(self) -> bool:
        """Say whether a try is under way and may have reached the server."""
        return self.in_flight and (self.outgoing is None or self.outgoing.left)
