"""Owns the calls about model executions; refuses paging and decoding, which are the pager's and the codec's."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Final, Unpack

from .._arguments import checked_count, checked_text, checked_time, checked_words
from .._session import Transport
from .._wire import expand
from ..endpoints import LIST_EXECUTIONS
from ..pager import Pager, WalkOptions
from ..records import Execution

ERROR_CLASSIFICATIONS: Final = frozenset(
    {
        "content_moderation",
        "execution_timeout",
        "invalid_user_input",
        "invalid_model_config",
        "provider_auth",
        "provider_error",
        "provider_rate_limit",
        "provider_unavailable",
        "internal_error",
        "unknown",
    }
)
UNIFIED_STATUSES: Final = frozenset({"created", "starting", "success", "error"})


class Executions:
    """The executions of models, over the whole organisation."""

    __slots__ = ("_transport",)

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def list(
        self,
        *,
        model: str | None = None,
        status: str | Iterable[str] | None = None,
        workflow_id: str | None = None,
        workflow_execution_id: str | None = None,
        error_classification: str | Iterable[str] | None = None,
        since: datetime | str | None = None,
        until: datetime | str | None = None,
        limit: int = 100,
        offset: int = 0,
        **walk: Unpack[WalkOptions],
    ) -> Pager[Execution]:
        """Walk executions, newest first (`GET /executions`).

        `status` and `error_classification` take one word or several; the second is a closed set, and in the
        unified edition so is the first. `since` and `until` bound the creation time: aware datetimes, or RFC 3339
        text. Without `since` the service goes back 90 days from `until`, no further. `limit` is rows a request,
        1 to 100; `offset` rows to skip, from 0. `walk`: see `WalkOptions`.

        Raises `ValueError` or `TypeError` at once for an argument that the service would refuse; the walk raises
        `EachLabsError`.
        """
        edition = self._transport.session.hosts.edition
        filters = {
            "model": checked_text("model", model),
            "status": checked_words("status", status, UNIFIED_STATUSES if edition == "unified" else None),
            "workflow_id": checked_text("workflow_id", workflow_id),
            "workflow_execution_id": checked_text("workflow_execution_id", workflow_execution_id),
            "error_classification": checked_words(
                "error_classification", error_classification, ERROR_CLASSIFICATIONS
            ),
            "from": checked_time("since", since),
            "to": checked_time("until", until),
        }
        return Pager(
            self._transport,
            LIST_EXECUTIONS,
            expand(LIST_EXECUTIONS, edition),
            filters,
            start=checked_count("offset", offset),
            size=checked_count("limit", limit, least=1, most=100),
            walk=walk,
        )
