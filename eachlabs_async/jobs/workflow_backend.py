"""Run the inputs of a map through a workflow."""

from __future__ import annotations

import time
from collections.abc import Collection, Sequence
from typing import Any

from ..errors import ResponseDecodeError
from ..records import BulkTriggered, WorkflowExecution
from ..transport import requests
from ..transport.redaction import line
from ..transport.requests import MAX_BULK_INPUTS, PreparedRequest, checked_object
from ..transport.transport import Transport
from .backend import without_429_retries
from .claims import SentInput
from .ledger import Ledger, scope_of
from .listing_watcher import ListingWatcher
from .lookup import WorkflowLookup
from .reconcile import Search, TimeSpan
from .refusals import refusal_of_all, refusal_reason
from .sent_inputs import snapshot


class WorkflowBackend:
    """Sends inputs with bulk triggers of up to ten, and watches them by the workflow's listing.

    Invalid arguments are raised by the constructor rather than with the first input.
    """

    chunk_size = MAX_BULK_INPUTS
    senders = 1
    creates = True
    source = "workflows.map"
    bulk = True

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
        self._filters = {"workflow_id": workflow_id}
        self.scope = scope_of(self._filters)
        self.deadline_s = transport.timeouts.deadline_s
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
        """Return a copy of an input as a JSON object."""
        return snapshot(checked_object("input", value))

    async def submit(self, inputs: list[Any]) -> list[tuple[str | None, str]]:
        """Send inputs with one bulk trigger."""
        prepared = self._prepared(inputs)
        call = self._sender.call(prepared.endpoint, prepared.path, body=prepared.body)
        call.execution_count = len(inputs)
        sent_at = time.time()
        answer = await self._sender.get(call, BulkTriggered)
        self._ledger.observe(self._sender, call, sent_at)
        if (refusal := refusal_of_all(answer)) is not None:
            session = self._transport.session
            session.share_pause(call, refusal, self._transport.retry)
            raise session.with_call_details(call, refusal)
        if len(answer.executions) != len(inputs):
            text = f"the answer has {len(answer.executions)} entries for {len(inputs)} inputs"
            failure = ResponseDecodeError(text, path="$.executions")
            raise self._transport.session.with_call_details(call, failure)
        secrets = self._transport.session.secrets
        return [(entry.execution_id or None, line(refusal_reason(entry), secrets)) for entry in answer.executions]

    async def finished(self, ids: Sequence[str], fresh: Collection[str], due: Collection[str]) -> list[str]:
        """Check the workflow's listing."""
        return await self._watcher.finished(ids, fresh, due)

    async def fetch(self, identity: str) -> WorkflowExecution:
        """Read one execution with its steps."""
        return await self._watcher.fetch(identity)

    def search(self, lost: Sequence[SentInput], claimed: Collection[str]) -> Search:
        """Search the workflow's newest executions; each is read in full, to see which bulk trigger it is of."""
        lookup = WorkflowLookup(self._transport, self._ledger, self._workflow_id, self._version_id, in_full=True)
        return Search(lookup, self._ledger.claims, lost, claimed)

    def inputs_of(self, record: WorkflowExecution) -> Any:
        """Return the inputs of an execution."""
        return record.inputs

    def lookup(self, since: float) -> dict[str, str]:
        """Return the arguments of the workflow's listing."""
        return TimeSpan.until_now(since).as_filters(**self._filters)

    def account(self) -> str:
        """Return the host and a fingerprint of the key."""
        return self._transport.session.account("workflows")

    async def cancel(self, ids: Sequence[str]) -> list[str]:
        """Return all of them: the API has no call that cancels an execution of a workflow."""
        return list(ids)
