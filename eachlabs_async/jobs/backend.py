"""What a map needs to know about the executions it runs: how inputs are sent, watched, read and found again."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any, Protocol, TypeVar

from attrs import evolve

from ..transport.transport import Transport
from .status_words import StatusWords

T_co = TypeVar("T_co", covariant=True)


class Backend(Protocol[T_co]):
    """Runs the inputs of a map.

    `chunk_size` is the most inputs in one request, `senders` the most requests in flight. `creates` is True if sending
    creates executions. `binding` names what is run, so that a journal is not used for something else. `words` notes the
    executions with an unknown status.
    """

    chunk_size: int
    senders: int
    creates: bool
    binding: str
    words: StatusWords

    def checked(self, value: Any) -> Any:
        """Return an input as it is sent. Raises `TypeError` or `ValueError` if it cannot be sent."""
        ...

    async def submit(self, inputs: list[Any]) -> list[tuple[str | None, str]]:
        """Send inputs and return for each, in order, its execution id, or None and why it was refused.

        The reason is empty if the answer gives neither. The result may be shorter than `inputs`.
        """
        ...

    async def finished(self, ids: Sequence[str], fresh: Collection[str], due: Collection[str]) -> list[str]:
        """Return those of the running executions `ids` that have finished.

        Only the `due` ones have to be looked at. The `fresh` ones may not be found yet.
        """
        ...

    async def fetch(self, identity: str) -> T_co:
        """Read one execution in full.

        Raises `ExecutionFailedError` if it did not succeed, and `WaitTimeoutError` if it has not finished yet.
        """
        ...

    async def find(
        self, inputs: list[Any], since: float, claimed: Collection[str], in_doubt: Mapping[str, int]
    ) -> list[str | None]:
        """Return the id of an unclaimed execution for each input that was created after `since` (Unix time), or None.

        `in_doubt` counts, by digest, all inputs that may have an execution which no input claims.
        """
        ...

    def lookup(self, since: float) -> dict[str, str]:
        """Return the arguments of a listing that shows what was created after `since` (Unix time)."""
        ...

    def account(self) -> str:
        """Return the host and a fingerprint of the key, so that a journal is not used with another account."""
        ...

    async def cancel(self, ids: Sequence[str]) -> list[str]:
        """Cancel the executions that can be cancelled, within two seconds, and return those that may still run."""
        ...


def without_429_retries(transport: Transport) -> Transport:
    """Return a view that raises a 429 at once: a map knows better than the retry policy when to try again."""
    retry = evolve(transport.retry, statuses=transport.retry.statuses - {429})
    return Transport(transport.session, retry, transport.timeouts)
