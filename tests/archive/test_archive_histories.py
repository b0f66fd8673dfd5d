"""A property: after any history of a service, with syncs in between, the archive is what the listing shows."""

from __future__ import annotations

import asyncio
import random
import tempfile
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from contents import archived, deleted, listed
from hypothesis import given, settings
from hypothesis import strategies as st

from eachlabs_async import EachLabs
from eachlabs_async.archive import Archive
from eachlabs_async.emulator import Emulator

UNFINISHED = ("created", "starting")
STEPS = st.lists(
    st.sampled_from(["insert", "late", "end", "end", "forget", "remove", "edit", "sync", "sync", "cut"]),
    min_size=3,
    max_size=14,
)


class History:
    """The changes of a service, and which of them a plain sync need not notice."""

    def __init__(self, emulator: Emulator, seed: int) -> None:
        self.rows = emulator.executions
        self.dice = random.Random(seed)
        self.unnoticed: set[str] = set()
        self.removed: set[str] = set()
        self.newest = datetime.min.replace(tzinfo=UTC)

    def step(self, name: str) -> None:
        rows = list(self.rows)
        # The newest row that there ever was: it may be gone.
        self.newest = max(self.newest, datetime.fromisoformat(rows[0]["created_at"]))
        settled = self.newest - timedelta(seconds=300)
        still = [row["id"] for row in rows if row["status"] in UNFINISHED]
        done = [
            row["id"]
            for row in rows
            if row["status"] not in UNFINISHED and datetime.fromisoformat(row["created_at"]) < settled
        ]
        if name == "insert":
            self.rows.insert(self.dice.randint(1, 130), status=self.dice.choice(["created", "success", "error"]))
        elif name == "late":
            (identity,) = self.rows.insert(1)
            moment = settled + timedelta(seconds=self.dice.randint(1, 299))
            self.rows.change(identity, created_at=moment.isoformat().replace("+00:00", "Z"))
        elif name == "end" and still:
            self.rows.change(self.dice.choice(still), status="success", execution_cost=self.dice.random())
        elif name == "forget" and still:
            self.removed.update(self.rows.remove(self.dice.choice(still)))
        elif name == "remove" and done:
            gone = self.rows.remove(self.dice.choice(done))
            self.unnoticed.update(gone)
            self.removed.update(gone)
        elif name == "edit" and done:
            identity = self.dice.choice(done)
            self.rows.change(identity, execution_cost=self.dice.random())
            self.unnoticed.add(identity)


async def run(path: Path, steps: list[str], seed: int, edition: str) -> None:
    async with Emulator(executions=260, seed=seed % 7, unfinished=0.2) as emulator:
        hosts = emulator.hosts if edition == "compat" else emulator.unified_hosts
        history = History(emulator, seed)
        async with EachLabs(emulator.api_key, hosts=hosts) as client:
            for step in steps:
                history.step(step)
                if step == "cut":
                    async with Archive(path) as archive:
                        sync = asyncio.create_task(archive.sync(client, verify=history.dice.random() < 0.5))
                        await asyncio.sleep(history.dice.random() * 0.02)
                        sync.cancel()
                        await asyncio.wait([sync])
                if step == "sync":
                    async with Archive(path) as archive:
                        await archive.sync(client)
                    mine, theirs = archived(path), listed(emulator.executions)
                    assert mine.keys() - history.unnoticed == theirs.keys() - history.unnoticed
                    assert all(mine[row_id] == theirs[row_id] for row_id in theirs.keys() - history.unnoticed)
            async with Archive(path) as archive:
                await archive.sync(client)
                await archive.sync(client, verify=True)
        assert archived(path) == listed(emulator.executions)
        assert deleted(path) <= history.removed


@settings(max_examples=40)
@given(STEPS, st.integers(0, 10_000), st.sampled_from(["compat", "unified"]))
def test_the_archive_is_the_listing_after_any_history(steps: list[str], seed: int, edition: str) -> None:
    """Plain syncs notice all but deletions and changes of finished rows; verifying notices these too."""
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        # Small transactions, so that a cut sync has written some.
        patch.setattr("eachlabs_async.archive.execution_sync.BATCH_ROWS", 60)
        asyncio.run(run(Path(folder) / "executions.db", steps, seed, edition))
