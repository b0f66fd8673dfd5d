"""Owns what the api service says of the account's money; refuses to know how it is read."""

from __future__ import annotations

from attrs import frozen


@frozen(kw_only=True)
class Balance:
    """The balance of the account in USD, from `GET /billing/balance`; 0 or less is possible, and top-ups show late."""

    balance_usd: float
