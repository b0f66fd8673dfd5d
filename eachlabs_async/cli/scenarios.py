"""The scenarios of the demo: what each fetches, as fast as it can and one by one, and the rows that it must bring.

`demo` times them, and `checks` judges what they bring.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

from attrs import define, field, frozen

from ..bulk.fetch import BulkFetch
from ..bulk.outcomes import BulkStats
from ..client import EachLabs
from ..emulator.dataset import Dataset
from ..pagination.pager import Pager
from ..pagination.pages import WalkOptions, WalkStats
from ..transport.endpoints import (
    GET_FLOW_EXECUTIONS,
    GET_WORKFLOW_EXECUTION,
    LIST_EXECUTIONS,
    LIST_EXECUTIONS_BY_CURSOR,
    LIST_RUNS,
    LIST_WORKFLOW_EXECUTIONS,
    Endpoint,
)

__all__ = ["Scenario", "ScenarioResult", "Workload", "scenarios"]

Row = Mapping[str, Any]
OnRows = Callable[[int], None]
"""Called with the number of rows fetched so far."""

_CHUNK = 100


@frozen(kw_only=True)
class Workload:
    """How much the demo fetches, and how; `sample` is the number of ids that are also fetched one by one."""

    gets: int
    flow_gets: int
    sample: int
    look_ahead: int
    concurrency: int


@define
class ScenarioResult:
    """What a scenario brought: the records, the requests that it takes without failures, and the ids that failed."""

    records: list[Any]
    requests: int
    failed: list[str] = field(factory=list[str])


@frozen(kw_only=True, eq=False)
class Scenario:
    """One line of the demo; it uses a single `endpoint`.

    `run` fetches everything. `run_one_by_one` fetches the first `sample` rows, one request after another; that is all
    of them where it does not take too long.
    """

    title: str
    edition: str
    endpoint: Endpoint
    identity: str
    rows: Sequence[Row]
    sample: int
    run: Callable[[EachLabs, OnRows], Awaitable[ScenarioResult]]
    run_one_by_one: Callable[[EachLabs], Awaitable[None]]


def scenarios(expected: Dataset, workload: Workload) -> list[Scenario]:
    """Return the scenarios: three kinds of listing, two of them in both editions, and two kinds of bulk fetch.

    `expected` is a copy of the emulator's rows.
    """
    first, second = expected.workflow_ids[:2]
    ids = expected.workflow_executions.ids()[: workload.gets]
    flow_ids = expected.flow_executions[first].ids()[: workload.flow_gets]
    return [
        _walk(
            "executions by seeking",
            "compat",
            LIST_EXECUTIONS,
            "id",
            list(expected.executions),
            lambda client, options: client.executions.list(**options),
            workload,
        ),
        _walk(
            "executions by cursor",
            "unified",
            LIST_EXECUTIONS_BY_CURSOR,
            "id",
            list(expected.executions),
            lambda client, options: client.executions.list(**options),
            workload,
        ),
        _walk(
            "one workflow, compat",
            "compat",
            LIST_WORKFLOW_EXECUTIONS,
            "execution_id",
            list(expected.workflow_executions[first]),
            lambda client, options: client.workflow_executions.list(first, **options),
            workload,
        ),
        _walk(
            "one workflow, unified",
            "unified",
            LIST_WORKFLOW_EXECUTIONS,
            "execution_id",
            list(expected.workflow_executions[second]),
            lambda client, options: client.workflow_executions.list(second, **options),
            workload,
        ),
        _walk(
            "runs by page",
            "compat",
            LIST_RUNS,
            "id",
            list(expected.runs),
            lambda client, options: client.runs.list(**options),
            workload,
        ),
        _bulk(
            "workflow execs by id",
            GET_WORKFLOW_EXECUTION,
            ids,
            [expected.workflow_executions.get(execution_id) for execution_id in ids],
            lambda client, ids, on_progress: client.workflow_executions.get_many(
                ids, concurrency=workload.concurrency, on_progress=on_progress
            ),
            lambda client, execution_id: client.workflow_executions.get(execution_id),
            workload,
        ),
        _bulk(
            "flow executions by id",
            GET_FLOW_EXECUTIONS,
            flow_ids,
            [expected.flow_executions.get(execution_id) for execution_id in flow_ids],
            lambda client, ids, on_progress: client.flow_executions.get_many(
                first, ids, chunk_size=_CHUNK, on_progress=on_progress
            ),
            lambda client, execution_id: client.flow_executions.get(first, execution_id),
            workload,
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
    workload: Workload,
) -> Scenario:
    async def run(client: EachLabs, on_rows: OnRows) -> ScenarioResult:
        def on_progress(stats: WalkStats) -> None:
            on_rows(stats.rows)

        pager = make(client, {"look_ahead": workload.look_ahead, "on_progress": on_progress})
        return ScenarioResult(await pager.collect(), pager.stats.requests)

    async def run_one_by_one(client: EachLabs) -> None:
        await make(client, {}).collect()

    return Scenario(
        title=title,
        edition=edition,
        endpoint=endpoint,
        identity=identity,
        rows=rows,
        sample=len(rows),
        run=run,
        run_one_by_one=run_one_by_one,
    )


def _bulk(
    title: str,
    endpoint: Endpoint,
    ids: list[str],
    rows: list[Row],
    make: Callable[[EachLabs, list[str], Callable[[BulkStats], None]], BulkFetch[Any]],
    get: Callable[[EachLabs, str], Awaitable[object]],
    workload: Workload,
    *,
    chunk: int = 1,
) -> Scenario:
    sample = ids[: workload.sample]

    async def run(client: EachLabs, on_rows: OnRows) -> ScenarioResult:
        records: dict[int, Any] = {}
        result = ScenarioResult([], -(-len(ids) // chunk))
        async with make(client, ids, lambda stats: on_rows(stats.done)) as outcomes:
            async for outcome in outcomes:
                if outcome.ok:
                    records[outcome.index] = outcome.value
                else:
                    result.failed.append(f"{outcome.id}: {outcome.error}")
        # Outcomes come in the order of completion; the index restores the order of the ids.
        result.records = [records[index] for index in sorted(records)]
        return result

    async def run_one_by_one(client: EachLabs) -> None:
        for execution_id in sample:
            await get(client, execution_id)

    return Scenario(
        title=title,
        edition="compat",
        endpoint=endpoint,
        identity="execution_id",
        rows=rows,
        sample=len(sample),
        run=run,
        run_one_by_one=run_one_by_one,
    )
