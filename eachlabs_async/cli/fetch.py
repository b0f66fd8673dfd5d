"""Print what was fetched by id as it arrives, in the order of the ids; what failed goes to standard error."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any

from ..bulk.fetch import BulkFetch
from ..bulk.outcomes import BulkStats
from ..errors import EachLabsError
from .context import Context
from .failures import UsageError, code_for, failure_of
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
    skip: int = 0,
) -> int:
    """Print the records of ids and return the exit code, as `print_outcomes` does.

    `given` are ids, `-` or `@FILE`, of which the first `skip` are left out. `fetch` starts the fetch, with the ids and
    the callback for its progress.
    """
    if skip < 0:
        raise UsageError(f"--skip must be at least 0, not {skip}")
    context.view(view)  # so that a wrong field is refused before standard input is read
    single = is_one_id(given) and context.format == "table"
    ids = _without_first(read_ids(given), skip)
    return await print_outcomes(
        context, lambda report: fetch(ids, report), view, title=title, single=single, skipped=skip
    )


async def _without_first(ids: AsyncIterator[str], skip: int) -> AsyncIterator[str]:
    left = skip
    async for name in ids:
        if left:
            left -= 1
        else:
            yield name


async def print_outcomes(
    context: Context,
    fetch: Callable[[Callable[[BulkStats], object]], BulkFetch[Any]],
    view: View,
    *,
    title: str,
    single: bool = False,
    skipped: int | None = None,
) -> int:
    """Print the records of a fetch, and its errors on standard error.

    Return the exit code: 1 if some failed, that of the error if all failed for one reason. `single` shows a record with
    a field in each line. `skipped` is how many ids an earlier command has done, None if no command can go on.
    """
    from ..codec.strict import to_dict

    rows = None if single else context.rows(view, header=not skipped)
    done, failed, codes = 0, 0, set[int]()
    try:
        with context.progress(title, "ids", prints_rows=True) as progress:
            async with fetch(lambda stats: progress.update(stats.done)) as outcomes:
                async for outcome in outcomes:
                    if outcome.error is not None:
                        failure = failure_of(outcome.error)
                        codes.add(failure.code)
                        failed += 1
                        progress.say(f"eachlabs: {outcome.id}: {failure.text}")
                        continue
                    done += 1
                    if rows is None:
                        context.record(to_dict(outcome.value), view)
                    else:
                        rows.write(to_dict(outcome.value))
    except (asyncio.CancelledError, EachLabsError):
        if done + failed:
            context.warn(f"stopped after {done + failed:,} ids")
            if skipped is not None:
                context.warn(f"go on with: {context.continued(skip=str(skipped + done + failed))}")
        raise
    finally:
        if rows is not None:
            rows.end()
    return code_for(done, codes)
