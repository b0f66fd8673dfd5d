"""Tests for listings that are written to files: whole or not there, resumed after any end, and with every row once.

`EACHLABS_KILLS` is the number of kills for each format.
"""

from __future__ import annotations

import asyncio
import csv
import json
import os
import pickle
import random
import sys
from collections.abc import AsyncIterator, Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pyarrow.parquet
import pytest
from listings import KINDS, Reached, ids_of, reached
from raw_server import RawServer, answer
from test_unreadable import LISTINGS, client_at, rows_of, serving

from eachlabs_async import EachLabsError, Execution, ExportedFile, Pager, ServerError, UnreadableRow, arrow_schema
from eachlabs_async import to_dict as as_dict
from eachlabs_async.emulator import Emulator, Fault

KILLS = int(os.environ.get("EACHLABS_KILLS", "20"))
FORMATS = ["jsonl", "csv", "parquet"]
every_format = pytest.mark.parametrize("form", FORMATS)


@pytest.fixture
async def listing() -> AsyncIterator[Reached]:
    async with reached(KINDS[0], 2300) as found:
        yield found


async def write(walk: Any, form: str, path: Path | str) -> ExportedFile:
    written: ExportedFile = await getattr(walk, f"write_{form}")(path)
    return written


def read(path: Path, form: str) -> list[dict[str, Any]]:
    """Read a file with a reader that is not this package's."""
    if form == "jsonl":
        return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    if form == "csv":
        with path.open(encoding="utf-8", newline="") as file:
            return list(csv.DictReader(file))
    rows: list[dict[str, Any]] = pyarrow.parquet.read_table(path).to_pylist()
    return rows


def ids_in(path: Path, form: str) -> list[str]:
    return [row["id"] for row in read(path, form)]


@pytest.mark.parametrize("kind", KINDS)
@every_format
async def test_a_file_has_the_rows_of_the_listing(kind: str, form: str, tmp_path: Path) -> None:
    """Nothing else is left beside it, and a second walk of the same pager is refused as ever."""
    async with reached(kind, 150) as listing:
        rows = [row async for row in listing.list()]
        pager = listing.list()
        done = await write(pager, form, tmp_path / "file")
        assert pager.stats.rows == 150
        with pytest.raises(RuntimeError, match="once"):
            await write(pager, form, tmp_path / "file")
    assert done == ExportedFile(path=tmp_path / "file", rows=150)
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
    found = read(tmp_path / "file", form)
    assert [row.get("id") or row["execution_id"] for row in found] == ids_of(rows)
    if form == "jsonl":
        assert found == [{name: value for name, value in as_dict(row).items() if name != "api_key"} for row in rows]
    if form == "csv":
        wanted = [["" if value is None else value for value in as_dict(row).values()] for row in rows]
        assert [row["status"] for row in found] == [row.status for row in rows]
        assert len(found[0]) == len(wanted[0]) - ("api_key" in as_dict(rows[0]))
    if form == "parquet":
        assert pyarrow.parquet.read_schema(tmp_path / "file").equals(arrow_schema(type(rows[0])))


@every_format
async def test_an_empty_listing_makes_a_file(form: str, tmp_path: Path) -> None:
    """It has the columns, where the format has any."""
    async with reached(KINDS[0], 0) as listing:
        assert (await write(listing.list(), form, tmp_path / "file")).rows == 0
    assert read(tmp_path / "file", form) == []
    if form == "csv":
        assert (tmp_path / "file").read_text().strip().split(",") == arrow_schema(Execution).names
    if form == "parquet":
        assert pyarrow.parquet.read_schema(tmp_path / "file").equals(arrow_schema(Execution))


async def test_csv_keeps_texts_of_several_lines(tmp_path: Path) -> None:
    listing = LISTINGS["executions"]
    rows = rows_of(listing, 3)
    rows[1]["output"] = 'a "text",\nof two lines'
    async with RawServer(then=serving(listing, rows)) as server, client_at(server) as client:
        await client.executions.list().write_csv(tmp_path / "file")
    assert [row["output"] for row in read(tmp_path / "file", "csv")] == ["", 'a "text",\nof two lines', ""]


