"""Owns what can go wrong: the kinds of fault.

A fault either takes the place of the answer (a status, a reset, a cut body) or shapes it (latency, a capped
total). One that takes its place strikes before the request is carried out, so that it did nothing, or after it:
`late=True`, and a cut or stalled answer always, so that what was asked for has been done and the client cannot know.
It refuses to say when: that is `faults.py`; and sockets: what a broken connection takes is in `wire.py`.
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
    """One thing that can go wrong; made by the constructors below, given to `Faults.add` or `Faults.random`.

    `late` says that it strikes when the request has been carried out: its state has changed, and the answer is lost.
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
        """Answer with a status.

        `body` is sent as it is (a mapping as JSON), by default an error that names the status. `retry_after`
        becomes the header: seconds, an aware datetime (sent as an HTTP date), or text as it is. `late` carries
        the request out first: a 503 after a trigger that was taken on.
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
        """Answer with a proxy's page of HTML (200 is possible too); `late` carries the request out first."""
        return cls(kind="html", late=late, reply=Reply(status, _HTML, {}, "text/html"))

    @classmethod
    def redirect(cls, location: str, status: int = 302) -> Fault:
        """Send the client elsewhere."""
        return cls(kind="redirect", reply=Reply(status, b"", {"Location": location}, "text/plain"))

    @classmethod
    def reset(cls, *, late: bool = False) -> Fault:
        """Reset the connection (RST) before any byte of an answer; `late` carries the request out first."""
        return cls(kind="reset", late=late)

    @classmethod
    def cut_headers(cls) -> Fault:
        """Carry the request out, and close the connection in the middle of the answer's headers."""
        return cls(kind="cut_headers", late=True)

    @classmethod
    def cut_body(cls, keep: float = 0.5) -> Fault:
        """Carry the request out, declare the whole body, send the share `keep` (0..1) of it, and close."""
        return cls(kind="cut_body", late=True, keep=keep)

    @classmethod
    def stalled_body(cls, keep: float = 0.5) -> Fault:
        """Carry the request out, send the share `keep` (0..1) of the body, and hold until the client leaves."""
        return cls(kind="stalled_body", late=True, keep=keep)

    @classmethod
    def stalled_answer(cls, *, late: bool = False) -> Fault:
        """Send nothing at all, and hold until the client leaves; `late` carries the request out first."""
        return cls(kind="stalled_answer", late=late)

    @classmethod
    def concurrency_cap(cls, most: int, *, retry_after: float | None = None) -> Fault:
        """Answer 429 while `most` requests under the same rule are in flight already.

        A rule with this fault applies for ever: its `times` counts refusals.
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
        """Wait `seconds`, and up to `jitter` seconds more, before anything else."""
        return cls(kind="latency", breaks=False, seconds=seconds, jitter=jitter)

    @classmethod
    def deep_offset(cls, seconds_per_1000: float) -> Fault:
        """Wait `seconds_per_1000` for every 1000 rows that stand before the page, as databases do."""
        return cls(kind="deep_offset", breaks=False, seconds_per_1000=seconds_per_1000)

    @classmethod
    def capped_total(cls, at: int, *, exact_on_last_page: bool = True) -> Fault:
        """State at most `at` as the total of the list of executions, and `total_capped: true` where rows go on.

        Answers without such a total stay as they are.

        As documented, the last page that has rows gives the exact total; `exact_on_last_page=False` caps
        there too.
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
        """Give pages of `largest` rows at most; `stated=False` echoes the limit asked for all the same."""
        return cls(kind="clamped_limit", breaks=False, clamp=Clamp(largest, stated))

    @classmethod
    def short_page(cls, rows: int = 0) -> Fault:
        """Give at most `rows` rows of a page by cursor, and say that there are more, whether there are or not.

        The next cursor continues behind the rows given: nothing is lost. Struck for ever (`times=None`), the listing
        has no end.
        """
        return cls(kind="short_page", breaks=False, page_limit=rows)

    @classmethod
    def lost_cursor(cls) -> Fault:
        """Write `null` as the next cursor where there are more rows."""

        def edited(body: Any, request: RecordedRequest) -> Any:
            if "next_cursor" in body:
                body["next_cursor"] = None
            return body

        return cls(kind="lost_cursor", breaks=False, edits=edited)

    @classmethod
    def null_rows(cls) -> Fault:
        """Write `null` where the rows should be."""

        def edited(body: Any, request: RecordedRequest) -> Any:
            if isinstance(body, list):
                return None
            return {name: None if name in _ROWS else value for name, value in body.items()}

        return cls(kind="null_rows", breaks=False, edits=edited)

    @classmethod
    def edit(cls, change: Edit) -> Fault:
        """Put what `change(reply, request)` gives in place of the decoded JSON of a success."""
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
"""What `Faults.random` draws from unless told otherwise: what a client notices at once and can try again."""
