"""The handler of the balance."""

from __future__ import annotations

from typing import Final

from ..collection import encode
from ..handler_request import HandlerRequest
from ..reply import Reply
from ..simulation import Simulation

__all__ = ["HANDLERS"]


async def _get_balance(simulation: Simulation, request: HandlerRequest) -> Reply:
    balance = simulation.balance_usd if simulation.balance is None else simulation.balance
    return Reply(200, encode({"balance_usd": balance}))


HANDLERS: Final = {
    "billing.balance": _get_balance,
}