@every_format
async def test_windows_are_exported_and_resumed(listing: Reached, form: str, tmp_path: Path) -> None:
    now = listing.emulator.now
    windows = await listing.client.executions.windows(now - timedelta(days=61), now + timedelta(seconds=1), parts=6)
    listing.emulator.faults.add(Fault.status(500), after=20, times=1)
    with pytest.raises(ServerError):
        await write(listing.client.executions.walk_windows(iter(windows)), form, tmp_path / "file")
    done = await write(listing.client.executions.walk_windows(iter(windows)), form, tmp_path / "file")
    assert 0 < done.resumed_rows < done.rows == 2300
    assert ids_in(tmp_path / "file", form) == listing.rows.ids()


@every_format
async def test_an_error_leaves_what_was_read(listing: Reached, form: str, tmp_path: Path) -> None:
    """Even a few rows: a walk that fails often advances. The target appears at the end."""
    target = tmp_path / "file"
    target.write_text("of yesterday")
    rule = listing.emulator.faults.add(Fault.status(500), after=3)
    with pytest.raises(ServerError):
        await write(listing.list(), form, target)
    assert target.read_text() == "of yesterday"
    assert {path.name for path in tmp_path.iterdir()} == {"file", "file.part", "file.part.checkpoint"}
    listing.emulator.faults.remove(rule)
    before = listing.requests
    done = await write(listing.list(), form, target)
    assert done.resumed_rows > 200
    assert listing.requests - before <= 23
    assert ids_in(target, form) == listing.rows.ids()


@every_format
async def test_it_ends_with_exactly_the_rows_after_twenty_exceptions(
    listing: Reached, form: str, tmp_path: Path
) -> None:
    """The exceptions come from the service, from a callback, and by cancelling."""
    chance = random.Random(form)
    wanted = listing.rows.ids()
    ends = 0
    while ends < 20:
        way = chance.choice(["service", "callback", "cancel"])
        left = chance.randint(1, 4)

        def progress(stats: Any, way: str = way, left: int = left) -> None:
            if way == "callback" and stats.requests > left:
                raise KeyError("of the caller")

        rule = listing.emulator.faults.add(Fault.status(500) if way == "service" else Fault.latency(0.002), after=left)
        try:
            async with asyncio.timeout(0.01 * left if way == "cancel" else None):
                await write(listing.list(on_progress=progress), form, tmp_path / "file")
            assert ids_in(tmp_path / "file", form) == wanted
        except (EachLabsError, KeyError, TimeoutError):
            ends += 1
        finally:
            listing.emulator.faults.remove(rule)
    await write(listing.list(), form, tmp_path / "file")
    assert ids_in(tmp_path / "file", form) == wanted
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


CHILD = """
import asyncio, pickle, sys
from eachlabs_async import EachLabs
async def main(hosts, key, form, path):
    async with EachLabs(key, hosts=hosts) as client:
        await getattr(client.executions.list(look_ahead=2), f"write_{form}")(path)
asyncio.run(main(*pickle.loads(bytes.fromhex(sys.argv[1]))))
"""


async def exported_by_child(emulator: Emulator, arguments: list[Any], requests: int | None) -> int:
    """Export in a process that is killed once it has sent so many requests, and return its exit code."""
    text = pickle.dumps(arguments).hex()
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", CHILD, text)
    waiting = asyncio.create_task(process.wait())
    before = sum(emulator.requests.values())
    while not waiting.done():
        if requests is not None and sum(emulator.requests.values()) - before >= requests:
            process.kill()
            break
        await asyncio.sleep(0.001)
    return await waiting


