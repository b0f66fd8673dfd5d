"""Which executions of an archive are wanted, as a condition of SQL."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Any, Final

from attrs import frozen

from ..records import State, known_words, read_state
from ..transport.arguments import checked_moment, checked_text, checked_words
from ..transport.guidance import did_you_mean
from ..transport.status_filter import STATUSES
from .values import time_text


@frozen
class RowFilter:
    """A condition on executions, and the values of its parameters."""

    condition: str
    values: tuple[str, ...]

    @classmethod
    def of(
        cls,
        *,
        since: datetime | str | None = None,
        until: datetime | str | None = None,
        model: str | None = None,
        status: str | Iterable[str] | None = None,
        workflow_id: str | None = None,
        deleted: bool = False,
    ) -> RowFilter:
        """Return the condition for filters. Raises `ValueError` or `TypeError` for one that cannot be right."""
        parts: list[tuple[str, tuple[str, ...]]] = []
        if since is not None:
            parts.append(("created_at >= ?", (time_text(checked_moment("since", since)),)))
        if until is not None:
            parts.append(("created_at < ?", (time_text(checked_moment("until", until)),)))
        if checked_text("model", model) is not None:
            parts.append(("model = ?", (str(model),)))
        if (words := checked_words("status", status)) is not None:
            parts.append(_status(words.split(",")))
        if checked_text("workflow_id", workflow_id) is not None:
            parts.append(("workflow_id = ?", (str(workflow_id),)))
        if not deleted:
            parts.append(("deleted_at IS NULL", ()))
        condition = " AND ".join(part for part, _ in parts) or "1"
        return cls(condition, tuple(value for _, values in parts for value in values))


def _status(words: list[str]) -> tuple[str, tuple[str, ...]]:
    """Return the condition for words of the service, and for states and words that mean one."""
    exact, states = [word for word in words if word in STATUSES], [word for word in words if word not in STATUSES]
    read = [_state(word) for word in states]
    either = [
        f"{column} IN ({', '.join('?' * len(values))})"
        for column, values in (("status", exact), ("state", read))
        if values
    ]
    return f"({' OR '.join(either)})", (*exact, *read)


def _state(word: str) -> str:
    if word in {*State}:
        return State(word).value
    if word in known_words():
        return read_state(word).value
    known: Final[Any] = [*STATUSES, *State]
    raise ValueError(f"status must be one of {', '.join(known)}, not {word!r}{did_you_mean(word, known)}")
