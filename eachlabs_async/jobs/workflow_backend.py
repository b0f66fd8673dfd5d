"""Run the inputs of a map through a workflow."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from ..records import BulkTriggered, WorkflowExecution
from ..transport import requests
from ..transport.requests import MAX_BULK_INPUTS, PreparedRequest, checked_object
from ..transport.transport import Transport
from .backend import without_429_retries
from .ledger import Ledger
from .listing_watcher import ListingWatcher
from .reconcile import TimeSpan, WorkflowLookup, find_created
from .refusals import refusal_of_all, refusal_reason


class WorkflowBackend:
    """Sends inputs with bulk triggers of up to ten, and watches them by the workflow's listing.

    Invalid arguments are raised by the constructor rather than with the first input.
    """

    chunk_size = MAX_BULK_INPUTS
    senders = 1
    creates = True

    def __init__(
        self,
        transport: Transport,
        ledger: Ledger,
        workflow_id: str,
        version_id: str,
        webhook_url: str | None,
        webhook_secret: str | None,
    ) -> None:
        self._transport = transport
        self._sender = without_429_retries(transport)
        self._ledger = ledger
        self._workflow_id = workflow_id
        self._version_id = version_id
        self._webhook_url = webhook_url
        self._webhook_secret = webhook_secret
        self._prepared([{}])
        self._watcher = ListingWatcher(transport, workflow_id)
        self.words = self._watcher.words
        self._lookup = WorkflowLookup(transport, workflow_id, version_id)
        self.binding = f"workflow {workflow_id}, version {version_id}, {transport.edition}"

    def _prepared(self, inputs: list[Any]) -> PreparedRequest:
        return requests.bulk_trigger(
            self._transport.edition,
            self._workflow_id,
            self._version_id,
            inputs,
            self._webhook_url,
            self._webhook_secret,
        )

    def checked(self, value: Any) -> Any:
        """Return an input as a JSON object."""
        return checked_object("input", value)

    async def submit(self, inputs: list[Any]) -> list[tuple[str | None, str]]:
        """Send inputs with one bulk trigger."""
        prepared = self._prepared(inputs)
        call = self._sender.call(prepared.endpoint, prepared.path, body=prepared.body)
        call.execution_count = len(inputs)
        answer = await self._sender.get(call, BulkTriggered)
        self._ledger.created(entry.execution_id for entry in answer.executions if entry.execution_id)
        if (refusal := refusal_of_all(answer)) is not None:
            session = self._transport.session
            session.share_pause(call, refusal, self._transport.retry)
            raise session.with_call_details(call, refusal)
        return [(entry.execution_id, refusal_reason(entry)) for entry in answer.executions[: len(inputs)]]

    async def finished(self, ids: Sequence[str], fresh: Collection[str], due: Collection[str]) -> list[str]:
        """Check the workflow's listing."""
        return await self._watcher.finished(ids, fresh, due)

    async def fetch(self, identity: str) -> WorkflowExecution:
        """Read one execution with its steps."""
        return await self._watcher.fetch(identity)

    async def find(
        self, inputs: list[Any], since: float, claimed: Collection[str], in_doubt: Mapping[str, int]
    ) -> list[str | None]:
        """Search the workflow's newest executions."""
        span = TimeSpan.until_now(since)
        return await find_created(self._lookup, self._ledger.claims, inputs, span, claimed=claimed, in_doubt=in_doubt)

    def lookup(self, since: float) -> dict[str, str]:
        """Return the arguments of the workflow's listing."""
        return TimeSpan.until_now(since).as_filters(**self._lookup.filters)

    def account(self) -> str:
        """Return the host and a fingerprint of the key."""
        return self._transport.session.account("workflows")

    async def cancel(self, ids: Sequence[str]) -> list[str]:
        """Return all of them: the API has no call that cancels an execution of a workflow."""
        return list(ids)
