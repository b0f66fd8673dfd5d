"""Tests of commands that are ended from outside: by Ctrl-C, by a second one, and by a reader that goes away."""

from __future__ import annotations

import json
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from command_line import EmulatorThread, Process, command_after, environment, run, wait_until

from eachlabs_async.emulator import Emulator, Fault

fcntl = pytest.importorskip("fcntl")
termios = pytest.importorskip("termios")
ROWS = 1500


@pytest.fixture(scope="module")
def slow_service() -> Iterator[EmulatorThread]:
    """An emulator that takes its time from the third page on."""
    emulator = Emulator(ROWS, seed=3)
    with EmulatorThread(emulator) as running:
        yield running


def ids_of(text: str) -> list[str]:
    return [json.loads(line)["id"] for line in text.splitlines()]


def listing(service: EmulatorThread, *more: str) -> list[str]:
    return [*service.flags(), "executions", "list", "--fields=id", "--since=89d", *more]


@pytest.mark.parametrize("limit", [[], ["--limit", "1200"]], ids=["all", "limited"])
def test_ctrl_c_prints_the_command_that_goes_on(slow_service: EmulatorThread, limit: list[str]) -> None:
    """It exits with 130, and both outputs together are exactly all rows, in order and once."""
    service = slow_service
    service.emulator.faults.add(Fault.latency(0.2), endpoint="executions.list", after=2)
    with Process(*listing(service, *limit), **service.keys()) as first:
        began = first.read_lines(250)
        first.interrupt()
        rest, err, code = first.end()
    service.emulator.faults.clear()
    assert code == 130
    assert [line.partition(":")[0].split(" after")[0] for line in err.splitlines()] == [
        "stopped",
        "checkpoint",
        "go on with",
    ]
    second = run(*command_after(err), **service.keys())
    assert (second.returncode, second.stderr) == (0, "")
    taken = ids_of("".join(began) + rest)
    assert 250 <= len(taken) < 1200
    assert taken + ids_of(second.stdout) == service.emulator.executions.ids()[: int(limit[1]) if limit else None]


def test_json_that_was_stopped_is_an_array(slow_service: EmulatorThread) -> None:
    service = slow_service
    service.emulator.faults.add(Fault.latency(5), endpoint="executions.list", after=1)
    with Process(*listing(service, "--format=json"), **service.keys()) as first:
        began = first.read_lines(50)
        first.interrupt()
        rest, _, code = first.end()
    service.emulator.faults.clear()
    assert code == 130
    assert 50 <= len(json.loads("".join(began) + rest)) < ROWS


def test_export_goes_on_after_ctrl_c(slow_service: EmulatorThread, tmp_path: Path) -> None:
    """Also with a relative time, because the command that is printed has the time that it meant."""
    service, path = slow_service, tmp_path / "rows.jsonl"
    service.emulator.faults.add(Fault.latency(0.1), endpoint="executions.list", after=3)
    with Process(*service.flags(), "executions", "export", str(path), "--since=89d", **service.keys()) as first:
        part = path.with_name("rows.jsonl.part.checkpoint")
        while not part.exists() and first.process.poll() is None:
            pass
        first.interrupt()
        _, err, code = first.end()
    service.emulator.faults.clear()
    assert code == 130
    assert not path.exists()
    second = run(*command_after(err), **service.keys())
    assert second.returncode == 0
    assert ids_of(path.read_text()) == service.emulator.executions.ids()


def test_get_goes_on_after_ctrl_c(slow_service: EmulatorThread, tmp_path: Path) -> None:
    """With the ids of a file that were not printed; the CSV that goes on has no second header."""
    service, file = slow_service, tmp_path / "ids.txt"
    ids = service.emulator.executions.ids()[:300]
    file.write_text("\n".join(ids))
    service.emulator.faults.add(Fault.latency(1), endpoint="predictions.get", after=150)
    command = ["executions", "get", f"@{file}", "--format=csv", "--fields=id"]
    with Process(*service.flags(), *command, **service.keys()) as first:
        began = first.read_lines(60)
        first.interrupt()
        rest, err, code = first.end()
    service.emulator.faults.clear()
    assert code == 130
    again = run(*command_after(err), **service.keys())
    assert again.returncode == 0
    assert ("".join(began) + rest + again.stdout).split() == ["id", *ids]


