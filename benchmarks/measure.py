"""The measuring: interleaved rounds after a discarded warm-up, and medians.

All variants run in one process, forwards and backwards in turn (A B C, C B A, ...). Separate processes of the same code
differ by a tenth (memory layout, hash seed, the core's clock), more than the differences of interest. Within a process
both sides of a round share these conditions, so the ratio of a round is fair, and the median of many short rounds is
stable even on a busy machine. The garbage of a variant is collected before the next one begins. Figures are not
compared across runs.
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
    """One line of a table.

    `ratio` is relative to the table's base, by the time named in `by`; half of the rounds lie between `low` and `high`.
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
    """The figures of one comparison. `unit` is what the microseconds refer to; `base` is the row with the ratio 1."""

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
    """Run a variant after collecting garbage, and return its CPU and wall seconds."""
    gc.collect()
    cpu, wall = time.process_time(), time.perf_counter()
    await variant()
    return time.process_time() - cpu, time.perf_counter() - wall


async def interleave(
    variants: Mapping[str, Variant], *, rounds: int, warm_up: int = 1
) -> dict[str, list[tuple[float, float]]]:
    """Run all variants in every round, and return the CPU and wall seconds of each per round."""
    spent: dict[str, list[tuple[float, float]]] = {name: [] for name in variants}
    order = list(variants.items())
    for number in range(-warm_up, rounds):
        if number == 0:
            gc.collect()
            gc.freeze()  # what survives the warm-up is not scanned in every round
        for name, variant in order:
            cost = await timed(variant)
            if number >= 0:
                spent[name].append(cost)
        order.reverse()
    gc.unfreeze()
    return spent


def compare(spent: Mapping[str, list[tuple[float, float]]], *, base: str, units: int, by: str = "cpu") -> list[Row]:
    """Turn seconds into rows: the medians per unit, and the median of the ratios of all rounds."""
    which = 0 if by == "cpu" else 1
    rows = []
    for name, costs in spent.items():
        ratios = [cost[which] / other[which] for cost, other in zip(costs, spent[base], strict=True)]
        cpu, wall = (median(cost[index] for cost in costs) / units * 1e6 for index in (0, 1))
        low, middle, high = quantiles(ratios, n=4) if len(ratios) > 1 else ratios * 3
        rows.append(Row(name, cpu, wall, middle, low, high))
    return rows


def missing(names: Iterable[str]) -> list[Row]:
    """Return rows for variants whose package is not installed."""
    return [Row(name, note="not installed") for name in names]


def cores() -> tuple[int | None, int | None]:
    """Return a core for the client and one for the server, or None for both if there is no choice."""
    found = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []
    return (found[0], found[1]) if len(found) > 1 else (None, None)


def pin(core: int | None) -> None:
    """Pin this process to one core."""
    if core is not None:
        os.sched_setaffinity(0, {core})


def _cpu_model() -> str:
    try:
        with Path("/proc/cpuinfo").open(encoding="utf-8") as lines:
            return next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def environment() -> dict[str, Any]:
    """Return the versions of all packages, and a description of the machine."""
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
