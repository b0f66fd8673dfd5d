"""Tests of the costs of an archive: those of the service, and what the archive does not have."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from eachlabs_async import EachLabs
from eachlabs_async.archive import Archive
from eachlabs_async.emulator import Emulator

OLD, NEW = "2026-01-01T00:00:00Z", "2100-01-01T00:00:00Z"


@pytest.mark.parametrize(
    "filters", [{}, {"model": "veo3-fast"}, {"status": "failed"}, {"since": OLD, "by": ("month", "status")}]
)
async def test_they_are_those_of_the_service(filters: dict[str, Any], tmp_path: Path) -> None:
    """The same rows give the same groups and total, with the same filters."""
    async with Emulator(executions=700, seed=3) as emulator:
        async with EachLabs(emulator.api_key, hosts=emulator.hosts) as client, Archive(tmp_path / "a.db") as archive:
            await archive.sync(client, OLD)
            mine = await archive.costs(**filters)
            theirs = await client.executions.costs(**{"since": OLD, **filters})
    assert mine.groups == theirs.groups
    assert mine.total == theirs.total
    assert mine.total.executions > 0


async def test_notes_name_the_time_that_the_archive_does_not_have(tmp_path: Path) -> None:
    """Before the first sync, or up to a given end; without an end, what is newer than the last sync is not meant."""
    async with Emulator(executions=300) as emulator:
        broken = emulator.executions.ids()[0]
        emulator.executions.change(broken, execution_cost="much")
        async with EachLabs(emulator.api_key, hosts=emulator.hosts) as client, Archive(tmp_path / "a.db") as archive:
            assert (await archive.costs()).notes == ("the archive was never synced in full",)
            await archive.sync(client, OLD)
            complete = (await archive.costs(OLD)).notes
            beyond = (await archive.costs(OLD, NEW)).notes
            before = (await archive.costs("2025-01-01T00:00:00Z", OLD)).notes
    assert not any("does not have" in note for note in complete)
    assert any("to 2100-01-01T00:00:00Z: sync it" in note for note in beyond)
    assert any("1 rows of the archive could not be read" in note for note in complete)
    assert "2025-01-01T00:00:00Z to 2026-01-01T00:00:00Z: sync it" in before[0]


async def test_words_are_checked_at_the_call(tmp_path: Path) -> None:
    """As those of the service are."""
    async with Archive(tmp_path / "a.db") as archive:
        with pytest.raises(ValueError, match="did you mean 'model'"):
            await archive.costs(by="modle")
