"""Tests of the sums of costs: exact, the same in every order, and honest about what is missing."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eachlabs_async import Execution
from eachlabs_async.costs.groupings import GROUPINGS
from eachlabs_async.costs.report import CostGroup, CostReport
from eachlabs_async.costs.tally import CostTally

NOON = datetime(2026, 11, 25, 12, tzinfo=UTC)


def execution(**fields: Any) -> Execution:
    return Execution(**{"id": "x", "status": "success", "created_at": NOON, **fields})


def report_of(*executions: Execution, by: Any = ("model",), **more: Any) -> CostReport:
    tally = CostTally(by)
    for each in executions:
        tally.add(each)
    return tally.report(**more)


numbers = st.floats(allow_nan=False, allow_infinity=False)
executions = st.builds(
    execution,
    status=st.sampled_from(["success", "error", "created", "starting", "canceled", "a new word"]),
    model=st.sampled_from([None, "a", "b"]),
    execution_cost=st.none() | numbers,
    run_time=st.none() | numbers,
    created_at=st.none() | st.datetimes(datetime(2026, 1, 1), datetime(2026, 3, 1), timezones=st.just(UTC)),
)
words = st.lists(st.sampled_from([*GROUPINGS]), unique=True, max_size=3)


class TestSums:
    def test_are_exact(self) -> None:
        """Ten times a tenth is one, and a large sum keeps the smallest part."""
        report = report_of(*[execution(execution_cost=0.1)] * 10, execution(execution_cost=1e15), by=())
        assert report.total.cost == Decimal("1000000000000001")
        assert report_of(*[execution(execution_cost=0.0003)] * 3).total.cost == Decimal("0.0009")

    @given(st.lists(executions, max_size=30), words, st.randoms())
    def test_of_groups_add_up_to_the_total(self, rows: list[Execution], by: list[str], chance: Any) -> None:
        """In any order; compared with sums of fractions of the decimals that a service writes."""
        report = report_of(*rows, by=by)
        cost = sum((Fraction(repr(row.execution_cost)) for row in rows if row.execution_cost is not None), Fraction())
        assert Fraction(report.total.cost) == cost
        for name in ("cost", "run_time_s", "executions", "succeeded", "failed", "cancelled", "unfinished", "unpriced"):
            parts = [Fraction(getattr(group, name)) for group in report.groups]
            assert sum(parts, Fraction()) == getattr(report.total, name)
        assert report.total.executions == len(rows)
        chance.shuffle(rows)
        assert report_of(*rows, by=by) == report
        assert json.loads(json.dumps(report.to_dict())) == report.to_dict()

    def test_count_executions_by_what_became_of_them(self) -> None:
        """An execution without a cost counts as unpriced if it succeeded or failed."""
        statuses = ["success", "success", "error", "canceled", "created", "starting", "a new word"]
        (group,) = report_of(*(execution(status=status) for status in statuses)).groups
        assert (group.executions, group.succeeded, group.failed, group.cancelled, group.unfinished) == (7, 2, 1, 1, 3)
        assert group.unpriced == 3
        assert group.failure_rate == pytest.approx(1 / 3)
        assert group.unpriced_share == 1

    def test_have_no_rates_where_nothing_ended(self) -> None:
        """A rate of nothing is None, not 0."""
        total = report_of(execution(status="created")).total
        assert (total.failure_rate, total.unpriced_share) == (None, None)


class TestGroups:
    def test_are_those_of_the_words(self) -> None:
        """Times are of the creation in UTC, whatever its zone; what is missing is None."""
        late = NOON.replace(tzinfo=timezone(timedelta(hours=-14)))
        row = execution(model="m", requested_model="r", status="error", workflow_id="w", created_at=late)
        keys = {word: report_of(row, by=word).groups[0].key for word in GROUPINGS}
        assert keys == {
            "model": ("m",), "requested_model": ("r",), "status": ("error",), "state": ("failed",),
            "workflow_id": ("w",), "month": ("2026-11",), "day": ("2026-11-26",), "hour": ("2026-11-26T02:00Z",),
        }  # fmt: skip
        assert report_of(Execution(id="x", status="success"), by=("model", "day")).groups[0].key == (None, None)

    def test_come_with_the_highest_cost_first_or_in_the_order_of_time(self) -> None:
        """The first word decides."""
        rows = [
            execution(model=model, execution_cost=cost, created_at=NOON - timedelta(days=days))
            for model, cost, days in [("a", 1.0, 0), ("b", 3.0, 1), ("a", 1.0, 2)]
        ]
        assert [group.key for group in report_of(*rows).groups] == [("b",), ("a",)]
        assert [group.key[0] for group in report_of(*rows, by="day").groups] == [
            "2026-11-23",
            "2026-11-24",
            "2026-11-25",
        ]

    @pytest.mark.parametrize(
        ("by", "error", "text"),
        [("modle", ValueError, "did you mean 'model'"), (["day", "day"], ValueError, "twice"), ([7], TypeError, "int")],
    )
    def test_of_other_words_are_refused(self, by: Any, error: type[Exception], text: str) -> None:
        """The error says what was meant."""
        with pytest.raises(error, match=text):
            CostTally(by)


def test_notes_say_what_is_missing() -> None:
    """Given notes come first, then executions without a cost, then those that run."""
    notes = report_of(execution(), execution(status="created"), notes=["first"]).notes
    assert notes[0] == "first"
    assert "1 of 1 executions that ended state no cost" in notes[1]
    assert "1 executions had not ended" in notes[2]
    assert report_of(execution(execution_cost=0.0)).notes == ()


def test_a_group_as_json_keeps_decimals_as_text() -> None:
    """Without an exponent, so that other programs read them."""
    group = report_of(execution(execution_cost=1e-7)).groups[0]
    assert isinstance(group, CostGroup)
    assert group.to_dict()["cost"] == "0.0000001"
