"""The emulator's command line.

    python -m eachlabs_async.emulator --port 8123 --executions 5000 --latency-ms 20 --faults 0.05

It starts an emulator, prints its URLs and keys, and runs until SIGINT or SIGTERM.
"""

from __future__ import annotations

import argparse
import asyncio
import signal
import sys
from collections.abc import Sequence

from .emulator import Emulator
from .fault import Fault
from .url_prefixes import PREFIXES

__all__ = ["main"]


def _parser(program: str) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=program,
        description="An emulator of the Each Labs services on loopback, with seeded rows.",
    )
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default 127.0.0.1)")
    parser.add_argument(
        "--beyond-loopback",
        action="store_true",
        help="accept a --host by which other machines reach the emulator, whose keys are no secret",
    )
    parser.add_argument("--port", type=int, default=8123, help="port to listen on, 0 for a free one (default 8123)")
    parser.add_argument("--executions", type=int, default=1000, help="rows of each kind (default 1000)")
    parser.add_argument("--seed", type=int, default=1, help="the same seed gives the same rows (default 1)")
    parser.add_argument("--latency-ms", type=float, default=0.0, help="milliseconds before each response (default 0)")
    parser.add_argument("--faults", type=float, default=0.0, help="share 0..1 of requests that fail (default 0)")
    return parser


def _banner(emulator: Emulator) -> str:
    # Not from `emulator.hosts`: the client refuses plain http beyond loopback.
    api, workflows, flows, runs = (emulator.url + prefix for prefix in PREFIXES["compat"].values())
    return f"""\
The emulator listens on {emulator.url}

service     edition   header                  base URL
api         compat    X-API-Key: KEY          {api}
workflows   compat    X-API-Key: KEY          {workflows}
all of it   unified   Authorization: Bearer   {emulator.url}{PREFIXES["unified"]["api"]}
flows       both      X-API-KEY: KEY          {flows}
runs        both      X-API-Key: RUNS KEY     {runs}

key: {emulator.api_key}    runs key: {emulator.runs_api_key}
workflow: {emulator.workflow_ids[0]} (or {emulator.workflow_slugs[0]})

  curl -H 'X-API-Key: {emulator.api_key}' '{api}/executions?limit=2'

  from eachlabs_async import EachLabs
  from eachlabs_async.hosts import Hosts, Service
  hosts = Hosts(
      api=Service("{api}"),
      workflows=Service("{workflows}"),
      flows=Service("{flows}"),
      runs=Service("{runs}"),
  )
  client = EachLabs("{emulator.api_key}", hosts=hosts, runs_api_key="{emulator.runs_api_key}")

Ctrl-C stops it."""


async def _run(arguments: argparse.Namespace) -> None:
    emulator = Emulator(
        arguments.executions,
        arguments.seed,
        host=arguments.host,
        port=arguments.port,
        beyond_loopback=arguments.beyond_loopback,
        log_size=1000,
    )
    if arguments.latency_ms:
        emulator.faults.add(Fault.latency(arguments.latency_ms / 1000))
    emulator.faults.random(arguments.faults)
    emulator.warm()
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        try:
            loop.add_signal_handler(number, stop.set)
        except NotImplementedError:  # pragma: no cover - Windows, where Ctrl-C is a KeyboardInterrupt
            break
    async with emulator:
        print(_banner(emulator), flush=True)
        await stop.wait()
    print(f"{emulator.requests.total()} requests answered", flush=True)


def main(argv: Sequence[str] | None = None, *, program: str = "python -m eachlabs_async.emulator") -> int:
    """Run the emulator until SIGINT or SIGTERM. Return 0 after that, 1 if it cannot listen, 2 for a wrong argument.

    `program` is what the user typed to start it; the help and the errors show it.
    """
    arguments = _parser(program).parse_args(argv)
    try:
        asyncio.run(_run(arguments))
    except OSError as error:
        address = f"{arguments.host}:{arguments.port}"
        hint = "choose another --port, or 0 for a free one"
        print(f"cannot listen on {address}: {error.strerror or error}; {hint}", file=sys.stderr)
        return 1
    except ValueError as error:
        print(f"{program}: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:  # pragma: no cover - Windows
        pass
    return 0


if __name__ == "__main__":  # pragma: no cover - its test runs it as a process of its own
    raise SystemExit(main())
