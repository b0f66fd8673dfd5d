"""Tests for the matching of executions to lost inputs, as tables and properties."""

from __future__ import annotations

import random
from datetime import UTC, datetime
from typing import Any

import pytest

from eachlabs_async.jobs import claims as claims_module
from eachlabs_async.jobs.claims import EARLY_S, LATE_S, Claims, SentInput
from eachlabs_async.jobs.matching import Candidate, match
from eachlabs_async.jobs.placement import Placement, Stray
from eachlabs_async.jobs.sent_inputs import Defaults, additions
from eachlabs_async.jobs.service_clock import TOLERANCE_S, ServiceClock

A, B, AB, ABC = {"a": 1}, {"b": 2}, {"a": 1, "b": 2}, {"a": 1, "b": 2, "c": 3}


def lost(value: Any, *, bulk: bool = False, request: object = None, until: float | None = 1.0) -> SentInput:
    return SentInput("s", value, bulk, request or object(), 0.0, until=until)


def found(identity: str, inputs: Any, bulk_id: str | None = None, at: float = 0.5) -> Candidate:
    return Candidate(id=identity, status="running", inputs=inputs, bulk_id=bulk_id, created=(at, at))


def ids(mine: list[SentInput], candidates: list[Candidate], *others: SentInput, learned: Any = None) -> list[Any]:
    """Return the ids that `mine` get; `others` are under way if they have no end."""
    defaults = Defaults()
    defaults.learn(additions({**A, **(learned or {})}, A) or {})
    flying = [one for one in others if one.until is None]
    gone = [one for one in others if one.until is not None]
    return [one and one.id for one in match(mine, flying, gone, candidates, defaults)]


@pytest.mark.parametrize(
    ("inputs", "candidates", "wanted"),
    [
        ([A], [("x", A)], ["x"]),
        ([A], [("x", AB)], [None]),
        ([A], [("x", {"a": 2})], [None]),
        ([{"a": True}], [("x", A)], [None]),
        ([A, A], [("x", A), ("y", A)], ["x", "y"]),
        ([A, A], [("x", A)], ["x", None]),
        ([A], [("x", A), ("y", A)], [None]),
        ([A, AB], [("x", AB), ("y", A)], ["y", "x"]),
        ([A], [("x", None)], [None]),
        ([{}], [("x", A)], [None]),
    ],
)
def test_inputs_are_matched_to_executions(inputs: list[Any], candidates: list[Any], wanted: list[str | None]) -> None:
    """Only equal inputs match if no defaults are known; if more match than were sent, none is certain."""
    assert ids([lost(one) for one in inputs], [found(*one) for one in candidates]) == wanted


@pytest.mark.parametrize(
    ("inputs", "candidates", "wanted"),
    [
        ([A], [("x", {**A, "seed": 5})], ["x"]),
        ([A], [("x", {**A, "seed": 6})], [None]),
        ([A], [("x", {**AB, "seed": 5})], [None]),
        ([A, AB], [("x", {**A, "seed": 5}), ("y", {**AB, "seed": 5})], ["x", "y"]),
        ([A, AB], [("y", {**AB, "seed": 5})], [None, "y"]),
        ([A, {**A, "seed": 5}], [("x", {**A, "seed": 5})], [None, None]),
        ([A, {**A, "seed": 6}], [("x", {**A, "seed": 6})], [None, "x"]),
    ],
)
def test_known_defaults_may_be_added(inputs: list[Any], candidates: list[Any], wanted: list[str | None]) -> None:
    """The most specific input comes first; where defaults make two inputs equal, nothing is certain."""
    given = [lost(one) for one in inputs]
    assert ids(given, [found(*one) for one in candidates], learned={"seed": 5}) == wanted


def test_a_default_that_varies_may_have_any_value() -> None:
    """A candidate belongs to the input that states the value, if one does."""
    defaults = Defaults()
    defaults.learn({("seed",): "1"})
    defaults.learn({("seed",): "2"})
    plain, stated = lost(A), lost({**A, "seed": 7})
    with_seven, with_eight = found("x", {**A, "seed": 7}), found("y", {**A, "seed": 8})
    got = match([plain, stated], [], [], [with_seven, with_eight], defaults)
    assert [one and one.id for one in got] == ["y", "x"]


def test_what_an_input_under_way_could_own_belongs_to_no_lost_one() -> None:
    """A lost input of another call counts too, but its execution is as good as its own."""
    assert ids([lost(A)], [found("x", A)], lost(A, until=None)) == [None]
    assert ids([lost(A)], [found("x", A)], lost(B, until=None)) == ["x"]
    assert ids([lost(A)], [found("x", A), found("y", A)], lost(A)) == ["x"]
    assert ids([lost(A)], [found("x", {**A, "seed": 5})], lost({**A, "seed": 5}, until=None), learned={"seed": 5}) == [
        None
    ]


def test_only_the_time_of_the_call_counts() -> None:
    """Clocks may differ a little, and a service may begin a little late."""
    for at, wanted in ((-EARLY_S - 0.01, None), (-EARLY_S, "x"), (1 + LATE_S, "x"), (1.01 + LATE_S, None)):
        assert ids([lost(A)], [found("x", A, at=at)]) == [wanted]


def test_an_input_of_which_only_the_digest_is_known_counts() -> None:
    """It was lost by an earlier process."""
    before = SentInput("s", None, False, object(), 0.0, until=1.0, key=lost(A).key)
    assert ids([lost(A)], [found("x", A), found("y", A)], before) == ["x"]


