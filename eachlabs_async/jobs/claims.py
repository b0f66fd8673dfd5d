"""Which executions belong to which call of one client, so that a look-up does not take another call's execution.

Every input that is sent is registered until it is known what became of it. A look-up for what a lost answer created
skips the executions that an answer gave to another input (they are claimed), and those that another input, under way or
lost, may own.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence
from typing import Any, Final

from attrs import define, field

from .sent_inputs import Defaults, additions, digest

MAX_CLAIMS: Final = 10_000
"""Ids remembered at most, the latest ones; a look-up goes back no further than its own call."""
MAX_LOST: Final = 1_000
"""Lost inputs remembered at most, the latest ones."""
MAX_SAMPLES: Final = 20
"""Executions of a scope whose inputs are remembered, to see what the service adds to them."""
MAX_SCOPES: Final = 1_000
LATE_S: Final = 0.5
"""Seconds after a call was given up in which its execution may still be created."""
EARLY_S: Final = 0.25
"""Seconds by which the clock that stamps executions may be behind the one that stamps answers."""


@define(eq=False)
class SentInput:
    """One input of a creating request, with the Unix times between which its execution may have been created.

    `scope` names the workflow or model. `request` is shared by the inputs of one request, and `bulk` is whether that is
    a bulk trigger. `until` is None while the request is under way. `value` is None if only the digest is known. `entry`
    names the entry of a journal, if the input has one: the next run of the job registers it again.
    """

    scope: str
    value: Any
    bulk: bool
    request: object
    since: float
    until: float | None = None
    entry: tuple[str, int] | None = None
    _key: str | None = field(default=None, alias="key")

    @property
    def key(self) -> str:
        """The digest of the value."""
        if self._key is None:
            try:
                self._key = digest(self.value)
            except (TypeError, ValueError):
                self._key = f"unequal to all others: {id(self)}"
        return self._key

    def may_have_created(self, earliest: float, latest: float) -> bool:
        """Whether an execution that was created between these local times may be this input's."""
        return latest >= self.since - EARLY_S and (self.until is None or earliest <= self.until + LATE_S)


class Claims:
    """The claimed executions of one client, and the inputs that are under way or lost."""

    __slots__ = ("_defaults", "_ids", "_lost", "_samples", "_under_way")

    def __init__(self) -> None:
        self._ids: dict[str, None] = {}
        self._under_way: dict[SentInput, None] = {}
        self._lost: dict[SentInput, None] = {}
        self._samples: dict[str, deque[tuple[str, Any]]] = {}
        self._defaults: dict[str, Defaults] = {}

    # ---- ids

    def add(self, ids: Iterable[str]) -> None:
        """Claim executions."""
        for identity in ids:
            self._ids[identity] = None
        while len(self._ids) > MAX_CLAIMS:
            del self._ids[next(iter(self._ids))]

    def __contains__(self, identity: str) -> bool:
        """Whether an execution is claimed."""
        return identity in self._ids

    # ---- inputs

    def begin(self, scope: str, values: Sequence[Any], *, bulk: bool, now: float) -> list[SentInput]:
        """Register the inputs of a request that is about to be sent."""
        request = object()
        inputs = [SentInput(scope, value, bulk, request, now) for value in values]
        self._under_way.update(dict.fromkeys(inputs))
        return inputs

    def lose(self, inputs: Iterable[SentInput], now: float) -> None:
        """Record that no clear answer came for inputs: they may have an execution."""
        for one in inputs:
            if one.entry is not None:  # An earlier run of the job may have registered it.
                self.settle([other for other in self._lost if other.entry == one.entry])
            one.until = now if one.until is None else one.until
            self._under_way.pop(one, None)
            self._lost[one] = None
        while len(self._lost) > MAX_LOST:
            del self._lost[next(iter(self._lost))]

    def is_under_way(self, one: SentInput) -> bool:
        """Whether it is not known yet what became of an input."""
        return one in self._under_way

    def settle(self, inputs: Iterable[SentInput]) -> None:
        """Record that inputs were certainly not carried out, or that their executions are known."""
        for one in inputs:
            self._under_way.pop(one, None)
            self._lost.pop(one, None)

    def claim(self, one: SentInput, identity: str) -> None:
        """Record the execution of an input."""
        self.settle([one])
        self.add([identity])
        if one.value is not None:
            samples = self._samples.setdefault(one.scope, deque(maxlen=MAX_SAMPLES))
            samples.append((identity, one.value))
            while len(self._samples) > MAX_SCOPES:
                del self._samples[next(iter(self._samples))]

    def release(self, pairs: Iterable[tuple[SentInput | None, str]]) -> None:
        """Take back claims that no journal could record: the next run of the job looks for these executions."""
        for one, identity in pairs:
            self._ids.pop(identity, None)
            if one is not None:
                self._lost[one] = None

    def rivals(self, scope: str) -> tuple[list[SentInput], list[SentInput]]:
        """Return the inputs of a scope that are under way, and those that are lost."""
        return (
            [one for one in self._under_way if one.scope == scope],
            [one for one in self._lost if one.scope == scope],
        )

    # ---- what the service adds to inputs

    def samples(self, scope: str) -> list[tuple[str, Any]]:
        """Return the latest executions of a scope with the inputs that were sent."""
        return list(self._samples.get(scope, ()))

    def defaults(self, scope: str) -> Defaults:
        """Return what the service was seen to add to the inputs of a scope."""
        while len(self._defaults) >= MAX_SCOPES and scope not in self._defaults:
            del self._defaults[next(iter(self._defaults))]
        return self._defaults.setdefault(scope, Defaults())

    def learn(self, scope: str, found: Any, sent: Any) -> None:
        """Record the inputs that an execution of this client shows."""
        if added := additions(found, sent):
            self.defaults(scope).learn(added)
