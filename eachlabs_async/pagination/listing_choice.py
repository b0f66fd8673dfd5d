"""Choosing between the two listings of executions, and recognizing answers that rule one of them out.

Sending the requests is left to `execution_pager` and `first_rows`.
"""

from __future__ import annotations

import logging
import re
from datetime import datetime
from typing import Final, Literal

from ..errors import APIStatusError, PaginationError
from ..transport.arguments import rfc3339
from ..transport.session import Session

ListingStrategy = Literal["cursor", "seek"]

log: Final = logging.getLogger("eachlabs_async")

_NOT_OFFERED: Final = frozenset({404, 405, 410, 501})
_TOO_DEEP: Final = re.compile("/v2/executions|pagination|offset|limited to")
_OTHER: Final[dict[ListingStrategy, ListingStrategy]] = {"cursor": "seek", "seek": "cursor"}
_DESCRIPTIONS: Final[dict[ListingStrategy, str]] = {
    "cursor": "/v2/executions, by cursor",
    "seek": "/v1/executions, by seeking",
}


def is_refused(failure: APIStatusError, strategy: ListingStrategy, session: Session) -> bool:
    """Whether an answer means that the service does not offer a listing, or not with this form of authentication.

    The service does not document whether `/v2/executions` accepts the key as `X-API-Key`. A 404 always means that the
    listing is missing: both listings return an empty page if there are no rows.
    """
    if failure.status == 401:
        return strategy == "cursor" and session.hosts.api.auth == "x-api-key"
    return failure.status in _NOT_OFFERED


def is_too_deep(failure: APIStatusError) -> bool:
    """Whether an answer means that the offset is too deep for `/v1/executions`."""
    return failure.status == 400 and _TOO_DEEP.search(failure.message) is not None


def too_deep(depth: int, at: datetime | None) -> PaginationError:
    """Return the error for a walk whose next rows `/v1/executions` does not serve; `at` is the time of the last row."""
    if at is not None:
        return PaginationError(
            f"more than {depth} executions share the second of {rfc3339(at)}, and /v1/executions serves no more rows "
            "of one time span: only /v2/executions can list them, see Hosts.executions_by"
        )
    return PaginationError(
        f"/v1/executions serves {depth} rows, and the following ones cannot be requested by time, because the rows are "
        "not ordered by time: only /v2/executions can list them, see Hosts.executions_by"
    )


class RefusedListings(dict[ListingStrategy, APIStatusError]):
    """The listings that the service refused, each with the error. All views of a client share it."""


class ListingChoice:
    """The listing that one walk uses: the one set by `Hosts.executions_by`, or for "auto" `first`, then the other one.

    `first` defaults to the listing that belongs to the edition.
    """

    def __init__(self, session: Session, refused: RefusedListings, *, first: ListingStrategy | None = None) -> None:
        self._session = session
        self._refused = refused
        own: ListingStrategy = "cursor" if session.hosts.edition == "unified" else "seek"
        self._first: ListingStrategy = first or own
        self._tried: list[ListingStrategy] = []
        self._too_deep: PaginationError | None = None

    def next_strategy(self) -> ListingStrategy:
        """Return the listing to try next."""
        hosts, refused = self._session.hosts, self._refused
        if hosts.executions_by != "auto":
            strategy: ListingStrategy = hosts.executions_by
        else:
            strategy = self._first
            if strategy in self._tried or (strategy in refused and _OTHER[strategy] not in refused):
                strategy = _OTHER[strategy]
        self._tried.append(strategy)
        return strategy

    def reject(self, failure: APIStatusError | PaginationError) -> None:
        """Record that the chosen listing cannot be used; raise `failure` if there is no other one to try.

        A listing that the service itself refused is recorded for the whole client.
        """
        session, strategy = self._session, self._tried[-1]
        other = _OTHER[strategy]
        if isinstance(failure, APIStatusError):
            self._refused[strategy] = failure
        else:
            self._too_deep = failure
        refused = self._refused.get(strategy if isinstance(failure, APIStatusError) else other)
        if session.hosts.executions_by != "auto" or other in self._tried or other in self._refused:
            if self._too_deep is not None and refused is not None:
                # The depth limit ends the walk; the refusal explains why the other listing cannot continue it.
                message = f"{self._too_deep.message} (the service refused that listing: HTTP {refused.status})"
                failure = PaginationError(message, method=refused.method, url=refused.url, attempts=refused.attempts)
            raise failure
        log.info(
            "cannot list executions with %s (%s): continuing with %s",
            _DESCRIPTIONS[strategy],
            failure.message,
            _DESCRIPTIONS[other],
            extra={"event": "listing changed", "before": strategy, "after": other, "error": failure.message},
        )
