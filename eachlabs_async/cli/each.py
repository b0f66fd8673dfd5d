"""Do one thing with each of some ids, one after another, and print what each call returns."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from ..codec.strict import to_dict
from ..errors import EachLabsError
from .context import Context
from .failures import code_for, failure_of
from .fetch import is_one_id
from .ids import read_ids
from .output.fields import View


async def print_each(
    context: Context, given: Sequence[str], call: Callable[[str], Awaitable[Any]], view: View | None
) -> int:
    """Call `call` with each id, print its record if there is a `view`, and return the exit code.

    An id that fails does not keep the others from their turn. If all fail for one reason, the code is that of it.
    """
    single = is_one_id(given) and context.format == "table"
    rows = None if single or view is None else context.rows(view)
    done, codes = 0, set[int]()
    try:
        async for name in read_ids(given):
            try:
                record = await call(name)
            except EachLabsError as error:
                failure = failure_of(error)
                codes.add(failure.code)
                context.warn(f"eachlabs: {name}: {failure.text}")
                continue
            done += 1
            if rows is not None:
                rows.write(to_dict(record))
            elif view is not None:
                context.record(to_dict(record), view)
    finally:
        if rows is not None:
            rows.end()
    return code_for(done, codes)
