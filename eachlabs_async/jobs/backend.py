"""What a map needs to know about the executions it runs: how inputs are sent, watched, read and found again."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any, Protocol, TypeVar

from attrs import evolve

from ..transport.transport import Transport
from .claims import SentInput
from .reconcile import Search
from .status_words import StatusWords

T_co = TypeVar("T_co", covariant=True)


class Backend(Protocol[T_co]):
    """Runs the inputs of a map.

    `chunk_size` is the most inputs in one request, `senders` the most requests in flight. `creates` is True if sending
    creates executions, and `bulk` if it does so by bulk triggers. `scope` is that of the inputs, see `SentInput`.
    `deadline_s` is the longest time, in seconds, that one request takes. `source` is the method that runs the map, such
    as `"workflows.map"`. `binding` names what is run, so that a journal is not used for something else. `words` notes
    the executions with an unknown status.
    """

    chunk_size: int
    senders: int
    creates: bool
    bulk: bool
    scope: str
    deadline_s: float
    source: str
    binding: str
    words: StatusWords

    def checked(self, value: Any) -> Any:
        """Return an input as it is sent, which later changes do not reach.

        Raises `TypeError` or `ValueError` if it cannot be sent.
        """
        ...

    async def submit(self, inputs: list[Any]) -> list[tuple[str | None, str]]:
        """Send inputs and return for each, in order, its execution id, or None and why it was refused.

        The reason is empty if the answer gives neither. Raises `OutcomeUnknownError` if the answer does not say which
        execution is whose.
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

    def search(self, lost: Sequence[SentInput], claimed: Collection[str]) -> Search:
        """Return a search for the executions of lost inputs; those in `claimed` belong to others."""
        ...

    def inputs_of(self, record: Any) -> Any:
        """Return the inputs that an execution shows, or None if it shows none."""
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
