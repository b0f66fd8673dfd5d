"""Measures variants against each other: interleaved rounds, a warm-up that is thrown away, medians.

All variants run in one process, in turn forwards and backwards (A B C, C B A, ...). Fresh processes of one code
differ by a tenth (memory layout, hash seed, the core's clock), which is more than what is looked for. Within a
process both sides of a round share all that, so a round's ratio is fair, and the median of many short rounds is
steady even on a busy machine. What a variant leaves behind is collected before the next one begins.
It refuses to compare across runs.
"""

from __future__ import annotations

import gc
import os
import platform
import sys
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from statistics import median, quantiles
from typing import Any, Final, TypeAlias

from attrs import asdict, define

PACKAGES: Final = (
    "eachlabs-async", "aiohttp", "attrs", "cattrs", "msgspec", "backoff", "yarl", "multidict",
    "uvloop", "orjson", "pydantic", "httpx", "openai", "noxus-sdk", "replicate",
)  # fmt: skip

Variant: TypeAlias = Callable[[], Awaitable[object]]


@define
class Row:
    """One line of a table: `ratio` is to the table's base, by the time that `by` names; half the rounds lie within
    `low` and `high`.
    """

    name: str
    cpu_us: float | None = None
    wall_us: float | None = None
    ratio: float | None = None
    low: float | None = None
    high: float | None = None
    note: str = ""


@define
class Table:
    """The figures of one comparison; `unit` is what the microseconds are for, `base` the row that is 1."""

    title: str
    unit: str
    base: str
    rows: list[Row]
    by: str = "cpu"
    goal: str = ""
    met: bool | None = None
    note: str = ""

    def row(self, name: str) -> Row:
        return next(row for row in self.rows if row.name == name)

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


async def timed(variant: Variant) -> tuple[float, float]:
    """Run a variant, with no garbage left by others; give its CPU and wall seconds."""
    gc.collect()
    cpu, wall = time.process_time(), time.perf_counter()
    await variant()
    return time.process_time() - cpu, time.perf_counter() - wall


async def interleave(
    variants: Mapping[str, Variant], *, rounds: int, warm_up: int = 1
) -> dict[str, list[tuple[float, float]]]:
    """Run all variants in every round; give each one's CPU and wall seconds per round."""
    spent: dict[str, list[tuple[float, float]]] = {name: [] for name in variants}
    order = list(variants.items())
    for number in range(-warm_up, rounds):
        if number == 0:
            gc.collect()
            gc.freeze()  # what stays need not be looked through in every round
        for name, variant in order:
            cost = await timed(variant)
            if number >= 0:
                spent[name].append(cost)
        order.reverse()
    gc.unfreeze()
    return spent


def compare(spent: Mapping[str, list[tuple[float, float]]], *, base: str, units: int, by: str = "cpu") -> list[Row]:
    """Turn seconds into rows: medians for one of `units`, and the median of the ratios of each round."""
    which = 0 if by == "cpu" else 1
    rows = []
    for name, costs in spent.items():
        ratios = [cost[which] / other[which] for cost, other in zip(costs, spent[base], strict=True)]
        cpu, wall = (median(cost[place] for cost in costs) / units * 1e6 for place in (0, 1))
        low, middle, high = quantiles(ratios, n=4) if len(ratios) > 1 else ratios * 3
        rows.append(Row(name, cpu, wall, middle, low, high))
    return rows


def missing(names: Iterable[str]) -> list[Row]:
    """Give the rows of what cannot be measured here."""
    return [Row(name, note="not installed") for name in names]


def cores() -> tuple[int | None, int | None]:
    """Give a core for the client and another for the server; None where there is nothing to choose."""
    found = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []
    return (found[0], found[1]) if len(found) > 1 else (None, None)


def pin(core: int | None) -> None:
    """Keep this process on one core."""
    if core is not None:
        os.sched_setaffinity(0, {core})


def _cpu_model() -> str:
    try:
        with Path("/proc/cpuinfo").open(encoding="utf-8") as lines:
            return next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def facts() -> dict[str, Any]:
    """Say what was measured with what: versions and the machine."""
    versions: dict[str, str | None] = {}
    for name in PACKAGES:
        try:
            versions[name] = version(name)
        except PackageNotFoundError:
            versions[name] = None
    return {
        "python": sys.version.split()[0],
        "implementation": platform.python_implementation(),
        "packages": versions,
        "machine": {"cores": os.cpu_count(), "cpu": _cpu_model(), "os": platform.platform(terse=True)},
    }
