"""Find the executions that creating requests with a lost answer may have created, and match them to their inputs.

`lookup` reads the candidates and `matching` decides. A listing may show an execution late, and another client's equal
one first. What is found is therefore certain only if it is still the only match when the listing's lag is over. The
request itself is sent by `create`, or by a map.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Collection, Sequence
from datetime import UTC, datetime, timedelta
from typing import Final, TypeVar

from attrs import frozen

from ..errors import EachLabsError, OutcomeUnknownError
from ..transport.arguments import rfc3339
from ..transport.transport import Transport
from .claims import Claims, SentInput
from .lookup import Lookup, Question
from .matching import Candidate, match, may_fit
from .sent_inputs import additions

T = TypeVar("T")

CLOCK_TOLERANCE: Final = timedelta(seconds=2)
LOOKUP_ATTEMPTS: Final = 5
LISTING_LAG_S: Final = 2.0
"""Seconds after which a listing is taken to show every execution."""
MAX_CANDIDATES: Final = 100
"""Ids in an error at most."""


@frozen
class TimeSpan:
    """The time that a call took, by this machine's clock."""

    since: datetime
    until: datetime

    @classmethod
    def until_now(cls, since: float) -> TimeSpan:
        """Return the span from `since` (Unix time) to now."""
        return cls(datetime.fromtimestamp(since, UTC), datetime.now(UTC))

    def as_filters(self, **filters: str) -> dict[str, str]:
        """Return `filters` of a listing, together with `since` and `until` of this span, widened by the tolerance."""
        return {
            **filters,
            "since": rfc3339(self.since - CLOCK_TOLERANCE),
            "until": rfc3339(self.until + CLOCK_TOLERANCE),
        }


class Search:
    """The looks for the executions of lost inputs of one scope; each look may settle some of them.

    `claimed` holds executions that belong to other inputs, in addition to those that the client's calls have claimed.
    """

    def __init__(
        self, lookup: Lookup, claims: Claims, lost: Sequence[SentInput], claimed: Collection[str] = frozenset()
    ) -> None:
        self._lookup = lookup
        self._claims = claims
        self._claimed = claimed
        self._left = list(lost)
        self._possible: dict[SentInput, list[str]] = {}
        self._cut = ""
        self._unconfirmed = False

    @property
    def confirmed_in_s(self) -> float | None:
        """In how many seconds a look can confirm what the last one found, or None if it found nothing to confirm."""
        return max(0.0, self._lag_ends - time.time()) if self._unconfirmed else None

    @property
    def _lag_ends(self) -> float:
        return max((one.until or 0.0 for one in self._left), default=0.0) + LISTING_LAG_S

    def _is_claimed(self, identity: str) -> bool:
        return identity in self._claims or identity in self._claimed

    async def look(self) -> dict[SentInput, Candidate]:
        """Look once and return the executions that are certain; they are claimed. Raises the errors of a call."""
        lost, claims = self._left, self._claims
        scope = lost[0].scope
        known = dict(claims.samples(scope))

        def lacks_defaults(candidates: Sequence[Candidate]) -> bool:
            return any(additions(found.inputs, one.value) for found in candidates for one in lost)

        began = time.time()
        since, until = _span_with_rivals(lost, claims.rivals(scope)[1], began)
        look = await self._lookup.look(
            Question(
                since=since,
                until=until,
                is_claimed=self._is_claimed,
                wants=lambda found: any(may_fit(one, found) for one in lost),
                samples=list(known),
                wants_sample=lacks_defaults,
            )
        )
        for identity, inputs in look.samples.items():
            claims.learn(scope, inputs, known[identity])
        # From here on without awaiting: other calls claim executions, and begin, at any time.
        candidates = [one for one in reversed(look.candidates) if not self._is_claimed(one.id)]
        self._possible = {one: [found.id for found in candidates if may_fit(one, found)] for one in lost}
        self._cut = look.cut
        under_way, others_lost = claims.rivals(scope)
        matches = match(lost, under_way, others_lost, candidates, claims.defaults(scope))
        found = {one: chosen for one, chosen in zip(lost, matches, strict=True) if chosen is not None}
        self._unconfirmed = bool(found) and not look.cut and began < self._lag_ends
        if look.cut or self._unconfirmed:
            return {}
        return found

    def accept(self, found: dict[SentInput, Candidate]) -> None:
        """Claim what a look has found."""
        for one, chosen in found.items():
            self._claims.claim(one, chosen.id)
        self._left = [one for one in self._left if one not in found]

    def explain(self, unknown: OutcomeUnknownError, inputs: Sequence[SentInput]) -> None:
        """Add to an error what the last look showed of inputs that stay unknown: the candidates and the reason."""
        ids = list(dict.fromkeys(identity for one in inputs for identity in self._possible.get(one, ())))
        unknown.candidates = tuple(ids[:MAX_CANDIDATES])
        count = len(ids)
        text = f"a look-up found {count or 'no'} candidate{'' if count == 1 else 's'}"
        append(unknown, f"{text}, and was incomplete: {self._cut}" if self._cut else text)


def _span_with_rivals(lost: Sequence[SentInput], others_lost: Sequence[SentInput], now: float) -> tuple[float, float]:
    """Return the time in which the executions were created that must be known to tell which are these inputs'.

    Another lost input, whose call overlaps theirs, counts as a possible owner, so its own execution must be seen too.
    """
    since = min(one.since for one in lost)
    until = max(now if one.until is None else one.until for one in lost)
    overlapping = [one for one in others_lost if one.since <= until and (one.until or now) >= since]
    return (
        min([since, *(one.since for one in overlapping)]),
        max([until, *(one.until or now for one in overlapping)]),
    )


async def reconcile(
    search: Search,
    transport: Transport,
    lost: Sequence[SentInput],
    *,
    answer_of: Callable[[list[Candidate]], T | None],
    unknown: OutcomeUnknownError,
) -> T | None:
    """Return the answer that a request would have had, made from what was found, or None if it stays unknown.

    The listing is read up to five times, and once more to confirm a match, within the deadline of a call. `answer_of`
    returns an answer if the executions, one for each input, are those of one request. If no answer can be made, the ids
    of the candidates and the reason are added to `unknown`.
    """
    loop = asyncio.get_running_loop()
    ends = loop.time() + transport.timeouts.deadline_s
    pause_s = transport.retry.base_s
    attempts = 0
    while True:
        try:
            found = await search.look()
        except EachLabsError as exc:
            append(unknown, f"the look-up failed: {exc.message}")
            return None
        answer = answer_of([found[one] for one in lost]) if len(found) == len(lost) else None
        if answer is not None:
            search.accept(found)
            return answer
        attempts += 1
        wait_s = search.confirmed_in_s
        if wait_s is None:
            wait_s, pause_s = pause_s, 2 * pause_s
        elif attempts == LOOKUP_ATTEMPTS:
            attempts -= 1  # Nothing but the end of the listing's lag is missing.
        if attempts == LOOKUP_ATTEMPTS or loop.time() + wait_s >= ends:
            break
        await asyncio.sleep(wait_s)
    search.explain(unknown, lost)
    return None


def append(unknown: OutcomeUnknownError, text: str) -> None:
    """Add a text to the message of an error."""
    unknown.message += f"; {text}"
    unknown.args = (unknown.message,)
