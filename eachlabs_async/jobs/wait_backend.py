"""Wait for executions of a workflow that run already, with the machinery of a map."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

from ..records import WorkflowExecution
from ..transport.transport import Transport
from ..transport.wire import segment
from .claims import SentInput
from .listing_watcher import ListingWatcher
from .reconcile import Search


class WaitBackend:
    """Takes the ids of executions as inputs and sends nothing; watches the executions by the workflow's listing."""

    chunk_size = 1000
    senders = 1
    creates = False
    source = "workflow_executions.wait_many"
    bulk = False
    scope = ""
    deadline_s = 0.0
    binding = ""

    def __init__(self, transport: Transport, workflow_id: str) -> None:
        self._watcher = ListingWatcher(transport, workflow_id)
        self.words = self._watcher.words

    def checked(self, value: Any) -> Any:
        """Return an id if it can be requested."""
        segment("id", value)
        return value

    async def submit(self, inputs: list[Any]) -> list[tuple[str | None, str]]:
        """Return the ids themselves."""
        return [(identity, "") for identity in inputs]

    async def finished(self, ids: Sequence[str], fresh: Collection[str], due: Collection[str]) -> list[str]:
        """Check the workflow's listing. The caller knows the ids, so none of them counts as fresh."""
        return await self._watcher.finished(ids, (), due)

    async def fetch(self, identity: str) -> WorkflowExecution:
        """Read one execution with its steps."""
        return await self._watcher.fetch(identity)

    def search(self, lost: Sequence[SentInput], claimed: Collection[str]) -> Search:
        """Search nothing: nothing is sent, so no answer can be lost."""
        raise NotImplementedError("a wait sends nothing, so no answer can be lost")

    def inputs_of(self, record: WorkflowExecution) -> Any:
        """Return None: the caller gave an id, and no inputs."""
        return None

    def lookup(self, since: float) -> dict[str, str]:
        """Return no arguments, for the same reason."""
        return {}

    def account(self) -> str:
        """Return nothing: a wait has no journal."""
        return ""

    async def cancel(self, ids: Sequence[str]) -> list[str]:
        """Return all of them: ending a wait does not end the executions."""
        return list(ids)
