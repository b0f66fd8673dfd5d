"""Tests of `executions.costs` against the emulator's own account."""

from __future__ import annotations

from collections import defaultdict
from decimal import Decimal

import pytest

from eachlabs_async import EachLabs
from eachlabs_async.emulator import Emulator, Fault


def client_of(emulator: Emulator, edition: str = "compat") -> EachLabs:
    return EachLabs(emulator.api_key, hosts=emulator.hosts if edition == "compat" else emulator.unified_hosts)


@pytest.mark.parametrize("edition", ["compat", "unified"])
async def test_sums_equal_those_of_the_rows(edition: str) -> None:
    """Rows of the emulator, added up here as decimals."""
    async with Emulator(executions=1234) as emulator, client_of(emulator, edition) as client:
        report = await client.executions.costs("2026-01-01T00:00:00Z", by=("model", "status"))
        rows = list(emulator.executions.select())
    sums: dict[tuple[str, str], Decimal] = defaultdict(Decimal)
    for row in rows:
        sums[row["model"], row["status"]] += Decimal(repr(row["execution_cost"] or 0.0))
    assert {group.key: group.cost for group in report.groups} == sums
    assert report.total.executions == 1234
    assert report.total.cost == sum(sums.values())
    assert not any("90 days" in note for note in report.notes)


async def test_a_filter_limits_what_is_added() -> None:
    """The other arguments are those of `list`."""
    async with Emulator(executions=300) as emulator, client_of(emulator) as client:
        report = await client.executions.costs(status="failed", by="state")
        failed = await client.executions.list(status="failed").collect()
    assert [group.key for group in report.groups] == [("failed",)]
    assert report.total.executions == report.total.failed == len(failed) > 0


async def test_notes_say_that_the_service_goes_back_90_days_and_what_cannot_be_read() -> None:
    """Both make the figures partial."""
    async with Emulator(executions=30) as emulator, client_of(emulator) as client:
        emulator.executions.change(emulator.executions.ids()[3], execution_cost="much")
        report = await client.executions.costs()
    assert "90 days" in report.notes[0]
    assert "1 rows could not be read" in report.notes[1]
    assert report.total.executions == 29


async def test_unknown_words_are_refused_before_anything_is_sent() -> None:
    """So are wrong times."""
    async with Emulator(executions=3) as emulator, client_of(emulator) as client:
        with pytest.raises(ValueError, match="did you mean 'month'"):
            await client.executions.costs(by="moth")
        with pytest.raises(ValueError, match="before"):
            await client.executions.costs("2026-02-01T00:00:00Z", "2026-01-01T00:00:00Z")
        assert not emulator.requests


async def test_a_failure_is_raised() -> None:
    """A sum of a part is never returned as the sum of all."""
    async with Emulator(executions=300) as emulator, client_of(emulator) as client:
        emulator.faults.add(Fault.status(403), endpoint="executions.list", after=1)
        with pytest.raises(Exception, match="403"):
            await client.executions.costs()