def test_sync_goes_on_after_ctrl_c(slow_service: EmulatorThread, tmp_path: Path) -> None:
    """The archive then has each row once."""
    service, path = slow_service, tmp_path / "rows.db"
    service.emulator.faults.add(Fault.latency(1), after=12)
    with Process(*service.flags(), "executions", "sync", str(path), "--since=89d", **service.keys()) as first:
        until = service.emulator.requests.total() + 13
        wait_until(lambda: service.emulator.requests.total() >= until, "the sync did not get far")
        first.interrupt()
        _, err, code = first.end()
    service.emulator.faults.clear()
    assert code == 130, err
    assert rows_in(path) < ROWS
    assert run(*command_after(err), **service.keys()).returncode == 0
    assert rows_in(path) == ROWS


def rows_in(path: Path) -> int:
    with closing(sqlite3.connect(path)) as database:
        (count,) = database.execute("select count(*) from executions").fetchone()
        return int(count)


def test_a_second_ctrl_c_ends_the_process_at_once(slow_service: EmulatorThread) -> None:
    """A reader that reads nothing keeps the command from stopping, but not the second Ctrl-C."""
    service = slow_service
    with Process(*service.flags(), "executions", "list", **service.keys()) as first:
        first.read_lines(1)  # Then the pipe fills up, and writing waits.
        wait_for_full_pipe(first)
        first.interrupt()
        with pytest.raises(subprocess.TimeoutExpired):
            first.process.wait(0.3)
        first.interrupt()
        assert first.process.wait(10) == 130


def wait_for_full_pipe(process: Process) -> None:
    """Wait until the pipe holds as much as before: it is full, because the command has more to write."""
    assert process.process.stdout is not None
    size = -1
    while True:
        held = int.from_bytes(fcntl.ioctl(process.process.stdout.fileno(), termios.FIONREAD, bytes(4)), sys.byteorder)
        if held == size > 30_000:
            return
        size = held
        time.sleep(0.3)


@pytest.mark.parametrize("format_", ["jsonl", "json", "csv", "table"])
def test_a_reader_that_goes_away_ends_the_command_silently(slow_service: EmulatorThread, format_: str) -> None:
    """With 141, as the shell's own tools, whatever the format is."""
    service = slow_service
    with Process(*service.flags(), "executions", "list", f"--format={format_}", **service.keys()) as command:
        command.read_lines(3)
        assert command.process.stdout is not None
        command.process.stdout.close()
        command.process.wait(30)
        assert command.process.stderr is not None
        assert (command.process.returncode, command.process.stderr.read()) == (141, "")


def test_a_reader_that_was_never_there_is_no_error(slow_service: EmulatorThread) -> None:
    """What is printed at once, as one document, is dropped silently too, also when Python ends."""
    service = slow_service
    with Process(*service.flags(), "request", "GET", "/models", **service.keys()) as command:
        assert command.process.stdout is not None
        command.process.stdout.close()
        command.process.wait(30)
        assert command.process.stderr is not None
        assert (command.process.returncode, command.process.stderr.read()) == (141, "")


@pytest.mark.parametrize("pause_s", [0.03, 0.1, 0.2, 0.4])
def test_ctrl_c_before_there_is_anything_is_130(pause_s: float) -> None:
    """Whenever it comes, even while modules are imported, there is no traceback."""
    script = f"""
import os, sys, threading
from eachlabs_async.cli import main
interrupt = threading.Timer({pause_s}, os.kill, (os.getpid(), 2))
interrupt.start()
sys.exit(main(["--emulator", "--emulator-executions=20000", "executions", "list", "-q"]))
"""
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=False, timeout=60, env=environment()
    )
    assert done.returncode == 130, done.stderr
    assert "Traceback" not in done.stderr


def test_an_unwritable_output_is_an_error(slow_service: EmulatorThread) -> None:
    """A full disk is said, and is not taken for a reader that went away."""
    if not Path("/dev/full").exists():
        pytest.skip("there is no /dev/full here")
    service = slow_service
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "eachlabs_async", *listing(service)],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            env=environment(**service.keys()),
            check=False,
            timeout=60,
        )
    assert done.returncode == 1
    assert "No space left" in done.stderr
    assert "Traceback" not in done.stderr