@every_format
async def test_it_ends_with_exactly_the_rows_after_twenty_kills(form: str, tmp_path: Path) -> None:
    """The processes are killed at any moment, by SIGKILL."""
    chance = random.Random(form)
    rows = 1500 * KILLS if form == "parquet" else 500 * KILLS
    async with Emulator(rows) as emulator:
        emulator.faults.add(Fault.latency(0.001))
        arguments = [emulator.hosts, emulator.api_key, form, str(tmp_path / "file")]
        kills = 0
        while kills < KILLS:
            code = await exported_by_child(emulator, arguments, chance.randint(1, 16 if form != "parquet" else 110))
            if code == 0:
                assert ids_in(tmp_path / "file", form) == emulator.executions.ids()
                continue
            assert code == -9
            kills += 1
        assert await exported_by_child(emulator, arguments, None) == 0
        assert ids_in(tmp_path / "file", form) == emulator.executions.ids()
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def damaged(target: Path, how: str) -> None:
    part, sidecar = target.with_name("file.part"), target.with_name("file.part.checkpoint")
    if how == "torn":
        with part.open("ab") as file:
            file.write(b'{"id": "half of a li')
    elif how == "short":
        part.write_bytes(part.read_bytes()[:-100])
    elif how == "zeros":
        data = part.read_bytes()
        part.write_bytes(data[:-100] + bytes(100))
    elif how == "no part":
        part.unlink()
    else:
        sidecar.unlink()


@pytest.mark.parametrize("how", ["torn", "short", "zeros", "no part", "no checkpoint"])
@every_format
async def test_a_damaged_partial_file_loses_no_row(form: str, how: str, tmp_path: Path) -> None:
    """After a crash or a power failure, the file may have more or less than the checkpoint says."""
    target = tmp_path / "file"
    async with reached(KINDS[0], 700) as listing:
        listing.emulator.faults.add(Fault.status(500), after=4, times=1)
        with pytest.raises(ServerError):
            await write(listing.list(), form, target)
        damaged(target, how)
        done = await write(listing.list(), form, target)
        assert bool(done.resumed_rows) == (how == "torn")
        assert ids_in(target, form) == listing.rows.ids()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda listing: (listing.list(limit=100), "csv"), "another format"),
        (lambda listing: (listing.client.runs.list(), "jsonl"), "other columns"),
        (lambda listing: (listing.client.executions.list(status="success"), "jsonl"), "status"),
    ],
)
async def test_the_partial_file_of_another_export_is_kept(
    change: Callable[[Reached], tuple[Pager[Any], str]], words: str, tmp_path: Path
) -> None:
    """The error says what is different and which files to remove."""
    target = tmp_path / "file"
    async with reached(KINDS[0], 700) as listing:
        listing.emulator.faults.add(Fault.status(500), after=4, times=1)
        with pytest.raises(ServerError):
            await write(listing.list(), "jsonl", target)
        before = target.with_name("file.part").read_bytes()
        walk, form = change(listing)
        with pytest.raises(ValueError, match=rf"{words}.*to start anew, remove .*file\.part"):
            await write(walk, form, target)
    assert target.with_name("file.part").read_bytes() == before


async def test_max_rows_counts_the_rows_of_all_runs(listing: Reached, tmp_path: Path) -> None:
    listing.emulator.faults.add(Fault.status(500), after=4, times=1)
    with pytest.raises(ServerError):
        await listing.list(max_rows=1000).write_jsonl(tmp_path / "file")
    done = await listing.list(max_rows=1000).write_jsonl(tmp_path / "file")
    assert done.resumed_rows
    assert ids_in(tmp_path / "file", "jsonl") == listing.rows.ids()[:1000]


