"""Owns `python -m eachlabs_async demo`: thousands of rows from a service that misbehaves, every one checked.

It needs no key and no network. It refuses to take the client's word: rows are judged by `checks` against rows
made from the same seed, and requests are counted by the emulator, which is another process.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from types import TracebackType
from typing import Any, Self

from attrs import asdict, frozen

from ..client import EachLabs
from ..emulator.state import State
from ..errors import EachLabsError
from .checks import problems
from .jobs import Came, Job, Size, jobs
from .report import Line, Progress, Report
from .stage import Settings, Stage, StageError

__all__ = ["main"]


@frozen(kw_only=True)
class Options:
    """What the command line asked for."""

    settings: Settings
    size: Size
    as_json: bool


def main(argv: Sequence[str] | None = None) -> int:
    """Run the demo: 0 if every row was right, 1 if anything was off, 2 for bad usage."""
    options = _options(argv)
    with Retries() as retries:
        # With --json the report alone goes to standard output.
        progress = Progress(sys.stderr if options.as_json else sys.stdout, lambda: retries.job)
        try:
            report = asyncio.run(_run(options, progress, retries))
        except (StageError, OSError) as exc:
            print(f"the demo cannot run: {exc}", file=sys.stderr)
            return 1
    print(report.as_json() if options.as_json else f"\n{report.as_text()}")
    return 1 if report.all_problems else 0


def _options(argv: Sequence[str] | None) -> Options:
    parser = argparse.ArgumentParser(
        prog="python -m eachlabs_async demo",
        description="Walk and fetch thousands of rows from an emulator that misbehaves, and check every one. "
        "Needs no key and no network.",
    )
    parser.add_argument("--executions", type=_at_least(1), help="rows of each kind (default 5000)")
    parser.add_argument("--seed", type=int, default=1, help="decides the rows and the faults (default 1)")
    parser.add_argument("--look-ahead", type=_at_least(0), default=8, help="pages asked for ahead (default 8)")
    parser.add_argument("--concurrency", type=_at_least(1), default=32, help="gets at once (default 32)")
    parser.add_argument("--latency-ms", type=_share(1000), help="of each answer, 0 to 1000 (default 20)")
    parser.add_argument("--faults", type=_share(0.2), default=0.025, help="share 0..0.2 of the requests")
    parser.add_argument("--quick", action="store_true", help="fewer rows, less latency: about three seconds")
    parser.add_argument("--json", action="store_true", help="the report as JSON; progress goes to stderr")
    given = parser.parse_args(argv)
    executions = given.executions or (600 if given.quick else 5000)
    latency_ms = given.latency_ms if given.latency_ms is not None else (5.0 if given.quick else 20.0)
    midnight = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    return Options(
        settings=Settings(
            executions=executions,
            seed=given.seed,
            now=midnight.isoformat(),
            latency_s=latency_ms / 1000,
            fault_rate=given.faults,
        ),
        size=Size(
            gets=200 if given.quick else 2000,
            flow_gets=100 if given.quick else 500,
            sample=20 if given.quick else 80,
            look_ahead=given.look_ahead,
            concurrency=given.concurrency,
        ),
        as_json=given.json,
    )


def _at_least(least: int) -> Callable[[str], int]:
    def number(text: str) -> int:
        value = int(text)
        if value < least:
            raise argparse.ArgumentTypeError(f"must be at least {least}, not {value}")
        return value

    return number


def _share(most: float) -> Callable[[str], float]:
    def number(text: str) -> float:
        value = float(text)
        if not 0 <= value <= most:
            raise argparse.ArgumentTypeError(f"must be 0 to {most:g}, not {text}")
        return value

    return number


class Retries(logging.Handler):
    """Counts what the client says about its retries: each is one line at INFO on its logger."""

    def __init__(self) -> None:
        super().__init__(logging.INFO)
        self.job = 0
        self._logger = logging.getLogger("eachlabs_async")
        self._level = self._logger.level

    def emit(self, record: logging.LogRecord) -> None:
        """Count a retry."""
        self.job += record.levelno == logging.INFO

    def __enter__(self) -> Self:
        self._logger.setLevel(logging.INFO)
        self._logger.addHandler(self)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._logger.removeHandler(self)
        self._logger.setLevel(self._level)


async def _run(options: Options, progress: Progress, retries: Retries) -> Report:
    began = time.perf_counter()
    settings, size = options.settings, options.size
    report = Report(settings={**asdict(settings), **asdict(size)})
    async with Stage(settings) as stage:
        progress.say(
            "An emulator of the services starts, in a process of its own: "
            f"{settings.executions:,} rows of each kind, {settings.latency_s * 1000:g} ms an answer, "
            f"and {settings.fault_rate:.1%} of the requests go wrong."
        )
        # While it starts, the same rows are made here: what must come is known before it is asked for.
        work = await asyncio.to_thread(lambda: jobs(held(settings), size))
        await stage.open()
        async with (
            _client(stage, "compat", size) as compat,
            _client(stage, "unified", size) as unified,
        ):
            clients = {"compat": compat, "unified": unified}
            faults: Counter[str] = Counter()
            foreign_keys = 0
            await stage.ask("trouble")
            for job in work:
                line, counts = await _quick(job, clients[job.edition], stage, progress, retries)
                report.lines.append(line)
                faults.update(counts["faults"])
                foreign_keys += counts["foreign_keys"]
            faults.pop("latency", None)
            report.faults = dict(faults)
            if foreign_keys:
                report.problems.append(f"{foreign_keys} requests took one vendor's key to the other")
            await stage.ask("calm")
            progress.say("The same without faults, then a page or an id at a time:")
            for job, line in zip(work, report.lines, strict=True):
                await _calm(job, line, clients[job.edition], progress)
    report.elapsed_s = time.perf_counter() - began
    return report


def held(settings: Settings) -> State:
    """Make what the emulator holds: the same settings give the same rows there and here."""
    return settings.state()


def _client(stage: Stage, edition: str, size: Size) -> EachLabs:
    return EachLabs(
        stage.api_key,
        hosts=stage.hosts[edition],
        runs_api_key=stage.runs_api_key,
        max_concurrency=max(64, size.concurrency),
    )


async def _quick(
    job: Job, client: EachLabs, stage: Stage, progress: Progress, retries: Retries
) -> tuple[Line, dict[str, Any]]:
    """Do a job as the client does it best, through the faults, and judge what came."""
    retries.job = 0
    progress.begin(job.title, len(job.rows))
    began = time.perf_counter()
    try:
        came = await job.quick(client, progress.update)
    except EachLabsError as exc:
        came = Came([], 0, [f"it ended with {type(exc).__name__}: {exc}"])
    seconds = time.perf_counter() - began
    progress.end(len(came.records))
    counts = await stage.ask("counts")
    found = await asyncio.to_thread(problems, came.records, job.rows, job.identity)
    line = Line(
        title=job.title,
        rows=len(came.records),
        requests=counts["requests"],
        retries=retries.job,
        seconds=seconds,
        problems=[*came.failed, *found],
    )
    if came.asked and counts["requests"] != came.asked + retries.job:
        line.problems.append(
            f"the emulator saw {counts['requests']} requests, not {came.asked} and {retries.job} retries"
        )
    # A client that is refused one listing of executions goes on by the other: the title would no longer be true.
    line.problems += [
        f"{count} requests were {endpoint}, not {job.endpoint.name}"
        for endpoint, count in counts["by_endpoint"].items()
        if endpoint != job.endpoint.name
    ]
    return line, counts


async def _calm(job: Job, line: Line, client: EachLabs, progress: Progress) -> None:
    """Time a job without faults, as before and then (or a sample of it) one request after another."""
    try:
        began = time.perf_counter()
        came = await job.quick(client, lambda done: None)
        line.calm_s = time.perf_counter() - began
        began = time.perf_counter()
        await job.plain(client)
        seconds = time.perf_counter() - began
    except EachLabsError as exc:
        line.problems.append(f"without faults it ended with {type(exc).__name__}: {exc}")
        return
    found = await asyncio.to_thread(problems, came.records, job.rows, job.identity)
    line.problems += [f"without faults: {off}" for off in found]
    line.plain_rows = job.sample
    line.plain_s = seconds * len(job.rows) / job.sample if job.sample else 0.0
    progress.say(
        f"  {job.title}: {len(job.rows):,} rows in {line.calm_s:.2f} s, "
        f"then {job.sample:,} one by one in {seconds:.2f} s"
    )
