"""`eachlabs webhooks`: the deliveries of webhooks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Final

from cyclopts import App, Parameter

from ..context import Context
from .options import Injected, Limit, Resume

if TYPE_CHECKING:
    from ..output.fields import View

app: Final = App(name="webhooks", help="Deliveries of webhooks.")


def webhooks_view() -> View:
    """Return the fields of a webhook and the columns of its table; `headers` have a secret and are left out."""
    from ...records import Webhook
    from ..output.fields import view_of

    return view_of(
        Webhook,
        ("execution_id", "execution id"),
        ("created_at", "created"),
        ("source", "source"),
        ("url", "url"),
        id_field="execution_id",
    )


@app.command(name="list")
async def list_(*, limit: Limit = None, resume: Resume = None, context: Injected) -> int:
    """List webhooks, newest first, without their attempts."""
    from ..walk import print_listing

    given: Context = context
    async with given.client() as client:
        return await print_listing(
            given,
            lambda walk: client.webhook_deliveries.list(**walk),
            webhooks_view(),
            title="webhooks",
            limit=limit,
            resume=resume,
        )


@app.command
async def show(
    execution_id: Annotated[str, Parameter(help="The execution that the webhook is about.")], /, *, context: Injected
) -> None:
    """Show the webhook of an execution with every attempt to deliver it."""
    from ...codec.strict import to_dict

    given: Context = context
    view = webhooks_view()
    given.view(view)
    async with given.client() as client:
        given.record(to_dict(await client.webhook_deliveries.get(execution_id)), view)