def test_a_bulk_is_matched_as_a_whole() -> None:
    """A bulk with another member is another's, one with a missing member may be ours, and no single one is."""
    mine = object()
    both = [lost(A, bulk=True, request=mine), lost(B, bulk=True, request=mine)]
    assert ids(both, [found("x", A, "k"), found("y", B, "k")]) == ["x", "y"]
    assert ids(both, [found("y", B, "k")]) == [None, "y"]
    assert ids(both, [found("x", A, "k"), found("y", B, "k"), found("z", AB, "k")]) == [None, None]
    assert ids(both, [found("x", A, "k"), found("y", A, "k")]) == [None, None]
    assert ids(both, [found("x", A), found("y", B)]) == [None, None]
    assert ids([lost(A)], [found("x", A, "k")]) == [None]
    assert ids(both, [found("x", A, "k"), found("y", B, "k"), found("z", A, "l")]) == [None, "y"]


@pytest.mark.parametrize("seed", range(200))
def test_nobody_is_given_another_s(seed: int) -> None:
    """Among inputs that contain each other, all of them under way or lost, each gets an execution of its own inputs."""
    chance = random.Random(seed)
    pool: list[dict[str, int]] = [{}, A, B, AB, ABC, {**A, "seed": 5}]
    sent = [lost(chance.choice(pool), until=chance.choice([1.0, 1.0, None])) for _ in range(chance.randint(1, 6))]
    executed = [one for one in sent if chance.random() < 0.7]
    owner = {str(number): one for number, one in enumerate(executed)}
    candidates = [found(name, {"seed": 5, **one.value}) for name, one in owner.items()]
    chance.shuffle(candidates)
    mine = [one for one in sent if one.until is not None]
    got = ids(mine, candidates, *(one for one in sent if one.until is None), learned={"seed": 5})
    given = [name for name in got if name is not None]
    assert len(set(given)) == len(given)
    for one, name in zip(mine, got, strict=True):
        assert name is None or owner[name].value == one.value


def test_what_a_client_remembers_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """The latest claims and lost inputs are kept; what is settled is forgotten."""
    monkeypatch.setattr(claims_module, "MAX_CLAIMS", 2)
    monkeypatch.setattr(claims_module, "MAX_LOST", 2)
    claims = Claims()
    claims.add("abc")
    assert ("a" in claims, "b" in claims, "c" in claims) == (False, True, True)
    inputs = claims.begin("s", [A, B, AB, ABC], bulk=True, now=0.0)
    assert len({one.request for one in inputs}) == 1
    assert claims.rivals("s") == (inputs, [])
    assert claims.rivals("other") == ([], [])
    claims.lose(inputs[:3], 1.0)
    assert claims.rivals("s") == (inputs[3:], inputs[1:3])
    claims.claim(inputs[2], "x")
    claims.settle(inputs[3:])
    assert claims.rivals("s") == ([], [inputs[1]])
    assert claims.samples("s") == [("x", AB)]
    assert "x" in claims


class TestPlacement:
    def test_an_answer_in_order_sets_nothing_aside(self) -> None:
        """Each execution is its input's own, with or without defaults."""
        placement: Placement[int, str] = Placement({0: A, 1: AB})
        assert placement.is_placed(0, {**A, "seed": 5})
        assert placement.is_placed(1, AB)
        placement.keep(0)
        placement.keep(1)
        assert placement.settled() == ([], [])

    def test_what_was_set_aside_is_given_to_its_input_at_the_end(self) -> None:
        """The execution that nobody sent is left, and so is the input that has none."""
        placement: Placement[int, str] = Placement({0: A, 1: AB, 2: B})
        assert not placement.is_placed(0, {**AB, "seed": 5})
        strays = [Stray(str(number), value, "") for number, value in enumerate([{**AB, "seed": 5}, A, {"z": 1}])]
        placement.set_aside(0, strays[0])
        assert not placement.is_placed(1, A)
        placement.set_aside(1, strays[1])
        assert placement.settled() == ([], [])
        placement.set_aside(2, strays[2])
        assert placement.settled() == ([(0, strays[1]), (1, strays[0])], [2])


class TestTheServiceSClock:
    def test_is_bounded_more_closely_by_every_answer(self) -> None:
        """An answer's date has whole seconds; the true difference, an hour and half a second, is within all bounds."""
        clock = ServiceClock()
        assert clock.bounds == (-TOLERANCE_S, TOLERANCE_S)
        clock.observe(None, 0.0, 1.0)
        assert clock.bounds == (-TOLERANCE_S, TOLERANCE_S)
        widths: list[float] = []
        for at in (100.0, 100.45, 100.9, 101.35):
            served = datetime.fromtimestamp(int(at + 3600.5), UTC)
            clock.observe(served, at - 0.01, at + 0.01)
            least, most = clock.bounds
            assert least <= 3600.5 <= most
            widths.append(most - least)
        assert widths == sorted(widths, reverse=True)
        assert widths[-1] < 0.7
        earliest, latest = clock.local_span(datetime.fromtimestamp(103600.75, UTC))
        assert earliest <= 100000.25 <= latest
        whole = clock.local_span(datetime.fromtimestamp(103600, UTC))
        assert whole[1] - whole[0] == pytest.approx(widths[-1] + 1)

    def test_may_be_set(self) -> None:
        """Bounds that contradict each other give way to the latest."""
        clock = ServiceClock()
        clock.observe(datetime.fromtimestamp(1000, UTC), 1000.0, 1000.1)
        clock.observe(datetime.fromtimestamp(2000, UTC), 1001.0, 1001.1)
        assert clock.bounds == pytest.approx((998.9, 1000.0))
