"""The rules that decide when a fault applies, random faults, and the plan of faults for one request.

The kinds of fault are in `fault`.
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
    """When a fault applies. `matched` counts the requests that matched, `fired` those that met the fault."""

    fault: Fault
    endpoints: frozenset[str] | None
    times: int | None
    after: int
    when: Callable[[RecordedRequest], bool] | None
    matched: int = 0
    fired: int = 0
    running: int = 0

    def matches(self, request: RecordedRequest) -> bool:
        """Whether the fault applies to this request; counts the request if it matches."""
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
    """The faults that one request meets."""

    delay_s: float = 0.0
    breaking: Fault | None = None
    clamp: Clamp | None = None
    short_page: int | None = None
    edits: list[Edit] = Factory(list[Edit])
    running: list[Rule] = Factory(list[Rule])

    def edit(self, reply: Reply, request: RecordedRequest) -> Reply:
        """Return the reply with the edits of shaping faults applied."""
        if reply.status not in _EDITED or not self.edits:
            return reply
        value = json.loads(reply.body)
        for edit in self.edits:
            value = edit(value, request)
        return Reply(reply.status, encode(value), reply.headers)

    def release(self) -> None:
        """Count the request as no longer in flight under its concurrency caps."""
        for rule in self.running:
            rule.running -= 1


@define
class _RandomFaults:
    rate: float
    kinds: tuple[Fault, ...]
    seed: int
    endpoints: frozenset[str] | None
    max_in_a_row: int
    # For each request line, the number of its requests and of consecutive faults.
    lines: OrderedDict[bytes, tuple[int, int]] = field(factory=OrderedDict[bytes, tuple[int, int]])

    def draw(self, request: RecordedRequest) -> Fault | None:
        if self.endpoints is not None and request.endpoint not in self.endpoints:
            return None
        request_line = blake2b(f"{request.method} {request.target} ".encode() + request.body, digest_size=16).digest()
        visits, in_a_row = self.lines.pop(request_line, (0, 0))
        # The draw depends on the request line and the number of its requests, not on the order of arrival, so that
        # concurrency does not change it.
        roll = _share(f"{self.seed} {request_line.hex()} {visits}")
        fault: Fault | None = None
        if roll < self.rate:
            # The quotient is uniform in 0..1 again, and chooses the kind.
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
    """The faults of one emulator: scripted ones by `add`, random ones by `random`; `clear` removes both.

    `injected` counts the requests that met a fault, by kind.
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
        """Add a scripted fault and return its rule, whose `fired` counts the requests that met it.

        `endpoint` is one name or several (default: all). `times` limits how often the fault applies (default:
        unlimited). `after` is the number of matching requests that come first without it. `when` is a predicate on the
        request. All shaping faults that apply take effect. Of those that replace the response only the first one added
        does; the others wait for another request.
        """
        rule = Rule(fault, _checked_names(endpoint), times, after, when)
        self._rules.append(rule)
        return rule

    def remove(self, rule: Rule) -> None:
        """Remove one rule; does nothing if it is not there any more."""
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
        """Let a share `rate` (0..1) of the requests meet one of `kinds`. A second call replaces the first.

        The same request line with the same body meets at most `max_in_a_row` faults in a row that replace the response,
        so that a client with one attempt more succeeds. The draw depends on the seed, the request line and the number
        of its requests, not on the order of arrival.
        """
        drawn = tuple(kinds)
        if not 0 <= rate <= 1:
            raise ValueError("rate must be 0..1")
        if not drawn or any(fault.kind == "concurrency_cap" for fault in drawn):
            raise ValueError("kinds must contain at least one fault, and no concurrency_cap")
        seed = self._seed if seed is None else seed
        self._random = _RandomFaults(rate, drawn, seed, _checked_names(endpoint), max_in_a_row) if rate else None

    def clear(self) -> None:
        """Remove all faults. A request that has already met one is not affected."""
        self._rules.clear()
        self._random = None

    def plan(self, request: RecordedRequest) -> FaultPlan:
        """Return the faults of a request that has just arrived."""
        plan = FaultPlan()
        for rule in self._rules:
            # Only the first rule replaces the response; later rules of that kind do not count the request.
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
    """The number of rows before the requested page, by offset or by page; 0 if the query is invalid."""
    try:
        if "page" in query:
            return max(0, (int(query["page"]) - 1) * int(query.get("size", "50")))
        return max(0, int(query.get("offset", "0")))
    except ValueError:
        return 0
