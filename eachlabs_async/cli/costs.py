"""Print what executions cost, as a table with bars, or in another format, and draw a chart of it."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from .context import Context
from .failures import OK, UsageError
from .output.fields import TableColumn, View

if TYPE_CHECKING:
    from ..costs.report import CostGroup, CostReport

_WORDS: Final = ("model", "requested_model", "status", "state", "workflow_id", "hour", "day", "month")
_SMALLEST: Final = Decimal("0.0001")


async def print_costs(
    context: Context,
    span: tuple[datetime | None, datetime | None],
    by: Sequence[str],
    filters: Mapping[str, Any],
    *,
    archive: Path | None,
    chart: Path | None,
) -> int:
    """Print the costs of the executions of a time span, from the service or from an archive."""
    for word in by:
        if word not in _WORDS:
            raise UsageError(f"--by must be of {', '.join(_WORDS)}, not {word!r}")
    if archive is not None and not is_there(archive):
        raise UsageError(f"there is no archive {archive}: make one with `eachlabs executions sync {archive}`")
    view = costs_view(by)
    context.view(view)
    report = await _report(context, span, tuple(by), filters, archive)
    if context.format == "json" and not context.options.fields:
        context.document(report.to_dict())
    else:
        rows = context.rows(view)
        largest = max((float(group.cost) for group in report.groups), default=0.0)
        for group in report.groups:
            rows.write(_row(group, by, largest))
        if context.format == "table" and len(report.groups) > 1:
            rows.write({**_row(report.total, by, 0.0), **dict.fromkeys(by, ""), by[0]: "all"})
        rows.end()
    for note in report.notes:
        context.note(f"note: {note}")
    if chart is not None:
        await asyncio.to_thread(report.chart, chart)
        context.note(f"chart: {chart}")
    return OK


async def _report(
    context: Context,
    span: tuple[datetime | None, datetime | None],
    by: tuple[str, ...],
    filters: Mapping[str, Any],
    archive: Path | None,
) -> CostReport:
    given = {name: value for name, value in filters.items() if value is not None}
    if archive is not None:
        if "error_classification" in given:
            raise UsageError("an archive has no error classifications: leave out --error-classification")
        from ..archive import Archive

        async with Archive(archive) as opened:
            return await opened.costs(*span, by=by, **given)
    async with context.client() as client:
        with context.progress("costs") as progress:
            return await client.executions.costs(
                *span,
                by=by,
                **given,
                on_progress=lambda stats: progress.update(stats.rows, stats.total, total_is_exact=stats.total_is_exact),
            )


def is_there(path: Path) -> bool:
    """Whether a file exists, so that none is made by asking it for costs."""
    return path.exists()


def costs_view(by: Sequence[str]) -> View:
    """Return the fields of a group of costs and the columns of the table."""
    names = (*by, "cost", "run_time_s", "executions", "succeeded", "failed", "failure_rate", "unpriced")
    keys = [TableColumn(name, name, "text", rank, rank == 0) for rank, name in enumerate(by)]
    rank = len(keys)
    columns = (
        *keys,
        TableColumn("cost_shown", "cost $", "cost", rank),
        TableColumn("bar", "", rank=rank + 4, is_bar=True),
        TableColumn("executions", "executions", "integer", rank + 1),
        TableColumn("failed_percent", "failed %", "number", rank + 2),
        TableColumn("unpriced", "unpriced", "integer", rank + 5),
        TableColumn("run_time_shown", "run s", "integer", rank + 3),
    )
    return View(names, {name: "text" if name in by else "number" for name in names}, columns)


def _row(group: CostGroup, by: Sequence[str], largest: float) -> dict[str, Any]:
    rate = group.failure_rate
    return {
        **{name: "none" if key is None else key for name, key in zip(by, group.key, strict=False)},
        "cost": f"{group.cost:f}",
        "cost_shown": cost_shown(group.cost),
        "bar": float(group.cost) / largest if largest else 0.0,
        "run_time_s": round(float(group.run_time_s), 3),
        "run_time_shown": round(group.run_time_s),
        "executions": group.executions,
        "succeeded": group.succeeded,
        "failed": group.failed,
        "failure_rate": None if rate is None else round(rate, 6),
        "failed_percent": None if rate is None else f"{100 * rate:.1f}",
        "unpriced": group.unpriced,
    }


def cost_shown(cost: Decimal) -> str:
    """Return a cost with four decimal places, so that those of a column stand below each other."""
    return f"<{_SMALLEST}" if 0 < cost < _SMALLEST else f"{cost:,.4f}"
