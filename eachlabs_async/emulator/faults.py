"""Owns what goes wrong: the kinds of fault, the rules that say when, and the seeded dice.

A fault either takes the place of the answer (a status, a reset, a cut body) or shapes it (latency, a capped
total). One that takes its place strikes before the request is carried out, so that it did nothing, or after it:
`late=True`, and a cut or stalled answer always, so that what was asked for has been done and the client cannot know.
It refuses sockets: what a broken connection takes is in `wire.py`.
"""

from __future__ import annotations

import json
from collections import Counter, OrderedDict
from collections.abc import Callable, Collection, Iterable, Mapping
from datetime import datetime
from email.utils import format_datetime
from hashlib import blake2b
from typing import Any, Final

from attrs import Factory, define, field, frozen, validators

from ..endpoints import ENDPOINTS
from .answers import Answer, Clamp, phrase, refusal
from .collection import encode
from .journal import STORAGE, UNROUTED, Seen

__all__ = ["Fault", "Faults", "Plan", "Rule"]

Edit = Callable[[Any, Seen], Any]

_NAMES: Final = frozenset({endpoint.name for endpoint in ENDPOINTS} | {UNROUTED, *STORAGE})
_ROWS: Final = ("executions", "items", "workflows", "webhooks")
_BODILESS: Final = (204, 304)
_EDITED: Final = (200, 201, 202)
_REMEMBERED_LINES: Final = 100_000
_HTML: Final = b"<html><head><title>Bad Gateway</title></head><body><h1>Bad Gateway</h1></body></html>\n"


