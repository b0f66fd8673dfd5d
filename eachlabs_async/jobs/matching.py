"""Match executions to inputs whose answer was lost, as pure functions.

An execution is an input's if its inputs are equal JSON, or differ only by defaults that the service was seen to add. It
is certain only if no input under way could own it, and if there are no more such executions than inputs that could own
them: otherwise another client may have sent the same. Where inputs contain each other, the most specific one owns it,
unless the defaults alone would make the other one equal. A bulk is matched as a whole: each member that is not claimed
must be one of the inputs of its request, and an execution outside of a bulk is not matched to an input of a bulk.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from attrs import frozen

from .claims import SentInput
from .sent_inputs import Defaults, additions


@frozen(kw_only=True)
class Candidate:
    """An execution that was created in the time of a call; `created` holds the earliest and latest local time of that.

    `in_full` is whether it was read in full, so that its `bulk_id` is known.
    """

    id: str
    status: str
    inputs: dict[str, Any] | None
    created: tuple[float, float] = (float("-inf"), float("inf"))
    started_at: datetime | None = None
    bulk_id: str | None = None
    in_full: bool = True


def may_fit(one: SentInput, candidate: Candidate) -> bool:
    """Whether a candidate contains all that was sent: it may be this input's, with defaults that are not known."""
    return one.may_have_created(*candidate.created) and additions(candidate.inputs, one.value) is not None


class _Fits:
    """Which inputs could own which candidates, by digest."""

    def __init__(self, defaults: Defaults) -> None:
        self._defaults = defaults
        self._known: dict[tuple[str, str], bool] = {}

    def fits(self, one: SentInput, candidate: Candidate) -> bool:
        if candidate.inputs is None or not one.may_have_created(*candidate.created):
            return False
        pair = one.key, candidate.id
        if pair not in self._known:
            added = None if one.value is None else additions(candidate.inputs, one.value)
            if one.value is None:
                self._known[pair] = SentInput("", candidate.inputs, False, None, 0.0).key == one.key
            else:
                self._known[pair] = added is not None and self._defaults.explain(added)
        return self._known[pair]

    def only_by_fixed_defaults(self, one: SentInput, candidate: Candidate) -> bool:
        added = additions(candidate.inputs, one.value)
        return bool(added) and self._defaults.are_fixed(added or {})


def _covers(members: Sequence[Candidate], inputs: Sequence[SentInput], fits: _Fits) -> bool:
    """Whether each member can be given to an input of its own."""
    owner: dict[int, Candidate] = {}

    def place(member: Candidate, tried: set[int]) -> bool:
        for number, one in enumerate(inputs):
            if number not in tried and fits.fits(one, member):
                tried.add(number)
                if number not in owner or place(owner[number], tried):
                    owner[number] = member
                    return True
        return False

    return all(place(member, set()) for member in members)


def match(
    lost: Sequence[SentInput],
    under_way: Sequence[SentInput],
    others_lost: Sequence[SentInput],
    candidates: Sequence[Candidate],
    defaults: Defaults,
) -> list[Candidate | None]:
    """Return the candidate of each lost input that is certain; `candidates` are not claimed, in a stable order.

    `under_way` and `others_lost` are the other inputs of this client that could own one of them.
    """
    fits = _Fits(defaults)
    claimants = list(dict.fromkeys([*lost, *others_lost, *under_way]))
    bulks: dict[str, list[Candidate]] = {}
    for one in candidates:
        if one.bulk_id is not None:
            bulks.setdefault(one.bulk_id, []).append(one)
    requests: dict[object, list[SentInput]] = {}
    for claimant in claimants:
        requests.setdefault(claimant.request, []).append(claimant)
    covers: dict[tuple[str, object], bool] = {}

    def may_own(claimant: SentInput, candidate: Candidate) -> bool:
        if not fits.fits(claimant, candidate) or claimant.bulk != (candidate.bulk_id is not None):
            return False
        if candidate.bulk_id is None:
            return True
        pair = candidate.bulk_id, claimant.request
        if pair not in covers:
            covers[pair] = _covers(bulks[candidate.bulk_id], requests[claimant.request], fits)
        return covers[pair]

    owned: dict[str, list[Candidate]] = {}  # by the digest of the inputs that own them
    disputed: set[str] = set()
    for candidate in candidates:
        owners = [claimant for claimant in claimants if may_own(claimant, candidate)]
        by_key = {owner.key: owner for owner in owners}
        top = _most_specific(list(by_key.values()), candidate, fits)
        if top is None:
            disputed |= by_key.keys()
        else:
            owned.setdefault(top.key, []).append(candidate)
    found: dict[SentInput, Candidate] = {}
    for key, mine in owned.items():
        equal = [claimant for claimant in claimants if claimant.key == key and any(may_own(claimant, c) for c in mine)]
        is_clear = key not in disputed and all(claimant.until is not None for claimant in equal)
        if is_clear and len(mine) <= len(equal):
            for claimant in equal:
                chosen = next((one for one in mine if may_own(claimant, one)), None)
                if chosen is not None:
                    mine.remove(chosen)
                    found[claimant] = chosen
    return [found.get(one) for one in lost]


def _most_specific(owners: list[SentInput], candidate: Candidate, fits: _Fits) -> SentInput | None:
    """Return the input that contains all others which could own a candidate, or None if that is not certain."""
    if len(owners) <= 1:
        return owners[0] if owners else None
    known = [owner for owner in owners if owner.value is not None]
    for owner in known:
        others = [other for other in known if other is not owner]
        if all(additions(owner.value, other.value) is not None for other in others):
            unclear = any(fits.only_by_fixed_defaults(other, candidate) for other in others)
            return None if unclear or len(known) < len(owners) else owner
    return None
