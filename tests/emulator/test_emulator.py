"""Tests for the emulator as a whole: moving rows, its seed, its counts, a clean end, and the command line."""

from __future__ import annotations

import asyncio
import re
import signal
import sys
import time
import urllib.error
import urllib.request
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any

import aiohttp
import pytest
from emulator_caller import Caller

from eachlabs_async import EachLabs
from eachlabs_async.emulator import Emulator
from eachlabs_async.emulator.__main__ import main

NOW = datetime(2026, 8, 1, tzinfo=UTC)
ROWS = 60


@pytest.fixture
async def emulator() -> AsyncIterator[Emulator]:
    async with Emulator(ROWS, now=NOW, unfinished=0.2, failed=0.2) as running:
        yield running


@pytest.fixture
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as opened:
        yield opened


@pytest.fixture
def caller(emulator: Emulator, session: aiohttp.ClientSession) -> Caller:
    return Caller(emulator, session)


class TestCollections:
    async def test_rows_move_under_a_walk(self, emulator: Emulator, caller: Caller) -> None:
        """Inserted rows come first, removed ones are in neither list nor get, and changes show at once."""
        before = emulator.runs.ids()
        new = emulator.runs.insert(2)
        middle = emulator.runs.insert(1, 5, status="queued")
        oldest = emulator.runs.insert(1, len(emulator.runs))
        gone = emulator.runs.remove(-2, before[0])
        assert gone == [before[-1], before[0]]
        emulator.runs.change(new[0], status="stopped", meta=..., definitions=...)
        page = await caller.good("runs", "/runs", size=100)
        assert [row["id"] for row in page["items"]] == emulator.runs.ids()
        assert emulator.runs.ids() == [*new, *before[1:3], *middle, *before[3:-1], *oldest]
        assert page["items"][0]["status"] == "stopped"
        assert "definitions" not in page["items"][0]
        times = [row["created_at"] for row in page["items"]]
        assert times == sorted(times, reverse=True)
        assert before[0] not in emulator.runs
        assert (await caller.ask("runs", f"/runs/{before[0]}"))[0] == 404
        assert (await caller.good("runs", f"/runs/{middle[0]}"))["status"] == "queued"
        with pytest.raises(IndexError, match="at must be"):
            emulator.runs.insert(1, 1000)

    async def test_an_id_can_change(self, emulator: Emulator, caller: Caller) -> None:
        """The row is found by its new id only."""
        emulator.executions.change(emulator.executions.ids()[3], id="odd", created_at="soon")
        assert "odd" in emulator.executions
        assert emulator.executions.get("odd")["created_at"] == "soon"
        page = await caller.good("api", "/executions", limit=100)
        assert page["executions"][3]["id"] == "odd"
        emulator.executions.change("odd", created_at=None)
        assert emulator.executions.insert(1, 3) == [emulator.executions.ids()[3]]

    async def test_an_empty_listing_can_grow(self, session: aiohttp.ClientSession) -> None:
        """Without rows the page is empty; inserted rows are served."""
        async with Emulator(0, workflow_executions=0) as emulator:
            caller = Caller(emulator, session)
            assert (await caller.good("api", "/executions"))["executions"] == []
            assert (await caller.good("runs", "/runs"))["pages"] == 0
            ids = emulator.executions.insert(2)
            page = await caller.good("api", "/executions")
            assert [row["id"] for row in page["executions"]] == ids

    async def test_the_rows_of_workflows_are_reached_together(self, emulator: Emulator) -> None:
        """All workflows' executions are counted, iterated, changed and removed together; an unknown id is an error."""
        grouped = emulator.workflow_executions
        ids = grouped.ids()
        assert len(grouped) == len(ids) == len(list(grouped)) == ROWS
        assert ids[-1] in grouped
        assert "none" not in grouped
        assert grouped.remove(ids[0], ids[-1]) == [ids[0], ids[-1]]
        assert len(grouped) == ROWS - 2
        with pytest.raises(KeyError):
            grouped.change("none", status="completed")

    async def test_who_gave_up_waiting_is_not_woken(self, emulator: Emulator) -> None:
        """A waiter that is cancelled in the same iteration as a change ends cancelled; another one wakes."""
        waiting = [asyncio.create_task(emulator.runs.changed()) for _ in range(2)]
        await asyncio.sleep(0)
        waiting[0].cancel()
        emulator.runs.remove(0)
        await asyncio.wait(waiting)
        assert [task.cancelled() for task in waiting] == [True, False]

    async def test_remembered_selections_are_bounded(self, caller: Caller) -> None:
        """Many different filters do not grow the memory without end, and the results stay right."""
        for number in range(70):
            page = await caller.good("api", "/executions", model=f"model-{number}")
            assert page["total_count"] == 0


