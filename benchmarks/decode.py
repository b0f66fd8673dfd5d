"""The time of decoding a response into records, against the standard library, pydantic and plain cattrs.

The base is `json.loads`, the obvious choice, which returns dicts and leaves times as text.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import datetime
from functools import partial, reduce
from operator import or_
from types import UnionType
from typing import Any, get_args, get_origin, get_type_hints

import attrs
import cattrs

from eachlabs_async import records
from eachlabs_async.codec.strict import decode, decode_strict

from . import samples
from .measure import Table, compare, interleave, missing
from .server import Server

OURS = "eachlabs_async"
GOAL = 0.60


def _pydantic(kind: Any) -> Any:
    """Return the pydantic model with the fields of a record class, and of those nested in it."""
    from pydantic import create_model

    if args := get_args(kind):
        inner = [_pydantic(arg) for arg in args]
        return reduce(or_, inner) if isinstance(kind, UnionType) else get_origin(kind)[tuple(inner)]
    if not attrs.has(kind):
        return kind
    fields: Any = {
        field.name: (_pydantic(hint), ... if field.default is attrs.NOTHING else field.default)
        for field, hint in zip(attrs.fields(kind), get_type_hints(kind).values(), strict=True)
    }
    return create_model(kind.__name__, **fields)


def _readers(body: bytes, kind: Any) -> tuple[dict[str, Callable[[], object]], list[str]]:
    converter = cattrs.Converter()
    converter.register_structure_hook(datetime, lambda value, _: datetime.fromisoformat(value))
    found: dict[str, Callable[[], object]] = {
        "json.loads": partial(json.loads, body),
        OURS: partial(decode, body, kind),
        "eachlabs_async, no msgspec": partial(decode_strict, body, kind),
        "json + plain cattrs": lambda: converter.structure(json.loads(body), kind),
    }
    absent = []
    try:
        import orjson

        found["orjson, untyped"] = partial(orjson.loads, body)
        found["orjson + plain cattrs"] = lambda: converter.structure(orjson.loads(body), kind)
    except ImportError:
        absent += ["orjson, untyped", "orjson + plain cattrs"]
    try:
        found["pydantic"] = partial(_pydantic(kind).model_validate_json, body)
    except ImportError:
        absent.append("pydantic")
    return found, absent


async def _table(title: str, body: bytes, kind: Any, *, quick: bool, goal: float | None = None) -> Table:
    readers, absent = _readers(body, kind)
    times = 1_500 if len(body) < 5_000 else 60

    def repeated(read: Callable[[], object]) -> Any:
        async def variant() -> None:
            for _ in range(times):
                read()

        return variant

    variants = {name: repeated(read) for name, read in readers.items()}
    spent = await interleave(variants, rounds=5 if quick else 60)
    rows = compare(spent, base="json.loads", units=times) + missing(absent)
    table = Table(title, "body", "json.loads", rows, note=f"{len(body)} bytes")
    if goal is not None:
        ratio = table.row(OURS).ratio
        table.goal = f"{OURS} <= {goal:.2f}"
        table.met = ratio is not None and ratio <= goal
    return table


async def measure(_server: Server, *, quick: bool, peers: bool) -> list[Table]:
    executions, runs, one = records.ExecutionList, records.RunPage, records.WorkflowExecution
    bodies = {
        "page of 100, whole seconds": (samples.execution_page(), executions),
        "page of 100, milliseconds": (samples.execution_page(".250"), executions),
        "page of 100, nanoseconds": (samples.execution_page(".123456789"), executions),
        "page of 100 runs, times without a zone": (samples.run_page(), runs),
        "one workflow execution": (samples.encode(samples.workflow_execution(samples.identity(7))), one),
    }
    return [
        await _table(f"decode: {name}", body, kind, quick=quick, goal=GOAL if "whole" in name else None)
        for name, (body, kind) in bodies.items()
    ]
