"""`eachlabs balance`: what is left on the account."""

from __future__ import annotations

from ..context import Context
from .options import Injected


async def balance(*, context: Injected) -> None:
    """Show the balance of the account in USD. It lags behind top-ups."""
    from ...codec.strict import to_dict
    from ...records import Balance
    from ..output.fields import view_of

    given: Context = context
    view = view_of(Balance)
    given.view(view)
    async with given.client() as client:
        given.record(to_dict(await client.billing.balance()), view)