@every_format
async def test_unreadable_rows_have_a_file_of_their_own(form: str, tmp_path: Path) -> None:
    """They are there once, also after an export that failed, and a callback gets them too."""
    listing = LISTINGS["executions"]
    rows = rows_of(listing, 300, 0, 5, 150, 299)
    rows[5]["api_key"] = "hidden"
    found: list[UnreadableRow] = []
    target = tmp_path / "file"

    def stop(row: UnreadableRow) -> None:
        found.append(row)
        if len(found) == 3:
            raise KeyError("of the caller")

    async with RawServer(then=serving(listing, rows)) as server, client_at(server) as client:
        with pytest.raises(KeyError):
            await write(client.executions.list(on_unreadable=stop), form, target)
        with (tmp_path / "file.unreadable.jsonl.part").open("ab") as file:
            file.write(b'{"id": "torn')
        done = await write(client.executions.list(on_unreadable=found.append), form, target)
        assert (done.rows, done.unreadable) == (296, 4)
        assert done.unreadable_path == tmp_path / "file.unreadable.jsonl"
        assert ids_in(target, form) == [row["id"] for at, row in enumerate(rows) if at not in (0, 5, 150, 299)]
        lines = read(done.unreadable_path, "jsonl")
        assert [line["id"] for line in lines] == ["r0", "r5", "r150", "r299"]
        assert lines[0]["row"] == rows[0]
        assert "created_at" in lines[0]["error"]
        assert "hidden" not in done.unreadable_path.read_text()
        assert {path.name for path in tmp_path.iterdir()} == {"file", "file.unreadable.jsonl"}
    async with reached(KINDS[0], 10) as healthy:
        assert (await write(healthy.list(), form, target)).unreadable_path is None
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


async def test_an_unreadable_row_that_was_written_before_a_kill_is_written_once(tmp_path: Path) -> None:
    """Such a row is in its file before the checkpoint is, so a resumed walk reports it again."""
    listing = LISTINGS["executions"]
    rows = rows_of(listing, 300, 0, 5, 150, 299)
    serve, broken = serving(listing, rows), False
    asked: list[Any] = []

    def act(seen: Any) -> Any:
        asked.append(seen)
        return answer(500) if broken and len(asked) == 2 else serve(seen)

    async with RawServer(then=act) as server, client_at(server) as client:
        whole = await client.executions.list().write_csv(tmp_path / "other")
        assert whole.unreadable_path is not None
        asked.clear()
        broken = True
        with pytest.raises(ServerError):
            await client.executions.list().write_csv(tmp_path / "file")
        part = tmp_path / "file.unreadable.jsonl.part"
        part.write_bytes(whole.unreadable_path.read_bytes() + b'{"id": "torn')
        done = await client.executions.list().write_csv(tmp_path / "file")
    assert done.resumed_rows
    assert (done.rows, done.unreadable) == (296, 4)
    assert done.unreadable_path is not None
    assert [line["id"] for line in read(done.unreadable_path, "jsonl")] == ["r0", "r5", "r150", "r299"]


async def test_a_row_that_a_format_cannot_hold_is_an_unreadable_one(tmp_path: Path) -> None:
    """The other rows of its batch are in the file."""
    listing = LISTINGS["executions"]
    rows = rows_of(listing, 250)
    rows[77]["execution_cost"] = 1e300
    async with RawServer(then=serving(listing, rows)) as server, client_at(server) as client:
        done = await client.executions.list().write_parquet(tmp_path / "file")
        assert (await client.executions.list().write_csv(tmp_path / "csv")).rows == 250
    assert (done.rows, done.unreadable) == (249, 1)
    assert done.unreadable_path is not None
    (line,) = read(done.unreadable_path, "jsonl")
    assert (line["id"], line["row"]["execution_cost"]) == ("r77", 1e300)
    assert "decimal128" in line["error"]


@pytest.mark.parametrize("path", ["", "a\0b", b"bytes", 7])
async def test_a_wrong_path_is_refused_before_a_request(listing: Reached, path: Any) -> None:
    with pytest.raises((ValueError, TypeError), match="path"):
        await listing.list().write_jsonl(path)
    assert listing.requests == 0


async def test_a_folder_or_a_missing_one_is_refused_before_a_request(listing: Reached, tmp_path: Path) -> None:
    with pytest.raises(IsADirectoryError):
        await listing.list().write_jsonl(tmp_path)
    with pytest.raises(FileNotFoundError):
        await listing.list().write_csv(tmp_path / "missing" / "file")
    assert listing.requests == 0
