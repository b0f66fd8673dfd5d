"""What the tests read of the package's private state, each behind one function.

A test uses the public surface if that shows the same. Tests for the pure modules (`rules`, `walk`, `retry`, `wire` and
others) import them directly.
"""

from __future__ import annotations

from typing import Any

from eachlabs_async import EachLabs
from eachlabs_async.bulk.fetch import BulkFetch
from eachlabs_async.bulk.id_window import IdWindow
from eachlabs_async.codec import fast
from eachlabs_async.jobs.backend import Backend
from eachlabs_async.jobs.ledger import Ledger
from eachlabs_async.jobs.map_run import MapRun
from eachlabs_async.transport.session import Session
from eachlabs_async.transport.transport import Transport

HAS_MSGSPEC = fast._msgspec is not None
"""Whether the fast reader of the codec is in use."""


def session_of(client: EachLabs) -> Session:
    return client._session


def transport_of(client: EachLabs) -> Transport:
    return client._transport


def ledger_of(client: EachLabs) -> Ledger:
    return client._ledger


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


def ids_remembered(fetch: BulkFetch[Any]) -> int:
    """Return how many ids a fetch remembers to recognize duplicates: those in its window."""
    return len(fetch._window._by_id)


def backend_of(run: MapRun[Any]) -> Backend[Any]:
    return run._run_state.backend


def is_sending(run: MapRun[Any]) -> bool:
    """Whether a request of a map that creates is under way."""
    return bool(run._run_state.sending)


def slots_held(run: MapRun[Any]) -> int:
    """Return how many executions a map counts against the account's limit: one for each sent or running input."""
    return run._run_state.limit.running
