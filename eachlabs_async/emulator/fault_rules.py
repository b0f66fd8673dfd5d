"""Owns when something goes wrong: the rules that say so, the seeded dice, and what they plan for one request.

It refuses to say what goes wrong: the kinds of fault are in `kinds.py`.
"""

from __future__ import annotations

import json
from collections import Counter, OrderedDict
from collections.abc import Callable, Collection, Iterable, Mapping
from hashlib import blake2b
from typing import Final

from attrs import Factory, define, field

from ..transport.endpoints import ENDPOINTS
from .collection import encode
from .fault import DEFAULT_KINDS, Edit, Fault
from .handler_request import Clamp
from .reply import Reply
from .request_log import STORAGE, UNROUTED, RecordedRequest

__all__ = ["Faults", "FaultPlan", "Rule"]

_NAMES: Final = frozenset({endpoint.name for endpoint in ENDPOINTS} | {UNROUTED, *STORAGE})
_EDITED: Final = (200, 201, 202)
_REMEMBERED_LINES: Final = 100_000


@define(eq=False)
class Rule:
    """When a fault strikes, and how often it has: `matched` requests looked at, `fired` struck, `running` now."""

    fault: Fault
    endpoints: frozenset[str] | None
    times: int | None
    after: int
    when: Callable[[RecordedRequest], bool] | None
    matched: int = 0
    fired: int = 0
    running: int = 0

    def matches(self, request: RecordedRequest) -> bool:
        """Say whether the rule applies to this request, and count it as looked at."""
        if self.times is not None and self.fired >= self.times:
            return False
        if self.endpoints is not None and request.endpoint not in self.endpoints:
            return False
        if self.when is not None and not self.when(request):
            return False
        self.matched += 1
        return self.matched > self.after


@define
class FaultPlan:
    """What is to go wrong with one request."""

    delay_s: float = 0.0
    breaking: Fault | None = None
    clamp: Clamp | None = None
    short_page: int | None = None
    edits: list[Edit] = Factory(list[Edit])
    running: list[Rule] = Factory(list[Rule])

    def edit(self, reply: Reply, request: RecordedRequest) -> Reply:
        """Give the answer as the shaping faults leave it."""
        if reply.status not in _EDITED or not self.edits:
            return reply
        value = json.loads(reply.body)
        for edit in self.edits:
            value = edit(value, request)
        return Reply(reply.status, encode(value), reply.headers)

    def release(self) -> None:
        """Count the request out of the rules that cap how many run."""
        for rule in self.running:
            rule.running -= 1


@define
class _RandomFaults:
    rate: float
    kinds: tuple[Fault, ...]
    seed: int
    endpoints: frozenset[str] | None
    max_in_a_row: int
    # For each request line: how often it came, and how many faults in a row it has met.
    lines: OrderedDict[bytes, tuple[int, int]] = field(factory=OrderedDict[bytes, tuple[int, int]])

    def draw(self, request: RecordedRequest) -> Fault | None:
        if self.endpoints is not None and request.endpoint not in self.endpoints:
            return None
        request_line = blake2b(f"{request.method} {request.target} ".encode() + request.body, digest_size=16).digest()
        visits, in_a_row = self.lines.pop(request_line, (0, 0))
        # The dice know the line and how often it came, not the order of arrival: so concurrency changes nothing.
        roll = _share(f"{self.seed} {request_line.hex()} {visits}")
        fault: Fault | None = None
        if roll < self.rate:
            # What is left of the roll is as good a roll for the kind.
            fault = self.kinds[int(roll / self.rate * len(self.kinds))]
            if fault.breaks and in_a_row >= self.max_in_a_row:
                fault = None
        self.lines[request_line] = (visits + 1, in_a_row + 1 if fault is not None and fault.breaks else 0)
        if len(self.lines) > _REMEMBERED_LINES:
            self.lines.popitem(last=False)
        return fault


def _share(text: str) -> float:
    return int.from_bytes(blake2b(text.encode(), digest_size=7).digest()) / 2**56


def _checked_names(endpoint: str | Iterable[str] | None) -> frozenset[str] | None:
    if endpoint is None:
        return None
    names = frozenset({endpoint} if isinstance(endpoint, str) else endpoint)
    if unknown := names - _NAMES:
        raise ValueError(f"no such endpoint: {', '.join(sorted(unknown))} (there are {', '.join(sorted(_NAMES))})")
    return names


