# pyright: reportUnnecessaryTypeIgnoreComment=true, reportUnknownVariableType=false, reportUnknownMemberType=false
# pyright: reportUnusedVariable=false
# ruff: noqa: PGH003  (the two type checkers have different codes)
"""Usual slips, each of which mypy and pyright report: an ignore that is not needed is an error; never run."""

from __future__ import annotations

from eachlabs_async import EachLabs


async def slips(client: EachLabs) -> None:
    """Make each slip once."""
    for _ in client.runs.list():  # type: ignore
        pass
    await client.runs.list()  # type: ignore
    len(client.runs.list())  # type: ignore
    with client:  # type: ignore
        pass
    with client.runs.list():  # type: ignore
        pass
    client.executions.list(modle="m")  # type: ignore
    client.runs.list(look_ahed=2)  # type: ignore
    client.executions.get("e")  # type: ignore
    client.execution  # type: ignore # noqa: B018
    await client.workflows.trigger("w", "v", [{}])  # type: ignore
    await client.predictions.create("m", [{}])  # type: ignore
    await client.workflow_executions.get(["a"])  # type: ignore
