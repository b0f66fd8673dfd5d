"""The record of the account's balance."""

from __future__ import annotations

from attrs import frozen


@frozen(kw_only=True)
class Balance:
    """The balance of the account in USD, from `GET /billing/balance`.

    It can be 0 or negative, and shows top-ups with a delay.
    """

    balance_usd: float
