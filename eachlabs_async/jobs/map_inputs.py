"""Make a map over inputs, or a wait over ids, from a backend: its account limit, window and journal."""

from __future__ import annotations

from collections.abc import AsyncIterable, Callable, Iterable
from os import PathLike
from typing import Any, Final, TypeVar

from ..bulk.outcomes import MapStats
from ..transport.arguments import checked_count, checked_seconds
from .account_limit import AccountLimit
from .backend import Backend
from .input_reader import InputReader
from .journal import Journal
from .ledger import Ledger
from .map_options import MapOptions
from .map_run import MapRun
from .map_state import MapState

T = TypeVar("T")

WINDOW: Final = 4
"""Inputs held, as a multiple of the executions at once."""
WATCHED_AT_ONCE: Final = 1000
"""Executions that one wait watches at once."""


def map_inputs(
    backend: Backend[T],
    ledger: Ledger,
    inputs: Iterable[Any] | AsyncIterable[Any],
    *,
    concurrency: int,
    window: int | None,
    ordered: bool,
    journal: str | PathLike[str] | None,
    on_progress: Callable[[MapStats], object] | None,
    options: MapOptions,
) -> MapRun[T]:
    """Return a map of `inputs` over `backend`. It starts from the account limit that the last map learned."""
    if journal is None and (options.acknowledge or options.retry_unknown):
        raise ValueError(f"{'acknowledge' if options.acknowledge else 'retry_unknown'} needs a journal")
    checked_count("concurrency", concurrency, least=1)
    if window is not None:
        checked_count("window", window, least=backend.chunk_size)
    state = MapState(
        backend,
        InputReader("inputs", inputs),
        AccountLimit(concurrency, concurrency),
        ledger=ledger,
        window=max(WINDOW * concurrency, backend.chunk_size) if window is None else window,
        ordered=ordered,
        journal=None if journal is None else Journal(journal, backend.binding, backend.account()),
        options=options,
    )
    return MapRun(state, on_progress=on_progress)


def wait_for_many(
    backend: Backend[T],
    ledger: Ledger,
    ids: Iterable[str] | AsyncIterable[str],
    *,
    timeout_s: float | None,
    ordered: bool,
    on_progress: Callable[[MapStats], object] | None,
) -> MapRun[T]:
    """Return a wait for the executions `ids`, which run already; `timeout_s` is in seconds, None for no bound."""
    state = MapState(
        backend,
        InputReader("ids", ids),
        AccountLimit(WATCHED_AT_ONCE, WATCHED_AT_ONCE),
        ledger=ledger,
        window=2 * WATCHED_AT_ONCE,
        ordered=ordered,
        journal=None,
        options=MapOptions(),
    )
    limit_s = None if timeout_s is None else checked_seconds("timeout_s", timeout_s)
    return MapRun(state, on_progress=on_progress, timeout_s=limit_s)
