"""Tests of the commands that keep up with a listing: `executions follow` and `executions sync`."""

from __future__ import annotations

import json
import sqlite3
import threading
from collections.abc import Callable
from pathlib import Path

from command_line import EmulatorThread, Process, command_after, run
from conftest import Done

Command = Callable[..., Done]


def ids_of(text: str) -> list[str]:
    return [json.loads(line)["id"] for line in text.splitlines()]


def test_follow_prints_each_execution_as_it_appears(own_service: EmulatorThread) -> None:
    """Ctrl-C then prints the command that goes on, which prints what came meanwhile."""
    executions = own_service.emulator.executions
    flags = [*own_service.flags(), "executions", "follow", "--every=0.05", "--since=1min"]
    known = executions.insert(2, created_at=_now())
    with Process(*flags, **own_service.keys()) as first:
        assert set(ids_of("".join(first.read_lines(2)))) == set(known)
        third = executions.insert(1, created_at=_now())
        assert ids_of("".join(first.read_lines(1))) == third
        first.interrupt()
        rest, err, code = first.end()
    assert (rest, code) == ("", 130)
    fourth = executions.insert(1, created_at=_now())
    again = run(*command_after(err), "--limit=1", **own_service.keys())
    assert again.returncode == 0
    assert ids_of(again.stdout) == fourth


def test_follow_stops_at_its_limit(eachlabs: Command, own_service: EmulatorThread) -> None:
    own_service.emulator.executions.insert(3, created_at=_now())
    done = eachlabs(*own_service.flags(), "executions", "follow", "--since=1min", "--limit=2")
    assert done.code == 0
    assert len(done.out.splitlines()) == 2
    assert done.err.startswith("checkpoint: ")


def test_follow_with_finished_waits_for_the_end(eachlabs: Command, own_service: EmulatorThread) -> None:
    executions = own_service.emulator.executions
    (one,) = executions.insert(1, created_at=_now(), status="created", completed_at=None)
    ending = threading.Timer(0.3, executions.change, (one,), {"status": "success", "completed_at": _now()})
    ending.start()
    done = eachlabs(
        *own_service.flags(), "executions", "follow", "--since=1min", "--finished", "--every=0.05", "--limit=1"
    )
    ending.join()
    (row,) = map(json.loads, done.out.splitlines())
    assert (row["id"], row["status"]) == (one, "success")


def _now() -> str:
    from datetime import UTC, datetime

    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def test_sync_makes_an_archive_and_keeps_it_up_to_date(
    eachlabs: Command, own_service: EmulatorThread, tmp_path: Path
) -> None:
    path = tmp_path / "executions.db"
    first = json.loads(eachlabs(*own_service.flags(), "executions", "sync", str(path), "--since=2026-01-01").out)
    assert (first["new"], first["changed"]) == (30, 0)
    own_service.emulator.executions.insert(5)
    second = json.loads(eachlabs(*own_service.flags(), "executions", "sync", str(path)).out)
    assert second["new"] == 5
    with sqlite3.connect(path) as database:
        (count,) = database.execute("select count(*) from executions").fetchone()
    database.close()
    assert count == 35


def test_an_archive_of_the_emulator_goes_on_with_the_next_emulator(eachlabs: Command, tmp_path: Path) -> None:
    """Though it listens at another port; for a service, that takes `--new-key`."""
    path = tmp_path / "executions.db"
    sync = ["--emulator", "--emulator-executions=20", "executions", "sync", str(path), "--since=2026-01-01"]
    assert [json.loads(eachlabs(*sync).out)["new"] for _ in range(2)] == [20, 0]


def test_an_archive_of_another_account_needs_new_key(
    eachlabs: Command, service: EmulatorThread, own_service: EmulatorThread, tmp_path: Path
) -> None:
    path = str(tmp_path / "executions.db")
    assert eachlabs(*service.flags(), "executions", "sync", path).code == 0
    refused = eachlabs(*own_service.flags(), "executions", "sync", path)
    assert refused.code == 1
    assert "--new-key" in refused.err
    assert eachlabs(*own_service.flags(), "executions", "sync", path, "--new-key").code == 0


def test_sync_says_what_is_wrong_with_a_file(eachlabs: Command, service: EmulatorThread, tmp_path: Path) -> None:
    path = tmp_path / "notes.db"
    path.write_text("no database at all, but notes of somebody")
    done = eachlabs(*service.flags(), "executions", "sync", str(path))
    assert done.code == 1
    assert done.err.count("\n") == 1
    assert "notes.db" in done.err
