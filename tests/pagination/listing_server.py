"""A listing that answers like a server, but in memory, for testing `Walk` with every kind of answer."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from typing import Any

from eachlabs_async.pagination.rules import PageRequest
from eachlabs_async.pagination.walk import Walk
from eachlabs_async.transport.page_shape import PageShape

OFFSET = PageShape(dialect="offset", rows="rows", identity="id", total="total", capped="capped")
PAGES = PageShape(dialect="page", rows="rows", identity="id", total="total", size="size")


class Answer:
    """One answer, as passed to a walk."""

    def __init__(self, ids: list[str], total: int | None, exact: bool, size: int | None) -> None:
        self.ids, self.total, self.exact, self.size = ids, total, exact, size


class Listing:
    """Rows, newest first, and options for how a server may answer.

    `clamp` is the maximum number of rows per answer, stated or not. `totals` is "exact", "capped" (at `cap`, exact on
    the last page) or "absent". `slips` are the numbers of the requests (from 0) that are wrongly answered with no rows.
    """

    def __init__(
        self,
        count: int,
        shape: PageShape = OFFSET,
        *,
        clamp: int | None = None,
        stated: bool = True,
        totals: str = "exact",
        cap: int = 10,
        slips: frozenset[int] = frozenset(),
        extra: int = 0,
    ) -> None:
        self.ids = [f"row-{number}" for number in range(count)]
        self.shape = shape
        self.clamp = clamp
        self.stated = stated
        self.totals = totals
        self.cap = cap
        self.slips = slips
        self.extra = extra
        self.asked: list[PageRequest] = []
        self._born = count

    def insert(self, count: int, at: int = 0) -> None:
        new = [f"row-{number}" for number in range(self._born, self._born + count)]
        self._born += count
        self.ids[at:at] = new

    def answer(self, ask: PageRequest) -> Answer:
        number = len(self.asked)
        self.asked.append(ask)
        size = ask.size if self.clamp is None else min(ask.size, self.clamp)
        offset = ask.offset if self.shape.dialect == "offset" else (ask.number - 1) * size
        ids = self.ids[offset : offset + size + self.extra]
        if number in self.slips:
            ids = []
        total: int | None = len(self.ids)
        exact = True
        if self.totals == "absent":
            total, exact = None, False
        elif self.totals == "capped" and len(self.ids) > self.cap and offset + size < len(self.ids):
            total, exact = self.cap, False
        return Answer(ids, total, exact, (size if self.stated else ask.size) if self.shape.size else None)


def drive(
    walk: Walk,
    listing: Listing,
    *,
    ahead: int = 0,
    between: Callable[[], Any] | None = None,
    shuffle: random.Random | None = None,
    most_requests: int = 3000,
) -> Iterator[list[tuple[str, int]]]:
    """Walk like a pager, page by page. Yield the ids to deliver, each with the offset after it.

    Requests made ahead are answered in random order with `shuffle`. `between` is called before each answer.
    """
    out: dict[PageRequest, tuple[Answer | None, int]] = {}
    ended = False
    while not ended:
        assert len(listing.asked) < most_requests, "the walk does not end"
        asks = walk.next_requests(ahead)
        out = {ask: held for ask, held in out.items() if ask in asks}
        for ask in asks:
            out.setdefault(ask, (None, walk.accepted))
        assert len(out) <= ahead + 1
        while out[asks[0]][0] is None:
            waiting = [ask for ask, (answer, _) in out.items() if answer is None]
            ask = shuffle.choice(waiting) if shuffle is not None else asks[0]
            if between is not None:
                between()
            out[ask] = listing.answer(ask), out[ask][1]
        (answer, asked_at), search = out.pop(asks[0]), walk.search
        assert answer is not None
        accepted = walk.take(asks[0], asked_at, answer.ids, answer.total, exact=answer.exact, stated_size=answer.size)
        if accepted is None:
            out = out if walk.search == search else {}
            continue
        ended = accepted.ended
        ids = [answer.ids[position] for position in accepted.fresh]
        yield [
            (identity, asks[0].offset + position + 1) for identity, position in zip(ids, accepted.fresh, strict=True)
        ]
        walk.mark_delivered(ids)
        for ask in walk.next_requests(ahead - 1) if ahead and not ended else ():
            out.setdefault(ask, (None, walk.accepted))


def rows_of(walk: Walk, listing: Listing, **options: Any) -> list[str]:
    return [identity for page in drive(walk, listing, **options) for identity, _ in page]
