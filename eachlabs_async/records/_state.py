"""Owns what a status word means, alike for every service; refuses to know any record."""

from __future__ import annotations

from enum import StrEnum
from typing import Protocol


class State(StrEnum):
    """What a status word means, alike for every service; `UNKNOWN` for a word that is new to this package.

    `WAITING` is a job that goes on only once a person has acted; it is not finished.
    """

    PENDING = "pending"
    RUNNING = "running"
    WAITING = "waiting"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"
    UNKNOWN = "unknown"


_STATES: dict[str, State] = {
    "created": State.PENDING,
    "queued": State.PENDING,
    "starting": State.PENDING,
    "running": State.RUNNING,
    "processing": State.RUNNING,
    "awaiting_human_feedback": State.WAITING,
    "success": State.SUCCEEDED,
    "succeeded": State.SUCCEEDED,
    "completed": State.SUCCEEDED,
    "failed": State.FAILED,
    "error": State.FAILED,
    "cancelled": State.CANCELLED,
    "canceled": State.CANCELLED,
    "stopped": State.CANCELLED,
}
# An unknown word is not in here: who waits for a job must not give it up because of a word that is new.
_FINISHED = frozenset({State.SUCCEEDED, State.FAILED, State.CANCELLED})


def read_state(status: str) -> State:
    """Give what `status`, the word of any service, means; `State.UNKNOWN` for a word not in the table."""
    return _STATES.get(status, State.UNKNOWN)


class HasStatus(Protocol):
    """What has a status word."""

    @property
    def status(self) -> str:
        """The word as it came."""
        ...


class Stateful:
    """Adds the reading of `status`; holds no field, so the records that take it in stay flat and slotted."""

    __slots__ = ()

    @property
    def state(self: HasStatus) -> State:
        """What `status` means, alike for every service."""
        return read_state(self.status)

    @property
    def is_finished(self: HasStatus) -> bool:
        """True once `status` cannot change any more (succeeded, failed or cancelled)."""
        return read_state(self.status) in _FINISHED
