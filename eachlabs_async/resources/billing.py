"""Owns the calls about the account's money; refuses to decide what to do about it: a map does, for what it sends."""

from __future__ import annotations

from ..records import Balance
from ..transport.endpoints import GET_BALANCE
from ..transport.transport import Transport


class Billing:
    """The account that pays for executions."""

    __slots__ = ("_transport",)

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    async def balance(self) -> Balance:
        """Get the balance in USD (`GET /billing/balance`); it may be 0 or negative, and lags behind top-ups.

        The service takes three such requests a second: a further one is a 429 that asks for a second's pause. It
        answers 503 rather than a made-up zero. Both are tried again as the retry policy says.

        Raises `AuthenticationError` for a wrong key, `RateLimitError` and `ServerError` where the tries did not help,
        and the other errors of a call.
        """
        path = GET_BALANCE.expand(self._transport.session.hosts.edition)
        return await self._transport.get(self._transport.call(GET_BALANCE, path), Balance)
