"""The first sync of an archive against the plain walk that it makes, and the growth of memory meanwhile.

Each case runs in a new process. Growth counts from the end of a warm-up.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from eachlabs_async.archive import Archive

from .bulk import client_of
from .measure import Row, Table
from .memory import resident_mib
from .server import Server

GOAL = 2.0
WARM_UP = 50_000
ROWS = 200_000
LATENCY_MS = 20
_SINCE = "2000-01-01T00:00:00Z"
_LOOK_AHEAD = 8

Watch = Callable[[int], None]


async def _walk(base: str, watch: Watch) -> int:
    async with client_of(base) as client, client.executions.list(since=_SINCE, look_ahead=_LOOK_AHEAD) as rows:
        count = 0
        async for _ in rows:
            count += 1
            if count % 5_000 == 0:
                watch(count)
    return count


async def _sync(base: str, watch: Watch) -> int:
    with tempfile.TemporaryDirectory() as folder:
        async with client_of(base) as client, Archive(Path(folder) / "executions.db") as archive:
            stats = await archive.sync(
                client, since=_SINCE, look_ahead=_LOOK_AHEAD, on_progress=lambda stats: watch(stats.rows)
            )
    return stats.new


def _child(connection: Any, run: Callable[[str, Watch], Any], base: str) -> None:
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, range(os.cpu_count() or 1))  # An archive uses a thread, so not one core alone.
    sizes: list[float] = []

    def watch(rows: int) -> None:
        if rows >= WARM_UP:
            sizes.append(resident_mib())

    cpu, wall = time.process_time(), time.perf_counter()
    count = asyncio.run(run(base, watch))
    connection.send((count, time.process_time() - cpu, time.perf_counter() - wall, max(sizes) - sizes[0], max(sizes)))


def _case(name: str, run: Callable[[str, Watch], Any], base: str, rows: int) -> Row:
    spawn = multiprocessing.get_context("spawn")
    receiver, connection = spawn.Pipe(duplex=False)
    process = spawn.Process(target=_child, args=(connection, run, base), daemon=True)
    process.start()
    connection.close()  # so that recv() below fails when the child does
    count, cpu, wall, growth, most = receiver.recv()
    process.join()
    assert count == rows, f"{count} of {rows} rows"
    return Row(name, cpu / rows * 1e6, wall / rows * 1e6, None, note=f"+{growth:.1f} MiB, at most {most:.0f}")


async def measure(server: Server, *, quick: bool, peers: bool, rows: int = ROWS) -> list[Table]:
    rows //= 2 if quick else 1
    tables: list[Table] = []
    for latency in (LATENCY_MS, 0):
        base = server.base_url(rows=rows, latency=latency)
        await asyncio.to_thread(_case, "warm-up of the server", _walk, base, rows)
        cases = [_case("walk", _walk, base, rows), _case("sync", _sync, base, rows)]
        walk, sync = cases
        walk.ratio, sync.ratio = 1.0, (sync.wall_us or 0.0) / (walk.wall_us or 1.0)
        table = Table("archive", "row", "walk", cases, by="wall", note=f"{latency} ms per response")
        if latency:
            table.goal, table.met = f"at most {GOAL:g} times the wall time of the walk", sync.ratio <= GOAL
        tables.append(table)
    return tables