class TestDeterminism:
    async def test_the_same_seed_gives_the_same_bytes(self, session: aiohttp.ClientSession) -> None:
        """Two emulators with one seed answer alike, and one with another seed answers differently."""
        bodies: list[list[Any]] = []
        for seed in (7, 7, 8):
            async with Emulator(30, seed, now=NOW) as emulator:
                emulator.warm()
                emulator.runs.insert(3)
                caller = Caller(emulator, session)
                bodies.append(
                    [
                        await caller.good("api", "/executions"),
                        await caller.good("workflows", "/workflows/workflow-1/executions"),
                        await caller.good("runs", "/runs"),
                        list(emulator.flow_executions),
                    ]
                )
        assert bodies[0] == bodies[1]
        assert all(one != other for one, other in zip(bodies[0], bodies[2], strict=True))

    def test_one_kind_of_rows_can_be_counted_alone(self) -> None:
        """Each kind has its own number of rows, by default that of the executions."""
        emulator = Emulator(5, workflow_executions=4, flow_executions=3, workflows=2)
        assert len(emulator.executions) == len(emulator.runs) == 5
        assert (len(emulator.workflow_executions), len(emulator.flow_executions)) == (4, 3)
        assert len(emulator.workflow_ids) == 2

    @pytest.mark.parametrize(
        "wrong",
        [{"runs": -1}, {"workflows": 0}, {"now": datetime(2026, 1, 1)}, {"failed": 1.5}, {"port": 70000}],
    )
    def test_wrong_arguments_are_refused(self, wrong: dict[str, Any]) -> None:
        """Counts, shares, the port and a naive `now` are checked when the emulator is created."""
        with pytest.raises(ValueError):
            Emulator(**wrong)


class TestLife:
    async def test_requests_are_counted_and_logged(self, emulator: Emulator, caller: Caller) -> None:
        """There are counts by endpoint and status, a log with the raw target, and a reset that empties them."""
        emulator.faults.clear()
        await caller.good("api", "/executions", limit=1, **{"from": "2026-07-01T00:00:00+02:00"})
        await caller.ask("flows", "/w/executions/bulk", method="POST", json={"execution_ids": ["a"]})
        await caller.ask("api", "/nowhere")
        assert emulator.requests == {"executions.list": 1, "flow_executions.get_many": 1, "unrouted": 1}
        assert emulator.answers == {200: 1, 404: 2}
        first, second, third = emulator.log
        assert "%2B02:00" in first.target
        assert first.query["from"] == "2026-07-01T00:00:00+02:00"
        assert (first.service, first.edition, first.method, third.service) == ("api", "compat", "GET", "")
        assert second.json() == {"execution_ids": ["a"]}
        assert first.at <= second.at <= time.monotonic()
        assert first.headers["x-api-key"] == "right"
        assert (emulator.in_flight, emulator.max_in_flight, emulator.connections) == (0, 1, 1)
        emulator.reset_counters()
        assert not emulator.log
        assert not emulator.requests
        assert emulator.max_in_flight == emulator.connections == 0

    async def test_connections_are_told_apart(self, emulator: Emulator, caller: Caller) -> None:
        """Concurrent requests use a connection each, consecutive ones a kept connection."""
        await asyncio.gather(*[caller.good("api", "/executions") for _ in range(3)])
        assert emulator.connections == len({seen.connection for seen in emulator.log}) == 3
        await caller.good("api", "/executions")
        assert emulator.connections == 3
        async with aiohttp.ClientSession() as other:
            await Caller(emulator, other).good("api", "/executions")
        assert emulator.connections == 4

    async def test_answers_carry_a_request_id_and_a_date(
        self, emulator: Emulator, session: aiohttp.ClientSession
    ) -> None:
        """Refusals have them too, and JSON is compact."""
        async with session.get(f"{emulator.hosts.api.base_url}/executions") as answer:
            assert answer.headers["X-Request-Id"] == "emulator-1"
            assert answer.headers["Date"]
            assert answer.content_type == "application/json"
            assert await answer.read() == b'{"error":"Invalid or missing API key"}'

    async def test_it_listens_only_within_its_block(self) -> None:
        """Outside it has no URL; it can be entered again, but not twice at once, and a taken port is an error."""
        emulator = Emulator(1)
        await emulator.__aexit__(None, None, None)
        for _ in range(2):
            with pytest.raises(RuntimeError, match="not listening"):
                _ = emulator.url
            async with emulator:
                with pytest.raises(RuntimeError, match="listening already"):
                    await emulator.__aenter__()
                port = int(emulator.url.rpartition(":")[2])
                with pytest.raises(OSError):
                    await Emulator(1, port=port).__aenter__()
        async with Emulator(1, host="localhost") as named:
            assert named.hosts.edition == "compat"

    @pytest.mark.parametrize("host", ["0.0.0.0", "::", "", "192.0.2.1", "example.test"])
    def test_it_listens_on_this_machine_alone(self, host: str) -> None:
        """Its keys are no secret, so an address that others reach is an error that says how to ask for it."""
        with pytest.raises(ValueError, match="is more than this machine.*pass beyond_loopback=True"):
            Emulator(1, host=host)

    async def test_it_listens_to_others_if_told(self) -> None:
        """The URL is then that of this machine, which the client accepts."""
        async with Emulator(1, host="0.0.0.0", beyond_loopback=True) as emulator:
            assert emulator.url.startswith("http://127.0.0.1:")
            async with EachLabs(emulator.api_key, hosts=emulator.hosts) as client:
                assert len(await client.executions.list().collect()) == 1

    async def test_ipv6_loopback_is_written_in_brackets(self) -> None:
        """An address with colons makes a valid URL."""
        try:
            async with Emulator(1, host="::1") as emulator:
                assert emulator.url.startswith("http://[::1]:")
        except OSError:
            pytest.skip("no IPv6 here")

    def test_nothing_is_left_behind(self) -> None:
        """After the block only the caller's task is left, even if answers were held or connections idle."""

        async def scenario() -> None:
            async with (
                aiohttp.ClientSession() as session,
                Emulator(5, hold_unfinished=60, unfinished=1) as emulator,
            ):
                caller = Caller(emulator, session)
                await caller.good("api", "/executions")
                path = f"/executions/{emulator.workflow_executions.ids()[0]}"
                held = [asyncio.create_task(caller.ask("workflows", path)) for _ in range(3)]
                while emulator.in_flight < 3:
                    await asyncio.sleep(0.001)
                start = time.monotonic()
                await emulator.__aexit__(None, None, None)
                assert time.monotonic() - start < 1
                assert emulator.in_flight == 0
                for outcome in await asyncio.gather(*held, return_exceptions=True):
                    assert isinstance(outcome, aiohttp.ClientError)
            assert asyncio.all_tasks() == {asyncio.current_task()}

        asyncio.run(scenario())