class Faults:
    """The faults of one emulator: scripted by `add`, random by `random`, gone with `clear`.

    `injected` counts the faults that struck, by kind.
    """

    def __init__(self, seed: int) -> None:
        self.injected: Counter[str] = Counter()
        self._seed = seed
        self._rules: list[Rule] = []
        self._random: _RandomFaults | None = None

    def add(
        self,
        fault: Fault,
        *,
        endpoint: str | Collection[str] | None = None,
        times: int | None = None,
        after: int = 0,
        when: Callable[[RecordedRequest], bool] | None = None,
    ) -> Rule:
        """Let `fault` strike, and give the rule (its `fired` counts).

        `endpoint` is one name or several (default: all); `times` how often (default: for ever); `after` how
        many matching requests go free first; `when` decides on the request. All shaping faults that apply
        take effect; of those that break the answer the first one added does, and the others wait.
        """
        rule = Rule(fault, _checked_names(endpoint), times, after, when)
        self._rules.append(rule)
        return rule

    def remove(self, rule: Rule) -> None:
        """Take one rule away; nothing happens where it has gone."""
        if rule in self._rules:
            self._rules.remove(rule)

    def random(
        self,
        rate: float = 0.05,
        kinds: Iterable[Fault] = DEFAULT_KINDS,
        *,
        endpoint: str | Collection[str] | None = None,
        seed: int | None = None,
        max_in_a_row: int = 2,
    ) -> None:
        """Let a share `rate` (0..1) of the requests meet one of `kinds`; a second call replaces the first.

        The same request line (with the same body) never meets more than `max_in_a_row` breaking faults in a
        row, so that a client which tries once more than that gets through. What strikes depends on the
        seed, the line and how often it came, not on the order of arrival.
        """
        drawn = tuple(kinds)
        if not 0 <= rate <= 1:
            raise ValueError("rate must be 0..1")
        if not drawn or any(fault.kind == "concurrency_cap" for fault in drawn):
            raise ValueError("kinds must hold at least one fault, and no concurrency_cap")
        seed = self._seed if seed is None else seed
        self._random = _RandomFaults(rate, drawn, seed, _checked_names(endpoint), max_in_a_row) if rate else None

    def clear(self) -> None:
        """Take all faults away; requests that met one are not freed from it."""
        self._rules.clear()
        self._random = None

    def plan(self, request: RecordedRequest) -> FaultPlan:
        """Decide what goes wrong with a request that has just arrived."""
        plan = FaultPlan()
        for rule in self._rules:
            # A broken answer stays as the first rule breaks it: later breaking rules do not even count it.
            if rule.fault.breaks and plan.breaking is not None:
                continue
            if not rule.matches(request):
                continue
            if rule.fault.kind == "concurrency_cap" and rule.running < rule.fault.most:
                rule.running += 1
                plan.running.append(rule)
                continue
            rule.fired += 1
            self._apply(plan, rule.fault, request)
        if self._random is not None and plan.breaking is None:
            fault = self._random.draw(request)
            if fault is not None:
                self._apply(plan, fault, request)
        return plan

    def _apply(self, plan: FaultPlan, fault: Fault, request: RecordedRequest) -> None:
        self.injected[fault.kind] += 1
        if fault.breaks:
            plan.breaking = fault
        if fault.edits is not None:
            plan.edits.append(fault.edits)
        if fault.clamp is not None:
            plan.clamp = fault.clamp
        if fault.page_limit is not None:
            plan.short_page = fault.page_limit
        if fault.seconds or fault.jitter:
            share = _share(f"{self._seed} {request.number} latency")
            plan.delay_s += fault.seconds + fault.jitter * share
        if fault.seconds_per_1000:
            plan.delay_s += fault.seconds_per_1000 * _rows_before(request.query) / 1000


def _rows_before(query: Mapping[str, str]) -> int:
    """How many rows stand before the page that is asked for, in either dialect; 0 where that cannot be read."""
    try:
        if "page" in query:
            return max(0, (int(query["page"]) - 1) * int(query.get("size", "50")))
        return max(0, int(query.get("offset", "0")))
    except ValueError:
        return 0
