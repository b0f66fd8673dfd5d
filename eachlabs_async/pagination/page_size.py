"""The sizes of the pages of a walk: how many rows to request at once, and how many the server gives."""

from __future__ import annotations

from attrs import define

from .walk_values import Answer, Request


@define
class PageSize:
    """The number of rows per request, `limit`; the most that the service accepts, `largest`; and what the server gives.

    `rows` is the most that the server seems to give at once.
    """

    limit: int
    largest: int
    rows: int

    @property
    def usual(self) -> int:
        """The number of rows to expect on a page."""
        return min(self.limit, self.rows)

    def numbered(self, wanted: int, overlap: int) -> tuple[int, int]:
        """Return the offset and the size of the page by number with the most rows from the offset `wanted` on.

        It begins `overlap` rows above, if that is possible.
        """
        most = min(self.limit + overlap, self.rows, self.largest)
        offset, size, gain = wanted // most * most, most, 0
        for shared in (overlap, min(overlap, 1)):
            for each in range(most, most // 2 if gain else 0, -1):
                first = (wanted - shared) // each * each
                if first + each - wanted > gain:
                    offset, size, gain = first, each, first + each - wanted
                if gain >= each - shared:
                    break
            if gain:
                break
        return offset, size

    def is_last(self, request: Request, answer: Answer, at: int, *, longest: int) -> bool:
        """Return whether the listing ends with an answer that begins at the offset `at`; `longest` is as below."""
        end = at + len(answer.keys)
        if answer.exact and answer.total is not None:
            return answer.total <= end
        return len(answer.keys) < min(longest, request.size) and (answer.total or 0) <= end

    def offset_of(self, request: Request, answer: Answer, *, longest: int, again: bool) -> int | None:
        """Return the offset of the first row of a page by number; None if the size that numbers count by is unknown.

        `longest` is the length of the longest page so far; `again` says that the last answer was short as well.
        """
        count, stated = len(answer.keys), answer.size
        if stated and stated != request.size:
            self.rows = stated
            return (request.number - 1) * stated
        # A stated size is believed behind page 1, where known rows show whether it is true.
        if not 0 < count < request.size or (stated and request.number > 1):
            return request.offset
        is_last = request.offset + count == answer.total if answer.exact else request.size <= longest
        if is_last:
            return request.offset
        if not again:
            return None
        self.rows = count
        return 0 if request.number == 1 else None