class TestCommandLine:
    @pytest.mark.skipif(sys.platform == "win32", reason="no POSIX signals")
    @pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
    async def test_it_runs_until_a_signal(self, number: signal.Signals) -> None:
        """It prints its URL and its keys, answers, and exits with 0 on SIGINT and SIGTERM."""
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-X", "dev", "-W", "error", "-m", "eachlabs_async.emulator"),
            *("--port", "0", "--executions", "10", "--latency-ms", "1", "--faults", "0.01"),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        assert process.stdout is not None
        try:
            async with asyncio.timeout(30):
                banner = (await process.stdout.readuntil(b"Ctrl-C stops it.\n")).decode()
                assert "emulator-key" in banner
                assert "emulator-runs-key" in banner
                found = re.search(r"http://127\.0\.0\.1:\d+/compat/api/v1", banner)
                assert found is not None
                request = urllib.request.Request(found[0] + "/executions?limit=1", headers={"X-API-Key": "no"})
                with pytest.raises(urllib.error.HTTPError) as refused:
                    await asyncio.to_thread(urllib.request.urlopen, request)
                refused.value.close()
                process.send_signal(number)
                out, err = await process.communicate()
        finally:
            if process.returncode is None:
                process.kill()
        assert (process.returncode, err.decode()) == (0, "")
        assert "1 requests answered" in out.decode()

    def test_the_command_says_what_is_wrong(self, capsys: pytest.CaptureFixture[str]) -> None:
        """A wrong argument exits with 2, an address that cannot be bound with 1, each with a message."""
        for arguments, said in [
            (["--faults", "7"], "rate must be 0..1"),
            (["--latency-ms", "-5"], "'seconds' must be >= 0"),
            (["--latency-ms", "nan"], "'seconds' must be >= 0"),
            (["--port", "65536"], "port must be 0..65535, not 65536"),
            (["--port", "-1"], "port must be 0..65535, not -1"),
        ]:
            assert main([*arguments, "--executions", "1"]) == 2
            assert said in capsys.readouterr().err
        for host in ("192.0.2.1", "0.0.0.0"):
            assert main(["--host", host, "--port", "0", "--executions", "1"]) == 2
            assert "pass beyond_loopback=True (--beyond-loopback)" in capsys.readouterr().err
        assert main(["--host", "192.0.2.1", "--beyond-loopback", "--port", "0", "--executions", "1"]) == 1
        assert "cannot listen on 192.0.2.1" in capsys.readouterr().err

    @pytest.mark.skipif(sys.platform == "win32", reason="no POSIX signals")
    def test_the_command_runs_in_process(self, capsys: pytest.CaptureFixture[str]) -> None:
        """A signal that comes while it runs ends `main` with 0."""
        previous = signal.signal(signal.SIGALRM, lambda *_: signal.raise_signal(signal.SIGTERM))
        try:
            signal.setitimer(signal.ITIMER_REAL, 0.5)
            assert main(["--port", "0", "--executions", "3", "--latency-ms", "1"]) == 0
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, previous)
        assert "0 requests answered" in capsys.readouterr().out
