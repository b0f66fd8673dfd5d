"""Add a hint to the error for a 404 on an execution: it may have been deleted, or the id is of another kind.

An organisation can have its executions deleted by age, so an id of yesterday may be unknown today. The service responds
to a deleted id as it does to one that never existed, and to an id of another kind of execution as well.
"""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from typing import Final

from ..errors import EachLabsError, NotFoundError
from .endpoints import Endpoint

HINT_FOR_ANY_ID: Final = "no such id, or deleted: organisations can delete executions by age"
"""For an id that a caller passed, which may never have existed."""
HINT_FOR_KNOWN_ID: Final = "it does not exist, or no longer exists: organisations can delete executions by age"
"""For an id that a listing named, that this client created, or that a caller waits for."""
IDS_TAKEN: Final = {
    "predictions": "predictions.get takes ids of model executions (from executions.list or predictions.create); "
    "an id from workflow_executions.list or workflows.trigger goes to workflow_executions.get",
    "workflow_executions": "workflow_executions.get takes ids of workflow executions (from workflow_executions.list, "
    "workflows.trigger, or workflow_execution_id of a row); an id from executions.list goes to predictions.get",
    "flow_executions": "flow_executions.get takes ids of executions of legacy flows, which no call lists; "
    "an id from workflow_executions.list goes to workflow_executions.get, one from executions.list to predictions.get",
    "runs": "runs.get takes ids of runs at Noxus (from runs.list or runs.start); "
    "an id from workflow_executions.list goes to workflow_executions.get, one from executions.list to predictions.get",
}
"""By the first part of an endpoint's name: the ids that it takes, the calls that return them, and where others go."""


def hint_for_id(endpoint: Endpoint, hint: str = HINT_FOR_ANY_ID) -> str:
    """Return `hint`, followed by the ids that an endpoint takes, for an id that may be of another kind."""
    taken = IDS_TAKEN[endpoint.name.partition(".")[0]]
    return f"{hint}; {taken}" if hint else taken


def add_hint(error: EachLabsError, hint: str) -> None:
    """Append `hint` to the message of a 404. Any other error stays as it is."""
    if isinstance(error, NotFoundError) and hint:
        error.message = f"{error.message}; {hint}"
        error.args = (error.message,)


@contextmanager
def hint_on_not_found(hint: str) -> Generator[None]:
    """Append `hint` to the message of a 404 that the block raises."""
    try:
        yield
    except NotFoundError as exc:
        add_hint(exc, hint)
        raise
