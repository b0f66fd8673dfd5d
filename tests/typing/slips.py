# pyright: reportUnnecessaryTypeIgnoreComment=true, reportUnknownVariableType=false, reportUnknownMemberType=false
# pyright: reportUnusedVariable=false
# ruff: noqa: PGH003  (the two type checkers have different codes)
"""Usual slips, each of which mypy and pyright report: an ignore that is not needed is an error; never run."""

from __future__ import annotations

from eachlabs_async import EachLabs


async def slips(client: EachLabs) -> None:
    """Make each slip once."""
    for _ in client.runs.list():  # type: ignore  # it needs `async for`
        pass
    await client.runs.list()  # type: ignore  # it is iterated, or collected
    len(client.runs.list())  # type: ignore  # nothing is read yet
    with client:  # type: ignore  # it needs `async with`
        pass
    with client.runs.list():  # type: ignore  # the same
        pass
    client.executions.list(modle="m")  # type: ignore  # misspelt
    client.runs.list(look_ahed=2)  # type: ignore  # misspelt
    client.executions.get("e")  # type: ignore  # `predictions.get`
    client.execution  # type: ignore  # misspelt  # noqa: B018  # it is only read
    await client.workflows.trigger("w", "v", [{}])  # type: ignore  # one input is meant
    await client.predictions.create("m", [{}])  # type: ignore  # one input is meant
    await client.workflow_executions.get(["a"])  # type: ignore  # one id is meant
