"""Owns which of the two listings of executions a walk uses, and what a client has learned of them; refuses requests."""

from __future__ import annotations

import logging
import re
from typing import Final, Literal

from ..errors import APIStatusError, PaginationError
from ..transport.session import Session

Way = Literal["cursor", "seek"]

log: Final = logging.getLogger("eachlabs_async")

_GONE: Final = frozenset({404, 405, 410, 501})
_TOO_DEEP: Final = re.compile("/v2/executions|pagination|offset|limited to")
_OTHER: Final[dict[Way, Way]] = {"cursor": "seek", "seek": "cursor"}
_SHOWN: Final[dict[Way, str]] = {"cursor": "/v2/executions, by cursor", "seek": "/v1/executions, by seeking"}


def is_refused(failure: APIStatusError, way: Way, session: Session) -> bool:
    """Say whether an answer means that the service does not offer a listing, or not to this way of telling the key.

    Whether `/v2/executions` takes the key as `X-API-Key` is nowhere said. A 404 is no other error: both give an empty
    page where there are no rows.
    """
    if failure.status == 401:
        return way == "cursor" and session.hosts.api.auth == "x-api-key"
    return failure.status in _GONE


def is_too_deep(failure: APIStatusError) -> bool:
    """Say whether an answer means that `/v1/executions` does not serve rows that far down."""
    return failure.status == 400 and _TOO_DEEP.search(failure.message) is not None


class RefusedListings(dict[Way, APIStatusError]):
    """The listings of executions that the service refused, and its answers; all views of a client share them."""


class ListingChoice:
    """The choice of one walk: what `Hosts.executions_by` says, or `first` and then the other one.

    `first` is the edition's own where it is not given.
    """

    def __init__(self, session: Session, refused: RefusedListings, *, first: Way | None = None) -> None:
        self._session = session
        self._refused = refused
        own: Way = "cursor" if session.hosts.edition == "unified" else "seek"
        self._first: Way = first or own
        self._tried: list[Way] = []
        self._out_of_reach: PaginationError | None = None

    def make(self) -> Way:
        """Choose the listing to go on with."""
        hosts, refused = self._session.hosts, self._refused
        if hosts.executions_by != "auto":
            way: Way = hosts.executions_by
        else:
            way = self._first
            if way in self._tried or (way in refused and _OTHER[way] not in refused):
                way = _OTHER[way]
        self._tried.append(way)
        return way

    def refuse(self, failure: APIStatusError | PaginationError) -> None:
        """Note that the chosen one cannot be used; raises `failure` where there is no other to go on with.

        What the service itself refused the whole client remembers.
        """
        session, way = self._session, self._tried[-1]
        other = _OTHER[way]
        if isinstance(failure, APIStatusError):
            self._refused[way] = failure
        else:
            self._out_of_reach = failure
        refused = self._refused.get(way if isinstance(failure, APIStatusError) else other)
        if session.hosts.executions_by != "auto" or other in self._tried or other in self._refused:
            if self._out_of_reach is not None and refused is not None:
                # What ends the walk is that its rows are out of reach; that the other listing is missing is the reason.
                told = f"{self._out_of_reach.message} (the service refused that: HTTP {refused.status})"
                failure = PaginationError(told, method=refused.method, url=refused.url, attempts=refused.attempts)
            raise failure
        log.info(
            "executions cannot be listed with %s (%s): going on with %s", _SHOWN[way], failure.message, _SHOWN[other]
        )
