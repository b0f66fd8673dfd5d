"""Tests for usual slips: each is an error that says in one sentence what to write instead."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from typing import Any

import pytest

from eachlabs_async import EachLabs


async def wait_for(value: Any) -> None:
    await value


def enter(value: Any) -> None:
    with value:
        pass


SLIPS: dict[str, tuple[Callable[[Any], object], type[Exception], str]] = {
    "for": (lambda c: [row.id for row in c.executions.list()], TypeError, "use `async for` for a ModelExecutionPager"),
    "list": (lambda c: list(c.runs.list()), TypeError, "use `async for` for a Pager"),
    "for pages": (lambda c: list(c.runs.list().pages()), TypeError, "use `async for` for a StreamIterator"),
    "for outcomes": (lambda c: list(c.runs.get_many([])), TypeError, "use `async for` for a BulkFetch"),
    "index": (lambda c: c.runs.list()[0], TypeError, "use `async for` for a Pager, or `await ....collect()`"),
    "len": (lambda c: len(c.runs.list()), TypeError, "has no length before it is read: use `await ....collect()`"),
    "await": (lambda c: asyncio.run(wait_for(c.runs.list())), TypeError, "use `async for` for a Pager"),
    "with client": (enter, TypeError, "use `async with` for an EachLabs, not `with`"),
    "with pager": (lambda c: enter(c.runs.list()), TypeError, "use `async with` for a Pager, not `with`"),
    "model": (lambda c: c.executions.list(modle="m"), TypeError, "no argument 'modle': did you mean 'model'?"),
    "look_ahead": (lambda c: c.runs.list(look_ahed=2), TypeError, "'look_ahed': did you mean 'look_ahead'?"),
    "limit": (lambda c: c.models.list(limits=2), TypeError, "'limits': did you mean 'limit'?"),
    "size": (lambda c: c.runs.list(sise=2), TypeError, "'sise': did you mean 'size'?"),
    "no such word": (lambda c: c.runs.list(zzz=2), TypeError, "list() has no argument 'zzz'"),
    "get": (lambda c: c.executions.get("e"), AttributeError, "'get': use `client.predictions.get` for one execution"),
    "method": (lambda c: c.runs.lst(), AttributeError, "no attribute 'lst': did you mean 'list'?"),
    "resource": (lambda c: c.execution, AttributeError, "no attribute 'execution': did you mean 'executions'?"),
    "inputs": (
        lambda c: asyncio.run(c.workflows.trigger("w", "v", [{}])),
        TypeError,
        "inputs must be a mapping, not list: call once for each input, or use `map`",
    ),
    "input": (
        lambda c: asyncio.run(c.predictions.create("m", [{}])),
        TypeError,
        "input must be a mapping, not list: call once for each input, or use `map`",
    ),
    "ids": (
        lambda c: asyncio.run(c.workflow_executions.get(["a", "b"])),
        TypeError,
        "execution_id must be a str, not list: call once for each id, or use `get_many`",
    ),
}


@pytest.mark.parametrize("slip", SLIPS)
def test_a_slip_says_what_to_write_instead(slip: str) -> None:
    """The error is of the class that Python itself would raise."""
    make, kind, text = SLIPS[slip]
    with pytest.raises(kind) as caught:
        make(EachLabs("key"))
    assert text in str(caught.value)
    assert len(str(caught.value)) < 200


def test_a_pager_is_still_true_and_no_iterable() -> None:
    """What guides does not change what a pager counts as."""
    client = EachLabs("key")
    pager = client.runs.list()
    assert pager
    assert not isinstance(pager, Iterable)
    assert not hasattr(client.executions, "get")
    assert getattr(client, "_nothing", None) is None
    assert not isinstance(client, Awaitable)
