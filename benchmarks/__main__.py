"""The command line: runs benchmarks by name, prints their tables, and writes them as JSON."""

from __future__ import annotations

import argparse
import asyncio
import json
import os
from pathlib import Path

from . import archive, bulk, decode, fairness, memory, scale, walk
from .measure import Table, cores, environment, pin
from .server import running

BENCHMARKS = {
    "decode": decode.measure,
    "bulk": bulk.measure,
    "walk": walk.measure,
    "fairness": fairness.measure,
    "memory": memory.measure,
    "archive": archive.measure,
    "scale": scale.measure,
}


def _show(table: Table) -> None:
    print(f"\n{table.title}" + (f" ({table.note})" if table.note else ""))
    width = max(len(row.name) for row in table.rows) + 2
    print(f"  {'':{width}}{'CPU us':>10}{'wall us':>10}{'ratio':>8}   per {table.unit}; ratio by {table.by}")
    for row in table.rows:
        numbers = [f"{row.cpu_us:.2f}", f"{row.wall_us:.2f}", f"{row.ratio:.2f}"] if row.ratio is not None else [""] * 3
        cpu, wall, ratio = numbers
        base = row.note or ("base" if row.name == table.base else "")
        print(f"  {row.name:{width}}{cpu:>10}{wall:>10}{ratio:>8}   {base}")
    if table.goal:
        print(f"  goal: {table.goal}: {'met' if table.met else 'MISSED'}")


def main() -> None:
    parser = argparse.ArgumentParser("benchmarks", description="Measure eachlabs_async against the alternatives.")
    parser.add_argument("names", nargs="*", metavar="name", help=f"of {', '.join(BENCHMARKS)}; all by default")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures to FILE")
    parser.add_argument("--quick", action="store_true", help="fewer rounds: a look, not a measurement")
    parser.add_argument("--peers", action="store_true", help="measure other vendors' SDKs too (takes minutes)")
    options = parser.parse_args()
    if unknown := [name for name in options.names if name not in BENCHMARKS]:
        parser.error(f"no benchmark is called {unknown[0]!r}")
    report = {**environment(), "quick": options.quick, "benchmarks": {}}
    print(f"Python {report['python']}, {report['machine']}")
    client_core, server_core = cores()
    with running(server_core) as server:
        pin(client_core)
        for name in options.names or BENCHMARKS:
            tables = asyncio.run(BENCHMARKS[name](server, quick=options.quick, peers=options.peers))
            for table in tables:
                _show(table)
            report["benchmarks"][name] = [table.as_json() for table in tables]
    report["machine"]["load"] = os.getloadavg() if hasattr(os, "getloadavg") else None
    if options.json:
        options.json.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
