"""The meaning of status words, the same for every service."""

from __future__ import annotations

from enum import StrEnum
from typing import Protocol


class State(StrEnum):
    """The meaning of a status word, the same for every service.

    `UNKNOWN` is the state of a word that this package does not know. A `WAITING` job continues only after a person has
    acted; it is not finished.
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
# `UNKNOWN` is not finished: waiting for a job must not end because of a new word.
_FINISHED = frozenset({State.SUCCEEDED, State.FAILED, State.CANCELLED})


def read_state(status: str) -> State:
    """Return the state that a status word of any service means; `State.UNKNOWN` for an unknown word."""
    return _STATES.get(status, State.UNKNOWN)


def known_words() -> frozenset[str]:
    """Return all status words of the services that this package knows."""
    return frozenset(_STATES)


class HasStatus(Protocol):
    """Anything with a status word."""

    @property
    def status(self) -> str:
        """The status word as sent by the service."""
        ...


class Stateful:
    """Mixin: the interpretation of `status`. It has no fields, so that records stay flat and slotted."""

    __slots__ = ()

    @property
    def state(self: HasStatus) -> State:
        """The meaning of `status`, the same for every service."""
        return read_state(self.status)

    @property
    def is_finished(self: HasStatus) -> bool:
        """Whether the job has succeeded, failed or was cancelled, so that `status` cannot change any more."""
        return read_state(self.status) in _FINISHED
