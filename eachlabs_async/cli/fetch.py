"""Print what was fetched by id as it arrives, in the order of the ids; what failed goes to standard error."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any

from ..bulk.fetch import BulkFetch
from ..bulk.outcomes import BulkStats
from .context import Context
from .failures import code_for, failure_of
from .ids import read_ids
from .output.fields import View


def is_one_id(given: Sequence[str]) -> bool:
    """Whether the arguments are one id, which a terminal shows with all its fields."""
    return len(given) == 1 and given[0] != "-" and not given[0].startswith("@")


async def print_fetched(
    context: Context,
    given: Sequence[str],
    fetch: Callable[[AsyncIterator[str], Callable[[BulkStats], object]], BulkFetch[Any]],
    view: View,
    *,
    title: str,
) -> int:
    """Print the records of ids and return the exit code, as `print_outcomes` does.

    `given` are ids, `-` or `@FILE`. `fetch` starts the fetch, with the ids and the callback for its progress.
    """
    context.view(view)  # so that a wrong field is refused before standard input is read
    single = is_one_id(given) and context.format == "table"
    ids = read_ids(given)
    return await print_outcomes(context, lambda report: fetch(ids, report), view, title=title, single=single)


async def print_outcomes(
    context: Context,
    fetch: Callable[[Callable[[BulkStats], object]], BulkFetch[Any]],
    view: View,
    *,
    title: str,
    single: bool = False,
) -> int:
    """Print the records of a fetch, and its errors on standard error.

    Return the exit code: 1 if some failed, that of the error if all failed for one reason. `single` shows a record with
    a field in each line.
    """
    from ..codec.strict import to_dict

    rows = None if single else context.rows(view)
    done, codes = 0, set[int]()
    try:
        with context.progress(title, "ids", prints_rows=True) as progress:
            async with fetch(lambda stats: progress.update(stats.done)) as outcomes:
                async for outcome in outcomes:
                    if outcome.error is not None:
                        failure = failure_of(outcome.error)
                        codes.add(failure.code)
                        progress.say(f"eachlabs: {outcome.id}: {failure.text}")
                        continue
                    done += 1
                    if rows is None:
                        context.record(to_dict(outcome.value), view)
                    else:
                        rows.write(to_dict(outcome.value))
    except asyncio.CancelledError:
        context.warn(f"stopped after {done:,} ids")
        raise
    finally:
        if rows is not None:
            rows.end()
    return code_for(done, codes)
