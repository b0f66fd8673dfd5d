"""What the tests read of the package's private state, each behind one function.

A test uses the public surface if that shows the same. Tests for the pure modules (`rules`, `walk`, `retry`, `wire` and
others) import them directly.
"""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

from eachlabs_async import EachLabs
from eachlabs_async.archive import Archive
from eachlabs_async.bulk import outcomes
from eachlabs_async.bulk.fetch import BulkFetch
from eachlabs_async.bulk.id_window import IdWindow
from eachlabs_async.bulk.outcomes import BulkStats
from eachlabs_async.cli.demo_server import DemoServer
from eachlabs_async.codec import fast
from eachlabs_async.emulator import Collection
from eachlabs_async.jobs.backend import Backend
from eachlabs_async.jobs.journal import Journal
from eachlabs_async.jobs.ledger import Ledger
from eachlabs_async.jobs.map_run import MapRun
from eachlabs_async.pagination.window_walk import WindowWalk
from eachlabs_async.transport import uploads
from eachlabs_async.transport.deadline import Deadline, DeadlineTimer
from eachlabs_async.transport.semaphore import PrioritySemaphore
from eachlabs_async.transport.session import Session
from eachlabs_async.transport.transport import Transport

TESTS = Path(__file__).parent
HAS_MSGSPEC = fast._msgspec is not None
"""Whether the fast reader of the codec is in use."""
BUFFER_SIZE = outcomes._BUFFER_SIZE
"""Latencies of a bulk fetch that are counted together."""
UploadFile, reschedule = uploads._File, uploads._reschedule
"""A file that an upload opens in a thread, and how an upload moves the end of a timeout."""


def is_test_code(file: str) -> bool:
    """Whether a code object's file name is that of a test, wherever the checkout is."""
    return Path(file).is_relative_to(TESTS)


def session_of(client: EachLabs) -> Session:
    return client._session


def transport_of(client: EachLabs) -> Transport:
    return client._transport


def ledger_of(client: EachLabs) -> Ledger:
    return client._ledger


def deadline_timer_of(client: EachLabs) -> DeadlineTimer:
    return client._transport._deadline_timer


def active_deadlines(timer: DeadlineTimer) -> set[Deadline]:
    return timer._active


def is_armed(timer: DeadlineTimer) -> bool:
    """Whether the timer has a handle in the loop."""
    return timer._timer is not None


def single_calls_waiting(semaphore: PrioritySemaphore) -> int:
    return len(semaphore._foreground)


def assert_idle(client: EachLabs) -> None:
    """Assert that no call of a client holds or awaits a slot, waits for a pause, or has a deadline running."""
    session, timer = client._session, client._transport._deadline_timer
    assert session.semaphore.available == session.semaphore.size
    assert not session.semaphore._background
    assert not session.semaphore._foreground
    assert not timer._active
    assert session.pause("workflows").waiting == session.pause("flows").waiting == 0


def window_of(fetch: BulkFetch[Any]) -> IdWindow[Any]:
    return fetch._window


def workers() -> list[asyncio.Task[Any]]:
    """Return the tasks of running bulk fetches."""
    return [task for task in asyncio.all_tasks() if ".work" in repr(task.get_coro())]


def ids_remembered(fetch: BulkFetch[Any]) -> int:
    """Return how many ids a fetch remembers to recognize duplicates: those in its window."""
    return len(fetch._window._by_id)


def latencies_kept(stats: BulkStats) -> tuple[int, int, int]:
    """Return how many latencies wait to be counted, how many are counted, and in how many steps."""
    return len(stats._buffer), stats._latencies.total(), len(stats._latencies)


def backend_of(run: MapRun[Any]) -> Backend[Any]:
    return run._run_state.backend


def is_sending(run: MapRun[Any]) -> bool:
    """Whether a request of a map that creates is under way."""
    return bool(run._run_state.sending)


def slots_held(run: MapRun[Any]) -> int:
    """Return how many executions a map counts against the account's limit: one for each sent or running input."""
    return run._run_state.limit.running


def limit_pages(journal: Journal, count: int) -> None:
    """Make a journal's disk full once its file has so many pages."""
    journal._connection.execute(f"PRAGMA max_page_count = {count}")


async def limit_pages_of_archive(archive: Archive, count: int) -> None:
    """Make an archive's disk full once its file has so many pages."""
    database = archive._open
    await database.run(lambda: database.connection.execute(f"PRAGMA max_page_count = {count}"))


def make_read_only(journal: Journal) -> None:
    journal._connection.execute("PRAGMA query_only = ON")


def selections_remembered(rows: Collection) -> int:
    """Return for how many filters a listing of the emulator remembers the rows."""
    return len(rows._selections)


def process_of(server: DemoServer) -> asyncio.subprocess.Process:
    assert server._process is not None
    return server._process


def rows_held(walk: WindowWalk[Any]) -> int:
    """Return how many rows a walk of windows holds, those of the page being delivered included."""
    return sum(len(batch.rows) for walker in walk._walkers.values() for batch in walker.batches)
