"""Notes executions whose status is a word that this package does not know, and logs each such word once."""

from __future__ import annotations

import logging
from typing import Final

from ..records import Prediction, State, WorkflowExecution, WorkflowExecutionSummary
from ..transport.redaction import line

MAX_WORDS: Final = 100
MAX_LENGTH: Final = 60
log: Final = logging.getLogger("eachlabs_async")


class StatusWords:
    """The unknown status words of one map: `unknown` holds the last one of each execution that has one, by id."""

    def __init__(self, secrets: tuple[str, ...] = ()) -> None:
        self._secrets = secrets
        self.unknown: dict[str, str] = {}
        self._logged: set[str] = set()

    def note(self, identity: str, record: Prediction | WorkflowExecution | WorkflowExecutionSummary) -> None:
        """Note the status of an execution."""
        if record.state is not State.UNKNOWN:
            self.unknown.pop(identity, None)
            return
        word = line(record.status, self._secrets, MAX_LENGTH)
        self.unknown[identity] = word
        if word not in self._logged and len(self._logged) < MAX_WORDS:
            self._logged.add(word)
            log.warning(
                "execution %s has the unknown status '%s': it is watched on as if it were running",
                identity,
                word,
                extra={"event": "unknown status", "execution_id": identity, "status": word},
            )

    def forget(self, identity: str) -> None:
        """Forget an execution that is no longer watched."""
        self.unknown.pop(identity, None)
