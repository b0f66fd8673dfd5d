"""Owns the calls about workflows that others share; refuses to show a key where none is asked for."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..jobs.create import LookupScope, create
from ..records import PublicWorkflow, TriggeredExecution
from ..transport import requests as _requests
from ..transport.endpoints import GET_PUBLIC_WORKFLOW
from ..transport.transport import Transport


class PublicWorkflows:
    """Workflows that their owners share, public or unlisted; unified edition only."""

    __slots__ = ("_transport",)

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    async def get(self, nickname: str, slug: str, version_id: str) -> PublicWorkflow:
        """Get one version of a public workflow (`GET /public/@{nickname}/workflows/{slug}/versions/{versionID}`).

        `nickname` is the owner's, without the `@`. No key is needed, and none is sent.

        Raises `NotFoundError` for one that is unknown or not public, and the other errors of a call.
        """
        edition = self._transport.session.hosts.edition
        path = GET_PUBLIC_WORKFLOW.expand(edition, nickname=nickname, slug=slug, version_id=version_id)
        return await self._transport.get(self._transport.call(GET_PUBLIC_WORKFLOW, path), PublicWorkflow)

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

        The key travels in the body, and in no header. The webhook arguments are those of `workflows.trigger`.

        It is sent once: where no clear answer came the error is `OutcomeUnknownError`. No listing shows what it may
        have created, so there is nothing to reconcile with.
        """
        session = self._transport.session
        prepared = _requests.public_trigger(
            session.hosts.edition,
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
            prepared,
            TriggeredExecution,
            LookupScope(transport=self._transport),
            ids=lambda answer: [answer.execution_id],
            found=lambda seen: None,
            reconcile=False,
        )
