"""Work that outgrows a process: windows and ids over 1, 2 and 4 processes, deep offsets, and ten times the rows.

Each process has a client of its own and an equal share of the windows or ids. The processes start their clocks
together, after their imports. Microseconds of CPU are those of all clients together; the CPU of the server is in the
notes. On few cores the server and the clients take turns, so that more processes help only as far as there are cores.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import time
from collections.abc import Callable, Coroutine, Sequence
from datetime import timedelta
from multiprocessing.connection import Connection
from typing import Any, Final

import aiohttp
from attrs import frozen

from eachlabs_async import Window

from .bulk import client_of
from .measure import Row, Table
from .samples import NEWEST, NOW, PAGE_ROWS, SPACING_S, identity
from .server import Server

PROCESSES: Final = (1, 2, 4)
FLAT: Final = 1.15
_WINDOWS: Final = 16
_HYDRATE_AT_ONCE: Final = 32
_SKIP_US: Final = 1
"""Microseconds that the server takes to skip one row: a database that skips a million rows in a second."""


@frozen
class _Spent:
    """What one process did: units of work, CPU seconds, and when it began and ended, in seconds of one clock."""

    units: int
    cpu_s: float
    began: float
    ended: float


def _process(connection: Connection, barrier: Any, job: Callable[[Any], Coroutine[Any, Any, int]], share: Any) -> None:
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, range(os.cpu_count() or 1))  # The parent is pinned to one core.
    barrier.wait()
    began, cpu = time.monotonic(), time.process_time()
    units = asyncio.run(job(share))
    connection.send(_Spent(units, time.process_time() - cpu, began, time.monotonic()))


def _spend(job: Callable[[Any], Coroutine[Any, Any, int]], shares: Sequence[Any]) -> list[_Spent]:
    """Run a job in a process for each share, and return what each spent."""
    spawn = multiprocessing.get_context("spawn")
    barrier = spawn.Barrier(len(shares))
    processes: list[Any] = []
    receivers: list[Connection] = []
    for share in shares:
        receiver, connection = spawn.Pipe(duplex=False)
        processes.append(spawn.Process(target=_process, args=(connection, barrier, job, share)))
        processes[-1].start()
        connection.close()  # so that recv() fails if the process cannot
        receivers.append(receiver)
    found = [receiver.recv() for receiver in receivers]
    for process in processes:
        process.join()
    return found


async def _walk(share: tuple[str, list[Window]]) -> int:
    base, windows = share
    rows = 0
    async with client_of(base, "cursor") as client:
        async for _ in client.executions.walk_windows(windows, concurrency=4, ordered=False):
            rows += 1
    return rows


async def _hydrate(share: tuple[str, int, int]) -> int:
    base, first, last = share
    done = 0
    async with client_of(base) as client:
        ids = (identity(number) for number in range(first, last))
        async with client.workflow_executions.get_many(ids, concurrency=_HYDRATE_AT_ONCE) as outcomes:
            async for outcome in outcomes:
                done += outcome.error is None
    return done


def _row(
    name: str, server: Server, job: Callable[[Any], Coroutine[Any, Any, int]], shares: Sequence[Any], expected: int
) -> Row:
    _, before = server.spent()
    spent = _spend(job, shares)
    units = sum(each.units for each in spent)
    assert units == expected, (units, expected)
    seconds = max(each.ended for each in spent) - min(each.began for each in spent)
    server_s = server.spent()[1] - before
    cpu_s = sum(each.cpu_s for each in spent)
    note = (
        f"{units / seconds:,.0f} a second; busy: clients {cpu_s / seconds:.2f} cores, server {server_s / seconds:.2f} "
        f"({server_s / units * 1e6:.1f} us)"
    )
    return Row(name, cpu_s / units * 1e6, seconds / units * 1e6, note=note)


def _finish(table: Table) -> Table:
    """Set the ratios, each relative to the first row."""
    first = table.rows[0]
    for row in table.rows:
        mine, base = (row.wall_us, first.wall_us) if table.by == "wall" else (row.cpu_us, first.cpu_us)
        row.ratio = None if mine is None or base is None else mine / base
    return table


async def _windows(base: str, rows: int) -> list[Window]:
    async with client_of(base, "cursor") as client:
        since = NEWEST - timedelta(seconds=SPACING_S * rows)
        return await client.executions.windows(since, NOW, parts=_WINDOWS)


def _dealt(windows: list[Window], base: str, processes: int) -> list[tuple[str, list[Window]]]:
    return [(base, windows[number::processes]) for number in range(processes)]


async def _walks(server: Server, rows: int) -> Table:
    base = server.base_url(rows=rows)
    windows = await _windows(base, rows)
    table = Table(
        f"scale: {rows:,} rows walked in {_WINDOWS} windows", "row", "1 process", [], by="wall",
        note=f"{os.cpu_count()} cores for clients and server",
    )  # fmt: skip
    _spend(_walk, _dealt(windows, base, 1))  # The server makes its pages.
    for number in PROCESSES:
        name = "1 process" if number == 1 else f"{number} processes"
        table.rows.append(_row(name, server, _walk, _dealt(windows, base, number), rows))
    return _finish(table)


async def _hydrates(server: Server, ids: int) -> Table:
    base = server.base_url()
    table = Table(f"scale: {ids:,} ids fetched", "id", "1 worker", [], by="wall")
    for number in PROCESSES:
        shares = [(base, ids * at // number, ids * (at + 1) // number) for at in range(number)]
        table.rows.append(_row(f"{number} worker{'s' * (number > 1)}", server, _hydrate, shares, ids))
    return _finish(table)


async def _tenfold(server: Server, rows: int, ids: int) -> Table:
    """The cost per row and per id when there are ten times as many."""
    table = Table(
        "scale: ten times the work, one process", "row or id", "", [], by="cpu",
        goal=f"at most {FLAT:.2f} times the CPU per row and id",
    )  # fmt: skip
    pairs: list[list[Row]] = [[], []]
    for count in (rows // 10, rows):
        base = server.base_url(rows=count)
        share = base, await _windows(base, count)
        pairs[0].append(_row(f"{count:,} rows", server, _walk, [share], count))
    for count in (ids // 10, ids):
        pairs[1].append(_row(f"{count:,} ids", server, _hydrate, [(server.base_url(), 0, count)], count))
    for pair in pairs:
        for row in pair:
            row.ratio = (row.cpu_us or 0) / (pair[0].cpu_us or 1)
        table.rows += pair
    table.met = all((row.ratio or 0) <= FLAT for row in table.rows)
    return table


async def _offsets(base: str, rows: int) -> int:
    """Walk by offset alone, as one could before September 2026."""
    found = 0
    since = (NEWEST - timedelta(seconds=SPACING_S * rows)).isoformat()  # The server goes back 90 days by default.
    async with aiohttp.ClientSession() as session:
        while True:
            params: dict[str, str | int] = {"limit": PAGE_ROWS, "offset": found, "from": since}
            async with session.get(f"{base}/v1/executions", params=params) as answer:
                page = (await answer.json())["executions"]
            found += len(page)
            if len(page) < PAGE_ROWS:
                return found


async def _seeks(base: str, rows: int) -> int:
    found = 0
    async with client_of(base, "seek") as client:
        async for _ in client.executions.list(since=NEWEST - timedelta(seconds=SPACING_S * rows)):
            found += 1
    return found


async def _deep(server: Server, rows: int) -> Table:
    """Deep offsets, for which the server skips rows, against seeking, which it spares that."""
    table = Table(
        f"scale: deep offsets against seeking, {_SKIP_US} us per row skipped", "row", f"by offset, {rows // 10:,} rows",
        [], by="wall",
    )  # fmt: skip
    warm = server.base_url(rows=PAGE_ROWS)
    for name, walk in (("by offset", _offsets), ("by seeking", _seeks)):
        await walk(warm, PAGE_ROWS)
        for count in (rows // 10, rows):
            base = server.base_url(rows=count + 1, skip=_SKIP_US, depth=10**9)
            began, cpu = time.monotonic(), time.process_time()
            found = await walk(base, count)
            seconds = time.monotonic() - began
            assert abs(found - count) <= 1, found
            note = f"{found / seconds:,.0f} rows a second"
            cpu_us = (time.process_time() - cpu) / found * 1e6
            table.rows.append(Row(f"{name}, {count:,} rows", cpu_us, seconds / found * 1e6, note=note))
    return _finish(table)


async def measure(server: Server, *, quick: bool, peers: bool) -> list[Table]:
    rows, ids, deep = (200_000, 40_000, 50_000) if quick else (1_000_000, 200_000, 100_000)
    return [
        await _walks(server, rows),
        await _hydrates(server, ids),
        await _deep(server, deep),
        await _tenfold(server, rows, ids),
    ]
