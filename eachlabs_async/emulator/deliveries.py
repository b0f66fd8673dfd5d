"""The delivery of webhooks: the signature, the attempts, and the log of them.

A delivery is signed once, at the time of the emulator's clock, so that all of its attempts have the same time and
signature. Only loopback hosts are called; an attempt for any other host is logged as failed. Redirects are not
followed.
"""

from __future__ import annotations

import asyncio
import hmac
from functools import partial
from typing import Any, Final
from urllib.parse import urlsplit

import aiohttp
from attrs import define

from ..hosts import is_loopback
from .clock import Clock
from .collection import Collection, Row
from .rows import rfc3339
from .webhook_target import WebhookTarget

__all__ = ["Deliveries"]

ATTEMPTS: Final = 3
_TIMEOUT_S: Final = 5.0
_KEPT_TEXT: Final = 1000


@define
class _Delivery:
    execution_id: str
    webhook: WebhookTarget
    body: bytes
    headers: dict[str, str]
    attempts_left: int = ATTEMPTS


def _listed(row: Row) -> Row:
    return {name: value for name, value in row.items() if name != "attempts"}


class Deliveries:
    """The webhooks of one emulator. `rows` lists them, newest first, each with its attempts.

    `retry_seconds` is the time between two attempts, on the emulator's clock. With `duplicates`, a delivery that
    succeeded is sent once more.
    """

    def __init__(self, clock: Clock, *, retry_seconds: float, duplicates: bool) -> None:
        self.rows = Collection("execution_id", _not_insertable, listed=_listed)
        self.retry_seconds = retry_seconds
        self.duplicates = duplicates
        self._clock = clock
        self._session: aiohttp.ClientSession | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    def send(self, execution_id: str, webhook: WebhookTarget, body: bytes, source: str) -> None:
        """Deliver a webhook about an execution in the background, with retries."""
        self.rows.add(
            {
                "execution_id": execution_id,
                "url": webhook.url,
                "request": body.decode(),
                "headers": {"Content-Type": "application/json"},
                "source": source,
                "created_at": rfc3339(self._clock.now()),
                "attempts": [],
            }
        )
        self._start_attempt(
            _Delivery(execution_id, webhook, body, _headers(webhook, body, int(self._clock.now().timestamp())))
        )

    async def close(self) -> None:
        """Cancel the deliveries in flight. Retries that are not due yet stay scheduled on the clock."""
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    def _start_attempt(self, delivery: _Delivery) -> None:
        delivery.attempts_left -= 1
        task = asyncio.get_running_loop().create_task(self._attempt_or_retry(delivery))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _attempt_or_retry(self, delivery: _Delivery) -> None:
        if await self._attempt(delivery):
            if self.duplicates:
                await self._attempt(delivery)
        elif delivery.attempts_left:
            self._clock.after(self.retry_seconds, partial(self._start_attempt, delivery))

    async def _attempt(self, delivery: _Delivery) -> bool:
        number = self._log_attempt(delivery, None, {"status": "PENDING", "created_at": rfc3339(self._clock.now())})
        try:
            status, text = await self._post(delivery)
        except (aiohttp.ClientError, TimeoutError, ValueError) as error:
            message = str(error) or type(error).__name__
            self._log_attempt(delivery, number, {"status": "FAILED", "status_code": None, "error_message": message})
            return False
        is_success = 200 <= status < 300
        word = "SUCCESS" if is_success else "FAILED"
        attempt = {"status": word, "status_code": status, "response": text[:_KEPT_TEXT], "error_message": None}
        self._log_attempt(delivery, number, attempt)
        return is_success

    async def _post(self, delivery: _Delivery) -> tuple[int, str]:
        if not is_loopback(urlsplit(delivery.webhook.url).hostname or ""):
            raise ValueError("the emulator calls only loopback hosts")
        if self._session is None:
            self._session = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=_TIMEOUT_S))
        url, body, headers = delivery.webhook.url, delivery.body, delivery.headers
        async with self._session.post(url, data=body, headers=headers, allow_redirects=False) as response:
            return response.status, await response.text(errors="replace")

    def _log_attempt(self, delivery: _Delivery, number: int | None, attempt: Row) -> int:
        # A test may remove a webhook; its delivery goes on, unlogged.
        if delivery.execution_id not in self.rows:
            return 0
        attempts: list[Any] = list(self.rows.get(delivery.execution_id)["attempts"])
        if number is None:
            number = len(attempts)
            attempts.append(attempt)
        else:
            attempts[number] |= attempt
        self.rows.change(delivery.execution_id, attempts=attempts)
        return number


def _headers(webhook: WebhookTarget, body: bytes, seconds: int) -> dict[str, str]:
    headers = {"Content-Type": "application/json"}
    if webhook.secret is None:
        return headers
    signed = f"{seconds}.".encode() + body
    signature = hmac.new(webhook.secret.encode("utf-8", "surrogatepass"), signed, "sha256").hexdigest()
    return headers | {
        "X-Webhook-Secret": webhook.secret,
        "X-Webhook-Timestamp": str(seconds),
        "X-Webhook-Signature": f"sha256={signature}",
    }


def _not_insertable(created: object) -> Row:
    raise TypeError("webhooks come from executions, not from insert()")