@frozen(kw_only=True)
class Fault:
    """One thing that can go wrong; made by the constructors below, given to `Faults.add` or `Faults.random`.

    `late` says that it strikes when the request has been carried out: its state has changed, and the answer is lost.
    """

    kind: str
    breaks: bool = True
    late: bool = False
    answer: Answer | None = None
    keep: float = field(default=0.5, validator=[validators.ge(0), validators.le(1)])
    seconds: float = field(default=0.0, validator=validators.ge(0))
    jitter: float = field(default=0.0, validator=validators.ge(0))
    seconds_per_1000: float = field(default=0.0, validator=validators.ge(0))
    clamp: Clamp | None = None
    edits: Edit | None = None
    most: int = 0

    @classmethod
    def status(
        cls,
        status: int,
        *,
        body: bytes | str | Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
        retry_after: float | str | datetime | None = None,
        content_type: str = "application/json",
        late: bool = False,
    ) -> Fault:
        """Answer with a status.

        `body` is sent as it is (a mapping as JSON), by default an error that names the status. `retry_after`
        becomes the header: seconds, an aware datetime (sent as an HTTP date), or text as it is. `late` carries
        the request out first: a 503 after a trigger that was taken on.
        """
        if body is None:
            body = b"" if status in _BODILESS else refusal(status, phrase(status).lower()).body
        elif isinstance(body, str):
            body = body.encode()
        elif isinstance(body, Mapping):
            body = encode(dict(body))
        sent = dict(headers or {})
        if isinstance(retry_after, datetime):
            sent["Retry-After"] = format_datetime(retry_after, usegmt=True)
        elif retry_after is not None:
            sent["Retry-After"] = retry_after if isinstance(retry_after, str) else f"{retry_after:g}"
        return cls(kind="status", late=late, answer=Answer(status, body, sent, content_type))

    @classmethod
    def html(cls, status: int = 502, *, late: bool = False) -> Fault:
        """Answer with a proxy's page of HTML (200 is possible too); `late` carries the request out first."""
        return cls(kind="html", late=late, answer=Answer(status, _HTML, {}, "text/html"))

    @classmethod
    def redirect(cls, location: str, status: int = 302) -> Fault:
        """Send the client elsewhere."""
        return cls(kind="redirect", answer=Answer(status, b"", {"Location": location}, "text/plain"))

    @classmethod
    def reset(cls, *, late: bool = False) -> Fault:
        """Reset the connection (RST) before any byte of an answer; `late` carries the request out first."""
        return cls(kind="reset", late=late)

    @classmethod
    def cut_headers(cls) -> Fault:
        """Carry the request out, and close the connection in the middle of the answer's headers."""
        return cls(kind="cut_headers", late=True)

    @classmethod
    def cut_body(cls, keep: float = 0.5) -> Fault:
        """Carry the request out, declare the whole body, send the share `keep` (0..1) of it, and close."""
        return cls(kind="cut_body", late=True, keep=keep)

    @classmethod
    def stalled_body(cls, keep: float = 0.5) -> Fault:
        """Carry the request out, send the share `keep` (0..1) of the body, and hold until the client leaves."""
        return cls(kind="stalled_body", late=True, keep=keep)

    @classmethod
    def stalled_answer(cls, *, late: bool = False) -> Fault:
        """Send nothing at all, and hold until the client leaves; `late` carries the request out first."""
        return cls(kind="stalled_answer", late=late)

    @classmethod
    def concurrency_cap(cls, most: int, *, retry_after: float | None = None) -> Fault:
        """Answer 429 while `most` requests under the same rule are in flight already.

        A rule with this fault applies for ever: its `times` counts refusals.
        """
        body = {
            "error": "concurrent execution limit reached",
            "status": 429,
            "code": "CONCURRENCY_LIMIT",
            "details": {"limit": most},
        }
        answer = cls.status(429, body=body, retry_after=retry_after).answer
        return cls(kind="concurrency_cap", answer=answer, most=most)

    @classmethod
    def latency(cls, seconds: float, *, jitter: float = 0.0) -> Fault:
        """Wait `seconds`, and up to `jitter` seconds more, before anything else."""
        return cls(kind="latency", breaks=False, seconds=seconds, jitter=jitter)

    @classmethod
    def deep_offset(cls, seconds_per_1000: float) -> Fault:
        """Wait `seconds_per_1000` for every 1000 rows that stand before the page, as databases do."""
        return cls(kind="deep_offset", breaks=False, seconds_per_1000=seconds_per_1000)

    @classmethod
    def capped_total(cls, at: int, *, exact_on_last_page: bool = True) -> Fault:
        """State at most `at` as the total of the list of executions, and `total_capped: true` where rows go on.

        As documented, the last page that has rows gives the exact total; `exact_on_last_page=False` caps
        there too.
        """

        def edited(answer: Any, seen: Seen) -> Any:
            true = answer["total_count"]
            place = answer["offset"] + len(answer["executions"])
            last = bool(answer["executions"]) and place >= true
            if true > at and not (last and exact_on_last_page):
                answer.update(total_count=at, total_capped=True)
            return answer

        return cls(kind="capped_total", breaks=False, edits=edited)

    @classmethod
    def clamped_limit(cls, largest: int, *, stated: bool = True) -> Fault:
        """Give pages of `largest` rows at most; `stated=False` echoes the limit asked for all the same."""
        return cls(kind="clamped_limit", breaks=False, clamp=Clamp(largest, stated))

    @classmethod
    def null_rows(cls) -> Fault:
        """Write `null` where the rows should be."""

        def edited(answer: Any, seen: Seen) -> Any:
            if isinstance(answer, list):
                return None
            return {name: None if name in _ROWS else value for name, value in answer.items()}

        return cls(kind="null_rows", breaks=False, edits=edited)

    @classmethod
    def edit(cls, change: Edit) -> Fault:
        """Put what `change(answer, request)` gives in place of the decoded JSON of a success."""
        return cls(kind="edit", breaks=False, edits=change)


DEFAULT_KINDS: Final[tuple[Fault, ...]] = (
    Fault.status(503),
    Fault.status(500),
    Fault.status(429),
    Fault.html(502),
    Fault.reset(),
    Fault.cut_headers(),
    Fault.cut_body(),
)
"""What `Faults.random` draws from unless told otherwise: what a client notices at once and can try again."""


@define(eq=False)
class Rule:
    """When a fault strikes, and how often it has: `matched` requests looked at, `fired` struck, `running` now."""

    fault: Fault
    endpoints: frozenset[str] | None
    times: int | None
    after: int
    when: Callable[[Seen], bool] | None
    matched: int = 0
    fired: int = 0
    running: int = 0

    def strikes(self, seen: Seen) -> bool:
        """Say whether the rule applies to this request, and count it as looked at."""
        if self.times is not None and self.fired >= self.times:
            return False
        if self.endpoints is not None and seen.endpoint not in self.endpoints:
            return False
        if self.when is not None and not self.when(seen):
            return False
        self.matched += 1
        return self.matched > self.after


