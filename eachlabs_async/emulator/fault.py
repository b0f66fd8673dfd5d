"""The kinds of fault that an emulator can inject.

A fault either replaces the response (a status, a reset, a truncated body) or shapes it (latency, a capped total). One
that replaces the response acts before the request is carried out, which then has no effect, or after it, so that the
client cannot know of the effect: the latter with `late=True`, and always for truncated headers and for truncated or
stalled bodies. `fault_rules` decides which requests meet a fault, and `raw_faults` breaks connections.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from email.utils import format_datetime
from typing import Any, Final

from attrs import field, frozen, validators

from .collection import encode
from .handler_request import Clamp
from .reply import Reply, error_reply, reason_phrase
from .request_log import RecordedRequest

__all__ = ["DEFAULT_KINDS", "Edit", "Fault"]

Edit = Callable[[Any, RecordedRequest], Any]

_ROWS: Final = ("executions", "items", "workflows", "webhooks")
_BODILESS: Final = (204, 304)
_HTML: Final = b"<html><head><title>Bad Gateway</title></head><body><h1>Bad Gateway</h1></body></html>\n"


@frozen(kw_only=True)
class Fault:
    """One thing that can go wrong, made by a constructor below and passed to `Faults.add` or `Faults.random`.

    A `late` fault acts after the request was carried out: its effect remains, and the response is lost.
    """

    kind: str
    breaks: bool = True
    late: bool = False
    reply: Reply | None = None
    keep: float = field(default=0.5, validator=[validators.ge(0), validators.le(1)])
    seconds: float = field(default=0.0, validator=validators.ge(0))
    jitter: float = field(default=0.0, validator=validators.ge(0))
    seconds_per_1000: float = field(default=0.0, validator=validators.ge(0))
    clamp: Clamp | None = None
    edits: Edit | None = None
    most: int = 0
    page_limit: int | None = field(default=None, validator=validators.optional(validators.ge(0)))

    @classmethod
    def status(
        cls,
        status: int,
        *,
        body: bytes | str | Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
        retry_after: float | str | datetime | None = None,
        content_type: str = "application/json",
        late: bool = False,
    ) -> Fault:
        """Respond with a status.

        `body` is sent as it is (a mapping as JSON); the default is an error with the reason phrase of the status.
        `retry_after` sets the header: a number of seconds, an aware datetime (sent as an HTTP date), or text as it is.
        `late` carries the request out first, as when a trigger was accepted and the response is a 503.
        """
        if body is None:
            body = b"" if status in _BODILESS else error_reply(status, reason_phrase(status).lower()).body
        elif isinstance(body, str):
            body = body.encode()
        elif isinstance(body, Mapping):
            body = encode(dict(body))
        sent = dict(headers or {})
        if isinstance(retry_after, datetime):
            sent["Retry-After"] = format_datetime(retry_after, usegmt=True)
        elif retry_after is not None:
            sent["Retry-After"] = retry_after if isinstance(retry_after, str) else f"{retry_after:g}"
        return cls(kind="status", late=late, reply=Reply(status, body, sent, content_type))

    @classmethod
    def html(cls, status: int = 502, *, late: bool = False) -> Fault:
        """Respond with the HTML page of a proxy. `status` may be 200. `late` carries the request out first."""
        return cls(kind="html", late=late, reply=Reply(status, _HTML, {}, "text/html"))

    @classmethod
    def redirect(cls, location: str, status: int = 302) -> Fault:
        """Redirect the client to `location`."""
        return cls(kind="redirect", reply=Reply(status, b"", {"Location": location}, "text/plain"))

    @classmethod
    def reset(cls, *, late: bool = False) -> Fault:
        """Reset the connection (RST) before the first byte of a response. `late` carries the request out first."""
        return cls(kind="reset", late=late)

    @classmethod
    def cut_headers(cls) -> Fault:
        """Carry the request out, and close the connection in the middle of the response's headers."""
        return cls(kind="cut_headers", late=True)

    @classmethod
    def cut_body(cls, keep: float = 0.5) -> Fault:
        """Carry the request out, declare the whole body, send the share `keep` (0..1) of it, and disconnect."""
        return cls(kind="cut_body", late=True, keep=keep)

    @classmethod
    def stalled_body(cls, keep: float = 0.5) -> Fault:
        """Carry the request out, send the share `keep` (0..1) of the body, and hold until the client leaves."""
        return cls(kind="stalled_body", late=True, keep=keep)

    @classmethod
    def stalled_answer(cls, *, late: bool = False) -> Fault:
        """Send nothing, and hold the connection until the client leaves. `late` carries the request out first."""
        return cls(kind="stalled_answer", late=late)

    @classmethod
    def concurrency_cap(cls, most: int, *, retry_after: float | None = None) -> Fault:
        """Respond with a 429 while `most` requests are already in flight under the same rule.

        Such a rule stays in force: its `times` limits the number of 429s.
        """
        body = {
            "error": "concurrent execution limit reached",
            "status": 429,
            "code": "CONCURRENCY_LIMIT",
            "details": {"limit": most},
        }
        reply = cls.status(429, body=body, retry_after=retry_after).reply
        return cls(kind="concurrency_cap", reply=reply, most=most)

    @classmethod
    def latency(cls, seconds: float, *, jitter: float = 0.0) -> Fault:
        """Wait `seconds` and a random part of `jitter` seconds before handling the request."""
        return cls(kind="latency", breaks=False, seconds=seconds, jitter=jitter)

    @classmethod
    def deep_offset(cls, seconds_per_1000: float) -> Fault:
        """Wait `seconds_per_1000` for every 1000 rows before the page, as databases do at deep offsets."""
        return cls(kind="deep_offset", breaks=False, seconds_per_1000=seconds_per_1000)

    @classmethod
    def capped_total(cls, at: int, *, exact_on_last_page: bool = True) -> Fault:
        """State a total of at most `at` in listings of executions, with `total_capped: true`.

        As documented, the last page with rows states the exact total; `exact_on_last_page=False` caps it there too.
        Responses without such a total are unchanged.
        """

        def edited(body: Any, request: RecordedRequest) -> Any:
            if "total_capped" not in body:
                return body
            total = body["total_count"]
            end = body["offset"] + len(body["executions"])
            last = bool(body["executions"]) and end >= total
            if total > at and not (last and exact_on_last_page):
                body.update(total_count=at, total_capped=True)
            return body

        return cls(kind="capped_total", breaks=False, edits=edited)

    @classmethod
    def clamped_limit(cls, largest: int, *, stated: bool = True) -> Fault:
        """Send pages of at most `largest` rows. Responses state this limit; with `stated=False`, the requested one."""
        return cls(kind="clamped_limit", breaks=False, clamp=Clamp(largest, stated))

    @classmethod
    def short_page(cls, rows: int = 0) -> Fault:
        """Send pages by cursor with at most `rows` rows, and always say that more follow.

        The next cursor continues behind these rows, so nothing is lost. Under a rule without `times` the listing never
        ends.
        """
        return cls(kind="short_page", breaks=False, page_limit=rows)

    @classmethod
    def lost_cursor(cls) -> Fault:
        """Send `null` as the next cursor although more rows follow."""

        def edited(body: Any, request: RecordedRequest) -> Any:
            if "next_cursor" in body:
                body["next_cursor"] = None
            return body

        return cls(kind="lost_cursor", breaks=False, edits=edited)

    @classmethod
    def null_rows(cls) -> Fault:
        """Send `null` in place of the rows."""

        def edited(body: Any, request: RecordedRequest) -> Any:
            if isinstance(body, list):
                return None
            return {name: None if name in _ROWS else value for name, value in body.items()}

        return cls(kind="null_rows", breaks=False, edits=edited)

    @classmethod
    def edit(cls, change: Edit) -> Fault:
        """Replace the decoded JSON of a success with the result of `change(body, request)`."""
        return cls(kind="edit", breaks=False, edits=change)


DEFAULT_KINDS: Final[tuple[Fault, ...]] = (
    Fault.status(503),
    Fault.status(500),
    Fault.status(429),
    Fault.html(502),
    Fault.reset(),
    Fault.cut_headers(),
    Fault.cut_body(),
)
"""The default kinds of `Faults.random`: those that a client notices at once and can retry."""
