"""The elapsed time of walking a listing with slow pages: look-ahead against one page after another.

Executions are walked by cursor (`/v2/executions`) and by seeking (`/v1/executions`, a thousand rows for one span of
time). The base is a hand-written loop over the same listing, with aiohttp and `r.json()`. With d pages in flight over P
pages the gain is at most P / ceil(P / d). Other SDKs walk a listing of their own API.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AsyncExitStack
from typing import Any, Final, Literal, TypeAlias

import aiohttp

from .bulk import client_of
from .measure import Row, Table, Variant, compare, interleave, missing
from .samples import PAGE_ROWS, RUN_FLOW
from .server import Server

BASE = "aiohttp loop, json"
GOAL = 5
BUSY_GOAL = 0.80
DEPTHS = (0, 4, 8, 16)

_Way: TypeAlias = Literal["cursor", "seek"]
WAYS: Final[dict[_Way, str]] = {"cursor": "by cursor", "seek": "by seeking"}


def _loop_by_cursor(session: aiohttp.ClientSession, base: str, rows: int) -> Variant:
    async def variant() -> None:
        found: list[Any] = []
        params: dict[str, Any] = {"limit": PAGE_ROWS}
        more = True
        while more:
            async with session.get(f"{base}/v2/executions", params=params) as answer:
                page = await answer.json()
            found += page["executions"]
            more, params["cursor"] = page["has_more"], page["next_cursor"]
        assert len(found) == rows

    return variant


def _loop_by_seeking(session: aiohttp.ClientSession, base: str, rows: int) -> Variant:
    async def variant() -> None:
        found: dict[str, Any] = {}
        params: dict[str, Any] = {"limit": PAGE_ROWS, "offset": 0}
        while True:
            async with session.get(f"{base}/v1/executions", params=params) as answer:
                page = (await answer.json())["executions"]
            found |= {row["id"]: row for row in page}  # a span starts with the last row of the previous one
            if len(page) < PAGE_ROWS:
                break
            params["offset"] += PAGE_ROWS
            if params["offset"] == 1000:
                params |= {"offset": 0, "to": page[-1]["created_at"]}
        assert len(found) == rows

    return variant


LOOPS = {"cursor": _loop_by_cursor, "seek": _loop_by_seeking}


def _rows(pager: Callable[[], Any], rows: int) -> Variant:
    async def variant() -> None:
        count = 0
        async for _ in pager():
            count += 1
        assert count == rows

    return variant


def _ours(client: Any, depth: int, rows: int) -> Variant:
    return _rows(lambda: client.executions.list(look_ahead=depth), rows)


async def _requests(server: Server, variant: Variant) -> int:
    """Return the number of requests that a walk makes, as counted by the server."""
    before, _ = server.spent()
    await variant()
    return server.spent()[0] - before - 1  # the request for the statistics counts too


async def _depths(server: Server, way: _Way, pages: int, latency: int, rounds: int) -> Table:
    rows = pages * PAGE_ROWS
    base = server.base_url(latency=latency, rows=rows)
    async with client_of(base, way) as client, aiohttp.ClientSession(headers={"X-API-Key": "key"}) as session:
        variants = {BASE: LOOPS[way](session, base, rows)}
        variants |= {f"look_ahead={depth}": _ours(client, depth, rows) for depth in DEPTHS}
        spent = await interleave(variants, rounds=rounds)
        requests = {name: await _requests(server, variant) for name, variant in variants.items()}
    table = Table(
        f"walk: {WAYS[way]}, {pages} pages of {PAGE_ROWS}, {latency} ms each", "row", BASE, [], by="wall",
        goal=f"look_ahead=8 at least {GOAL} times as fast",
    )  # fmt: skip
    table.rows = compare(spent, base=BASE, units=rows, by="wall")
    for row in table.rows:
        faster = f"{1 / row.ratio:.1f} times as fast, " if row.ratio and row.name != BASE else ""
        row.note = f"{faster}{requests[row.name]} requests"
    ratio = table.row("look_ahead=8").ratio
    table.met = ratio is not None and 1 / ratio >= GOAL
    return table


async def _busy(server: Server, pages: int, rounds: int) -> Table:
    """Walk a listing that answers at once, so that the time is that of the client."""
    rows = pages * PAGE_ROWS
    base = server.base_url(latency=0, rows=rows)
    async with AsyncExitStack() as stack:
        session = await stack.enter_async_context(aiohttp.ClientSession(headers={"X-API-Key": "key"}))
        variants: dict[str, Variant] = {BASE: LOOPS["cursor"](session, base, rows)}
        for way, words in WAYS.items():
            client = await stack.enter_async_context(client_of(base, way))
            variants |= {f"{words}, look_ahead={depth}": _ours(client, depth, rows) for depth in (0, 8)}
        spent = await interleave(variants, rounds=rounds)
    table = Table(
        f"walk: {pages} pages of {PAGE_ROWS}, no latency", "row", BASE, [], by="cpu",
        goal=f"every walk without look-ahead at most {BUSY_GOAL:.2f} of the loop",
    )  # fmt: skip
    table.rows = compare(spent, base=BASE, units=rows, by="cpu")
    ratios = [row.ratio for row in table.rows if "look_ahead=0" in row.name]
    table.met = all(ratio is not None and ratio <= BUSY_GOAL for ratio in ratios)
    return table


# ---- other SDKs, each on a listing of its own API


def _noxus(stack: AsyncExitStack, base: str, rows: int) -> Variant:
    from noxus_sdk.client import Client

    sdk = Client("key", base_url=base, load_nodes=False, load_me=False)
    if hasattr(sdk, "aclose"):  # not in every release
        stack.push_async_callback(sdk.aclose)

    async def variant() -> None:
        count, page = 0, 1
        while found := await sdk.runs.alist(RUN_FLOW, page=page, page_size=PAGE_ROWS):
            count, page = count + len(found), page + 1
        assert count == rows

    return variant


def _replicate(stack: AsyncExitStack, base: str, rows: int) -> Variant:
    from replicate.client import Client
    from replicate.pagination import async_paginate

    sdk = Client(api_token="key", base_url=base)
    stack.push_async_callback(sdk._async_client.aclose)  # it has no public method to close it

    async def variant() -> None:
        count = 0
        async for page in async_paginate(sdk.predictions.async_list):
            count += len(page.results)
        assert count == rows

    return variant


def _openai(stack: AsyncExitStack, base: str, rows: int) -> Variant:
    import openai

    sdk = openai.AsyncOpenAI(api_key="key", base_url=f"{base}/v1")
    stack.push_async_callback(sdk.close)
    return _rows(lambda: sdk.files.list(limit=PAGE_ROWS), rows)


PEERS = {"noxus-sdk, runs": _noxus, "replicate, predictions": _replicate, "openai, files": _openai}


async def _peers(server: Server, pages: int, latency: int, rounds: int) -> Table:
    rows = pages * PAGE_ROWS
    base = server.base_url(latency=latency, rows=rows)
    ours = "eachlabs_async, executions by cursor, look_ahead=8"
    async with AsyncExitStack() as stack:
        session = await stack.enter_async_context(aiohttp.ClientSession())
        variants: dict[str, Variant] = {}
        for way, words in WAYS.items():
            client = await stack.enter_async_context(client_of(base, way))
            for depth in DEPTHS:
                variants[f"eachlabs_async, executions {words}, look_ahead={depth}"] = _ours(client, depth, rows)
            variants[f"{BASE}, executions {words}"] = LOOPS[way](session, base, rows)
        variants["eachlabs_async, runs, look_ahead=8"] = _rows(lambda: client.runs.list(look_ahead=8), rows)
        absent: list[Row] = []
        for name, make in PEERS.items():
            try:
                variants[name] = make(stack, base, rows)
            except ImportError:
                absent += missing([name])
        spent = await interleave(variants, rounds=rounds)
    title = f"walk: SDKs, {pages} pages of {PAGE_ROWS}, {latency} ms each"
    found = compare(spent, base=ours, units=rows, by="wall")
    for row in found:
        row.note = f"{row.ratio:.1f} times as long" if row.ratio else ""
    return Table(title, "row", ours, found + absent, by="wall")


async def measure(server: Server, *, quick: bool, peers: bool) -> list[Table]:
    tables = [await _depths(server, way, pages=100, latency=20, rounds=2 if quick else 7) for way in WAYS]
    tables.append(await _busy(server, pages=100, rounds=4 if quick else 15))
    if peers:
        pages = 40 if quick else 200
        tables += [await _peers(server, pages, latency, rounds=1 if quick else 3) for latency in (0, 20, 50)]
    return tables
