"""`python -m eachlabs_async demo`: fetch thousands of rows from a service that misbehaves, and check every row.

It needs no key and no network. The client's own figures are not trusted: `checks` compares the rows with rows that
were made from the same seed, and the emulator, which is another process, counts the requests.
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
from ..emulator.dataset import Dataset
from ..errors import EachLabsError
from .checks import problems
from .demo_server import DemoServer, DemoServerError, DemoServerSettings
from .program import program_name
from .report import Progress, Report, ReportLine, width_of
from .scenarios import Scenario, ScenarioResult, Workload, scenarios

__all__ = ["main"]


@frozen(kw_only=True)
class Options:
    """The options of the command line."""

    settings: DemoServerSettings
    workload: Workload
    as_json: bool


def main(argv: Sequence[str] | None = None) -> int:
    """Run the demo and return 0 if every row was right, 1 if anything was off, 2 for wrong usage."""
    options = _options(argv)
    # A child that is killed may be reaped in two places of asyncio at once, which it reports; the demo loses nothing.
    logging.getLogger("asyncio").addFilter(_is_not_about_reaping)
    with RetryCounter() as retries:
        # With --json only the report goes to standard output.
        progress = Progress(sys.stderr if options.as_json else sys.stdout, lambda: retries.count)
        try:
            report = asyncio.run(_run_until_interrupted(options, progress, retries))
        except BrokenPipeError:
            raise  # The reader of the output went away, which is no failure of the demo.
        except (DemoServerError, OSError) as exc:
            print(f"the demo cannot run: {str(exc) or type(exc).__name__}", file=sys.stderr)
            return 1
    print(report.as_json() if options.as_json else f"\n{report.as_text(width_of(sys.stdout))}")
    return 1 if report.all_problems else 0


def _is_not_about_reaping(record: logging.LogRecord) -> bool:
    return "exit status already read" not in record.getMessage()


def _options(argv: Sequence[str] | None) -> Options:
    parser = argparse.ArgumentParser(
        prog=f"{program_name()} demo",
        description="Walk and fetch thousands of rows from an emulator that misbehaves, and check every row. "
        "Needs no key and no network.",
    )
    parser.add_argument("--executions", type=_at_least(1), help="rows of each kind (default 5000)")
    parser.add_argument("--seed", type=int, default=1, help="determines the rows and the faults (default 1)")
    parser.add_argument("--look-ahead", type=_at_least(0), default=8, help="pages requested ahead (default 8)")
    parser.add_argument("--concurrency", type=_at_least(1), default=32, help="gets in flight at once (default 32)")
    parser.add_argument("--latency-ms", type=_from_0_to(1000), help="of each response, 0 to 1000 (default 20)")
    parser.add_argument(
        "--faults", type=_from_0_to(0.2), default=0.025, help="share of requests that fail, 0 to 0.2 (default 0.025)"
    )
    parser.add_argument("--quick", action="store_true", help="fewer rows and less latency: about three seconds")
    parser.add_argument("--json", action="store_true", help="print the report as JSON, and progress to stderr")
    given = parser.parse_args(argv)
    executions = given.executions or (600 if given.quick else 5000)
    latency_ms = given.latency_ms if given.latency_ms is not None else (5.0 if given.quick else 20.0)
    midnight = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    return Options(
        settings=DemoServerSettings(
            executions=executions,
            seed=given.seed,
            now=midnight.isoformat(),
            latency_s=latency_ms / 1000,
            fault_rate=given.faults,
        ),
        workload=Workload(
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


def _from_0_to(most: float) -> Callable[[str], float]:
    def number(text: str) -> float:
        value = float(text)
        if not 0 <= value <= most:
            raise argparse.ArgumentTypeError(f"must be 0 to {most:g}, not {text}")
        return value

    return number


class RetryCounter(logging.Handler):
    """Counts the retries of a client, which logs each of them as one INFO line."""

    def __init__(self) -> None:
        super().__init__(logging.INFO)
        self.count = 0
        self._logger = logging.getLogger("eachlabs_async")
        self._level = self._logger.level

    def emit(self, record: logging.LogRecord) -> None:
        """Count one retry."""
        self.count += record.levelno == logging.INFO

    def __enter__(self) -> Self:
        self._logger.setLevel(logging.INFO)
        self._logger.addHandler(self)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._logger.removeHandler(self)
        self._logger.setLevel(self._level)


async def _run_until_interrupted(options: Options, progress: Progress, retries: RetryCounter) -> Report:
    """Run the demo; what fails because of a Ctrl-C is an interruption, and no failure of the demo."""
    try:
        return await _run(options, progress, retries)
    except (DemoServerError, OSError):  # A `TimeoutError` is an `OSError`.
        task = asyncio.current_task()
        if task is not None and task.cancelling():
            raise asyncio.CancelledError from None
        raise


async def _run(options: Options, progress: Progress, retries: RetryCounter) -> Report:
    began = time.perf_counter()
    settings, workload = options.settings, options.workload
    report = Report(settings={**asdict(settings), **asdict(workload)})
    async with DemoServer(settings) as server:
        progress.say(
            "Starting an emulator of the services in another process: "
            f"{settings.executions:,} rows of each kind, {settings.latency_s * 1000:g} ms a response, "
            f"and {settings.fault_rate:.1%} of the requests fail."
        )
        # While the emulator starts, the same rows are made here.
        todo = await asyncio.to_thread(lambda: scenarios(expected_rows(settings), workload))
        await server.wait_until_listening()
        async with (
            _client(server, "compat", workload) as compat,
            _client(server, "unified", workload) as unified,
        ):
            clients = {"compat": compat, "unified": unified}
            faults: Counter[str] = Counter()
            foreign_keys = 0
            await server.command("add faults")
            for scenario in todo:
                line, counts = await _run_with_faults(scenario, clients[scenario.edition], server, progress, retries)
                report.lines.append(line)
                faults.update(counts["faults"])
                foreign_keys += counts["foreign_keys"]
            faults.pop("latency", None)
            report.faults = dict(faults)
            if foreign_keys:
                report.problems.append(f"{foreign_keys} requests took one vendor's key to the other")
            await server.command("clear faults")
            progress.say("The same without faults, then one page or id at a time:")
            for scenario, line in zip(todo, report.lines, strict=True):
                await _run_without_faults(scenario, line, clients[scenario.edition], progress)
    report.elapsed_s = time.perf_counter() - began
    return report


def expected_rows(settings: DemoServerSettings) -> Dataset:
    """Return the rows that the emulator has: the same settings give the same rows in both processes."""
    return settings.dataset()


def _client(server: DemoServer, edition: str, workload: Workload) -> EachLabs:
    return EachLabs(
        server.api_key,
        hosts=server.hosts[edition],
        runs_api_key=server.runs_api_key,
        max_concurrency=max(64, workload.concurrency),
    )


async def _run_with_faults(
    scenario: Scenario, client: EachLabs, server: DemoServer, progress: Progress, retries: RetryCounter
) -> tuple[ReportLine, dict[str, Any]]:
    """Run a scenario through the faults, and check the rows and the number of requests."""
    retries.count = 0
    progress.begin(scenario.title, len(scenario.rows))
    began = time.perf_counter()
    try:
        result = await scenario.run(client, progress.update)
    except EachLabsError as exc:
        result = ScenarioResult([], 0, [f"it ended with {type(exc).__name__}: {exc}"])
    seconds = time.perf_counter() - began
    progress.end(len(result.records))
    counts = await server.command("counts")
    found = await asyncio.to_thread(problems, result.records, scenario.rows, scenario.identity)
    line = ReportLine(
        title=scenario.title,
        rows=len(result.records),
        requests=counts["requests"],
        retries=retries.count,
        seconds=seconds,
        problems=[*result.failed, *found],
    )
    if result.requests and counts["requests"] != result.requests + retries.count:
        line.problems.append(
            f"the emulator received {counts['requests']} requests, not {result.requests} and {retries.count} retries"
        )
    # A client that is refused one listing of executions uses the other, and the title would no longer be true.
    line.problems += [
        f"{count} requests were {endpoint}, not {scenario.endpoint.name}"
        for endpoint, count in counts["by_endpoint"].items()
        if endpoint != scenario.endpoint.name
    ]
    return line, counts


async def _run_without_faults(scenario: Scenario, line: ReportLine, client: EachLabs, progress: Progress) -> None:
    """Time a scenario without faults: as before, and one by one (all of it, or a sample)."""
    try:
        began = time.perf_counter()
        result = await scenario.run(client, lambda done: None)
        line.calm_s = time.perf_counter() - began
        began = time.perf_counter()
        await scenario.run_one_by_one(client)
        seconds = time.perf_counter() - began
    except EachLabsError as exc:
        line.problems.append(f"without faults it ended with {type(exc).__name__}: {exc}")
        return
    found = await asyncio.to_thread(problems, result.records, scenario.rows, scenario.identity)
    line.problems += [f"without faults: {problem}" for problem in found]
    line.plain_rows = scenario.sample
    line.plain_s = seconds * len(scenario.rows) / scenario.sample if scenario.sample else 0.0
    progress.say(
        f"  {scenario.title}: {len(scenario.rows):,} rows in {line.calm_s:.2f} s, "
        f"then {scenario.sample:,} one by one in {seconds:.2f} s"
    )
