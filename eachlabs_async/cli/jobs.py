"""Owns the demo's jobs: what each asks of the client, quickly and one after another, and what must come.

It refuses to time, to count and to judge. `held` is the parent's own copy of the emulator's rows.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

from attrs import define, field, frozen

from ..bulk.fetch import BulkFetch
from ..bulk.outcomes import BulkStats
from ..client import EachLabs
from ..emulator.state import State
from ..pagination.pager import Pager, WalkOptions, WalkStats
from ..transport.endpoints import (
    GET_FLOW_EXECUTIONS,
    GET_WORKFLOW_EXECUTION,
    LIST_EXECUTIONS,
    LIST_EXECUTIONS_BY_CURSOR,
    LIST_RUNS,
    LIST_WORKFLOW_EXECUTIONS,
    Endpoint,
)

__all__ = ["Came", "Job", "Size", "jobs"]

Row = Mapping[str, Any]
Tell = Callable[[int], None]

_CHUNK = 100


@frozen(kw_only=True)
class Size:
    """How much the demo asks for, and how: `sample` is how many ids are fetched one by one for comparison."""

    gets: int
    flow_gets: int
    sample: int
    look_ahead: int
    concurrency: int


@define
class Came:
    """What a job brought: the records, the requests it takes when nothing goes wrong, ids that failed."""

    records: list[Any]
    asked: int
    failed: list[str] = field(factory=list[str])


@frozen(kw_only=True, eq=False)
class Job:
    """One line of the demo; `endpoint` is the only one that it asks.

    `quick` does all of it, telling how many rows came so far; `plain` does the first so many rows of it one
    request after another. `sample` is how many rows `plain` is run for: all of them where it is affordable.
    """

    title: str
    edition: str
    endpoint: Endpoint
    identity: str
    rows: Sequence[Row]
    sample: int
    quick: Callable[[EachLabs, Tell], Awaitable[Came]]
    plain: Callable[[EachLabs], Awaitable[None]]


def jobs(held: State, size: Size) -> list[Job]:
    """Make the jobs: three kinds of listing, two of them in both editions, and two kinds of bulk."""
    first, second = held.workflow_ids[:2]
    # Workflow executions are asked for by the ids that the listings gave; flows have no listing.
    wanted = held.workflow_executions.ids()[: size.gets]
    flow_ids = held.flow_executions[first].ids()[: size.flow_gets]
    return [
        _walk(
            "executions, by seeking",
            "compat",
            LIST_EXECUTIONS,
            "id",
            list(held.executions),
            lambda client, options: client.executions.list(**options),
            size,
        ),
        _walk(
            "executions, by cursor",
            "unified",
            LIST_EXECUTIONS_BY_CURSOR,
            "id",
            list(held.executions),
            lambda client, options: client.executions.list(**options),
            size,
        ),
        _walk(
            "a workflow's executions, compat",
            "compat",
            LIST_WORKFLOW_EXECUTIONS,
            "execution_id",
            list(held.workflow_executions[first]),
            lambda client, options: client.workflow_executions.list(first, **options),
            size,
        ),
        _walk(
            "a workflow's executions, unified",
            "unified",
            LIST_WORKFLOW_EXECUTIONS,
            "execution_id",
            list(held.workflow_executions[second]),
            lambda client, options: client.workflow_executions.list(second, **options),
            size,
        ),
        _walk(
            "runs, by page",
            "compat",
            LIST_RUNS,
            "id",
            list(held.runs),
            lambda client, options: client.runs.list(**options),
            size,
        ),
        _bulk(
            "workflow executions, by id",
            GET_WORKFLOW_EXECUTION,
            wanted,
            [held.workflow_executions.get(one) for one in wanted],
            lambda client, ids, tell: client.workflow_executions.get_many(
                ids, concurrency=size.concurrency, on_progress=tell
            ),
            lambda client, one: client.workflow_executions.get(one),
            size,
        ),
        _bulk(
            "flow executions, by id",
            GET_FLOW_EXECUTIONS,
            flow_ids,
            [held.flow_executions.get(one) for one in flow_ids],
            lambda client, ids, tell: client.flow_executions.get_many(first, ids, chunk_size=_CHUNK, on_progress=tell),
            lambda client, one: client.flow_executions.get(first, one),
            size,
            chunk=_CHUNK,
        ),
    ]


def _walk(
    title: str,
    edition: str,
    endpoint: Endpoint,
    identity: str,
    rows: list[Row],
    make: Callable[[EachLabs, WalkOptions], Pager[Any]],
    size: Size,
) -> Job:
    async def quick(client: EachLabs, tell: Tell) -> Came:
        def progress(stats: WalkStats) -> None:
            tell(stats.rows)

        pager = make(client, {"look_ahead": size.look_ahead, "on_progress": progress})
        return Came(await pager.collect(), pager.stats.requests)

    async def plain(client: EachLabs) -> None:
        await make(client, {}).collect()

    return Job(
        title=title,
        edition=edition,
        endpoint=endpoint,
        identity=identity,
        rows=rows,
        sample=len(rows),
        quick=quick,
        plain=plain,
    )


def _bulk(
    title: str,
    endpoint: Endpoint,
    ids: list[str],
    rows: list[Row],
    make: Callable[[EachLabs, list[str], Callable[[BulkStats], None]], BulkFetch[Any]],
    get: Callable[[EachLabs, str], Awaitable[object]],
    size: Size,
    *,
    chunk: int = 1,
) -> Job:
    sample = ids[: size.sample]

    async def quick(client: EachLabs, tell: Tell) -> Came:
        records: dict[int, Any] = {}
        came = Came([], -(-len(ids) // chunk))
        async with make(client, ids, lambda stats: tell(stats.done)) as outcomes:
            async for outcome in outcomes:
                if outcome.ok:
                    records[outcome.index] = outcome.value
                else:
                    came.failed.append(f"{outcome.id}: {outcome.error}")
        # Outcomes come as they finish: by their index they are in the order of the ids again.
        came.records = [records[index] for index in sorted(records)]
        return came

    async def plain(client: EachLabs) -> None:
        for one in sample:
            await get(client, one)

    return Job(
        title=title,
        edition="compat",
        endpoint=endpoint,
        identity="execution_id",
        rows=rows,
        sample=len(sample),
        quick=quick,
        plain=plain,
    )
