"""Compare the id of a record with the id that was asked for.

A server or a proxy that answers out of turn hands out the record of another call.
"""

from __future__ import annotations

import re
from typing import Final

from ..errors import EachLabsError, ResponseDecodeError
from .endpoints import (
    GET_FLOW_EXECUTION,
    GET_PREDICTION,
    GET_RUN,
    GET_WEBHOOK,
    GET_WORKFLOW,
    GET_WORKFLOW_EXECUTION,
    Endpoint,
)

_FIELDS: Final = {
    GET_FLOW_EXECUTION.name: "execution_id",
    GET_PREDICTION.name: "id",
    GET_RUN.name: "id",
    GET_WEBHOOK.name: "execution_id",
    GET_WORKFLOW.name: "workflow_id",
    GET_WORKFLOW_EXECUTION.name: "execution_id",
}
_UUID: Final = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE).fullmatch


def identity_field(endpoint: Endpoint) -> str:
    """Return the field of the endpoint's record that repeats the id that was asked for, empty if there is none."""
    return _FIELDS.get(endpoint.name, "")


def other_identity(endpoint: Endpoint, record: object, asked: str) -> str | None:
    """Return the id of a record that is not the one `asked` for, or None if it is, or if it has no id.

    A workflow may be asked for by its slug, which is not its id.
    """
    found = getattr(record, identity_field(endpoint) or "", None)
    if not found or not isinstance(found, str) or found.lower() == asked.lower():
        return None
    if endpoint.name == GET_WORKFLOW.name and not _UUID(asked):
        return None
    return found


def mixed_up_answer(endpoint: Endpoint, record: object, asked: str) -> EachLabsError:
    """Return the error about a record that is not the one `asked` for."""
    found = other_identity(endpoint, record, asked) or ""
    message = f"the answer is the record of {found[:100]!r}, not of {asked[:100]!r}: ask again later"
    return ResponseDecodeError(message, path=f"$.{identity_field(endpoint)}")