@define
class Plan:
    """What is to go wrong with one request."""

    delay_s: float = 0.0
    breaking: Fault | None = None
    clamp: Clamp | None = None
    edits: list[Edit] = Factory(list[Edit])
    running: list[Rule] = Factory(list[Rule])

    def edited(self, answer: Answer, seen: Seen) -> Answer:
        """Give the answer as the shaping faults leave it."""
        if answer.status not in _EDITED or not self.edits:
            return answer
        value = json.loads(answer.body)
        for edit in self.edits:
            value = edit(value, seen)
        return Answer(answer.status, encode(value), answer.headers)

    def done(self) -> None:
        """Count the request out of the rules that cap how many run."""
        for rule in self.running:
            rule.running -= 1


@define
class _Dice:
    rate: float
    kinds: tuple[Fault, ...]
    seed: int
    endpoints: frozenset[str] | None
    max_in_a_row: int
    # For each request line: how often it came, and how many faults in a row it has met.
    lines: OrderedDict[bytes, tuple[int, int]] = field(factory=OrderedDict[bytes, tuple[int, int]])

    def throw(self, seen: Seen) -> Fault | None:
        if self.endpoints is not None and seen.endpoint not in self.endpoints:
            return None
        line = blake2b(f"{seen.method} {seen.target} ".encode() + seen.body, digest_size=16).digest()
        visits, in_a_row = self.lines.pop(line, (0, 0))
        # The dice know the line and how often it came, not the order of arrival: so concurrency changes nothing.
        roll = _share(f"{self.seed} {line.hex()} {visits}")
        fault: Fault | None = None
        if roll < self.rate:
            # What is left of the roll is as good a roll for the kind.
            fault = self.kinds[int(roll / self.rate * len(self.kinds))]
            if fault.breaks and in_a_row >= self.max_in_a_row:
                fault = None
        self.lines[line] = (visits + 1, in_a_row + 1 if fault is not None and fault.breaks else 0)
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
        self._dice: _Dice | None = None

    def add(
        self,
        fault: Fault,
        *,
        endpoint: str | Collection[str] | None = None,
        times: int | None = None,
        after: int = 0,
        when: Callable[[Seen], bool] | None = None,
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
        self._dice = _Dice(rate, drawn, seed, _checked_names(endpoint), max_in_a_row) if rate else None

    def clear(self) -> None:
        """Take all faults away; requests that met one are not freed from it."""
        self._rules.clear()
        self._dice = None

    def plan(self, seen: Seen) -> Plan:
        """Decide what goes wrong with a request that has just arrived."""
        plan = Plan()
        for rule in self._rules:
            # A broken answer stays as the first rule breaks it: later breaking rules do not even count it.
            if rule.fault.breaks and plan.breaking is not None:
                continue
            if not rule.strikes(seen):
                continue
            if rule.fault.kind == "concurrency_cap" and rule.running < rule.fault.most:
                rule.running += 1
                plan.running.append(rule)
                continue
            rule.fired += 1
            self._apply(plan, rule.fault, seen)
        if self._dice is not None and plan.breaking is None:
            fault = self._dice.throw(seen)
            if fault is not None:
                self._apply(plan, fault, seen)
        return plan

    def _apply(self, plan: Plan, fault: Fault, seen: Seen) -> None:
        self.injected[fault.kind] += 1
        if fault.breaks:
            plan.breaking = fault
        if fault.edits is not None:
            plan.edits.append(fault.edits)
        if fault.clamp is not None:
            plan.clamp = fault.clamp
        if fault.seconds or fault.jitter:
            share = _share(f"{self._seed} {seen.number} latency")
            plan.delay_s += fault.seconds + fault.jitter * share
        if fault.seconds_per_1000:
            plan.delay_s += fault.seconds_per_1000 * _rows_before(seen.query) / 1000


def _rows_before(query: Mapping[str, str]) -> int:
    """How many rows stand before the page that is asked for, in either dialect; 0 where that cannot be read."""
    try:
        if "page" in query:
            return max(0, (int(query["page"]) - 1) * int(query.get("size", "50")))
        return max(0, int(query.get("offset", "0")))
    except ValueError:
        return 0
