"""The workflows that their owners share with others."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..jobs.create import checked_id, create
from ..jobs.ledger import Ledger
from ..records import PublicWorkflow, TriggeredExecution
from ..transport import requests
from ..transport.endpoints import GET_PUBLIC_WORKFLOW
from ..transport.guidance import NamesGuide
from ..transport.transport import Transport


class PublicWorkflows(NamesGuide):
    """The workflows that are public or unlisted; unified edition only."""

    __slots__ = ("_ledger", "_transport")

    def __init__(self, transport: Transport, ledger: Ledger) -> None:
        self._transport = transport
        self._ledger = ledger

    async def get(self, nickname: str, slug: str, version_id: str) -> PublicWorkflow:
        """Return one version of a public workflow (`GET /public/@{nickname}/workflows/{slug}/versions/{versionID}`).

        `nickname` is that of the owner, without the `@`. No key is needed, and none is sent.

        Raises `NotFoundError` if the workflow is unknown or not public, and the other errors of a call.
        """
        return await self._transport.request(
            GET_PUBLIC_WORKFLOW, PublicWorkflow, nickname=nickname, slug=slug, version_id=version_id
        )

    async def trigger(
        self,
        nickname: str,
        slug: str,
        version_id: str,
        inputs: Mapping[str, Any] | None = None,
        *,
        webhook_url: str | None = None,
        webhook_secret: str | None = None,
    ) -> TriggeredExecution:
        """Start one execution of a public workflow (`POST /public/@.../trigger`), billed to the key's organisation.

        The key travels in the body and in no header. The webhook arguments are those of `workflows.trigger`.

        The request is sent once. Raises `OutcomeUnknownError` if no clear answer came; no listing shows what may have
        been created, so it cannot be looked up. Raises the other errors of a call.
        """
        session = self._transport.session
        prepared = requests.public_trigger(
            self._transport.edition,
            nickname,
            slug,
            version_id,
            inputs,
            session.key_for_body(),
            webhook_url,
            webhook_secret,
        )
        del webhook_secret  # A traceback shows the locals of this frame.
        return await create(
            self._transport,
            self._ledger,
            prepared,
            TriggeredExecution,
            ids_of=lambda answer: [checked_id(answer.execution_id, "$.execution_id")],
        )
