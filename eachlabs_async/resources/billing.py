"""The balance of the account."""

from __future__ import annotations

from ..records import Balance
from ..transport.endpoints import GET_BALANCE
from ..transport.guidance import NamesGuide
from ..transport.transport import Transport


class Billing(NamesGuide):
    """The account that pays for executions."""

    __slots__ = ("_transport",)

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    async def balance(self) -> Balance:
        """Return the balance in USD (`GET /billing/balance`). It may be zero or negative, and lags behind top-ups.

        The service takes three such requests a second, and answers further ones with a 429 that asks for a pause of a
        second. When it cannot tell the balance it answers with a 503. Both are retried under the retry policy.

        Raises `AuthenticationError` for a wrong key, `RateLimitError` or `ServerError` if the retries did not help,
        and the other errors of a call.
        """
        return await self._transport.request(GET_BALANCE, Balance)
