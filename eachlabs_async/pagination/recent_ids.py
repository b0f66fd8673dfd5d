"""The ids that a walk by cursor has seen lately, in bounded memory."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

WINDOW_ROWS: Final = 10_000
"""Ids remembered at least."""


class RecentIds:
    """The most recent ids: at least `keep`, at most twice as many, or all of them if `keep` is None."""

    __slots__ = ("_keep", "_older", "_recent")

    def __init__(self, keep: int | None) -> None:
        self._keep = keep
        # Two generations instead of an ordered dict: dropping the old ids is then a single assignment.
        self._recent: set[str] = set()
        self._older: set[str] = set()

    def unseen(self, ids: Sequence[str]) -> tuple[list[int], list[int]]:
        """Return the positions in `ids` of new ids (of duplicates the first one), and of known ids."""
        recent, older = self._recent, self._older
        distinct = set(ids)
        if len(distinct) == len(ids) and recent.isdisjoint(distinct) and older.isdisjoint(distinct):
            return list(range(len(ids))), []
        here: set[str] = set()
        fresh: list[int] = []
        seen: list[int] = []
        for position, identity in enumerate(ids):
            if identity in recent or identity in older:
                seen.append(position)
            elif identity not in here:
                here.add(identity)
                fresh.append(position)
        return fresh, seen

    def holds(self, identity: str) -> bool:
        """Whether this id is known."""
        return identity in self._recent or identity in self._older

    def add(self, ids: Sequence[str]) -> None:
        """Add ids; known ones count as recent again."""
        if self._keep is not None and len(self._recent) + len(ids) > self._keep:
            self._older, self._recent = self._recent, set()
        self._recent.update(ids)
