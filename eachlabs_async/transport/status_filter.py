"""The status filter of the listings of executions: the words of the service, and those that mean the same."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from ..records import State, known_words, read_state
from .arguments import checked_words
from .guidance import did_you_mean

STATUSES: Final = ("created", "starting", "success", "error")
"""The words that `GET /v1/executions` and `GET /v2/executions` know."""


def status_filter(status: str | Iterable[str] | None, *, closed: bool) -> str | None:
    """Return a status filter in the words of the service, joined with commas; None for none.

    A `State`, or a word that means one, becomes all words of the service for that state. `closed` is whether the
    service refuses other words than `STATUSES`; if not, other usual words are passed on.

    Raises `ValueError` for a word that no service uses, or that no execution can have.
    """
    text = checked_words("status", status)
    if text is None:
        return None
    return ",".join(dict.fromkeys(word for given in text.split(",") for word in _words_for(given, closed=closed)))


def _words_for(given: str, *, closed: bool) -> list[str]:
    if given in STATUSES:
        return [given]
    state = State(given) if given in {*State} else read_state(given)
    same = [word for word in STATUSES if read_state(word) is state]
    if same:
        return same
    if given in known_words() and not closed:
        return [given]
    states = dict.fromkeys(read_state(word).value for word in STATUSES)
    words = f"{', '.join(STATUSES)}, or a State of one of them ({', '.join(states)})"
    raise ValueError(f"status must be one of {words}, not {given!r}{did_you_mean(given, [*STATUSES, *states])}")
