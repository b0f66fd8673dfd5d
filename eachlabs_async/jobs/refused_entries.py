"""Entries of bulk answers that were refused in words that this package does not know; each is sent once more, alone.

Such words may describe the input, or the account's limit, which passes. An entry is therefore sent again once an
execution has ended and left a place, and other inputs wait so that they do not take it. If it is accepted then, its
words mean the limit from now on. If it is refused again, that is final, and entries with the same words do not wait.
"""

from __future__ import annotations

import re
from collections import deque
from typing import Final, Generic, TypeVar

E = TypeVar("E")

MAX_WORDS: Final = 1000
_SPECIFIC: Final = re.compile(r"\"[^\"]*\"|'[^']*'|\d+")
"""Parts of a message that differ from one input to the next."""


def words_of(message: str) -> str:
    """Return a message without what differs from one input to the next."""
    return _SPECIFIC.sub("#", message)


class RefusedEntries(Generic[E]):
    """The refused entries of one map. Counts of `ended` executions say whether one has ended since a refusal."""

    def __init__(self) -> None:
        self._waiting: deque[tuple[E, str, int]] = deque()
        self._alone: dict[E, str] = {}  # sent again, with the words of their refusal
        self._limit: set[str] = set()
        self._final: set[str] = set()

    def __len__(self) -> int:
        """How many entries wait to be sent again."""
        return len(self._waiting)

    @property
    def holds_others(self) -> bool:
        """Whether other inputs are to wait, because an entry waits for a place."""
        return any(words not in self._final for _, words, _ in self._waiting)

    def is_limit(self, message: str) -> bool:
        """Whether these words were found to mean the account's limit."""
        return words_of(message) in self._limit

    def refuse(self, entry: E, message: str, ended: int) -> bool:
        """Record a refusal; `ended` executions had ended when its request was sent. Return whether it is final."""
        words = words_of(message)
        if self._alone.pop(entry, None) is not None:
            if len(self._final) < MAX_WORDS:
                self._final.add(words)
            return True
        self._waiting.append((entry, words, ended))
        return False

    def take(self, ended: int, running: int) -> E | None:
        """Return an entry that is to be sent alone now, if there is one."""
        for number, (entry, words, before) in enumerate(self._waiting):
            if words in self._final or ended > before or not running:
                del self._waiting[number]
                self._alone[entry] = words
                return entry
        return None

    def accept(self, entry: E) -> list[E]:
        """Record that an entry was accepted. Return those that were refused in the same words, to be sent as usual."""
        words = self._alone.pop(entry, None)
        if words is None:
            return []
        self._final.discard(words)
        self._limit.add(words)
        found = [other for other, theirs, _ in self._waiting if theirs == words]
        self._waiting = deque(one for one in self._waiting if one[1] != words)
        return found
