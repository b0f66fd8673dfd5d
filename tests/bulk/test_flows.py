"""Tests for the bulk endpoint of legacy flows: chunks, halved chunks, and the outcome of each id in an answer."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from bulk_jobs import Reader, labs, pour
from event_loop import turns, until
from hypothesis import given, settings
from hypothesis import strategies as st
from internals import assert_idle
from raw_server import ONCE, Act, RawServer, answer, client_of, html

from eachlabs_async.emulator import Emulator, Fault
from eachlabs_async.errors import (
    AuthenticationError,
    NotFoundError,
    PermissionDeniedError,
    ResponseDecodeError,
    ServerError,
)
from eachlabs_async.resources import flow_executions
from eachlabs_async.transport.decoder import ResponseDecoder

BULK = "flow_executions.get_many"
HALVED = (400, 404, 413, 422)


@pytest.fixture
async def emulator() -> AsyncIterator[Emulator]:
    async with Emulator(executions=0, flow_executions=330, workflows=1, seed=4) as emulator:
        yield emulator


def asked(emulator: Emulator) -> list[int]:
    """Return how many ids each request contained."""
    return [len(seen.json()["execution_ids"]) for seen in emulator.log]


def row(identity: str, **changed: Any) -> dict[str, Any]:
    return {"execution_id": identity, "status": "succeeded", "flow_id": "w"} | changed


def answering(rows: Callable[[list[str]], Any]) -> Callable[[Any], Act]:
    """Answer a bulk request with the rows that `rows` returns for its ids."""

    def act(seen: Any) -> Act:
        return answer(
            json={"status": "success", "total": 1, "executions": rows(json.loads(seen.body)["execution_ids"])}
        )

    return act


@pytest.mark.parametrize("kind", ["sync", "async", "slow"])
@pytest.mark.parametrize("ordered", [False, True])
class TestChunks:
    async def test_ids_travel_in_chunks_at_once(self, emulator: Emulator, kind: str, ordered: bool) -> None:
        """All chunks but the last are full, the concurrency holds, and shuffled answers find their ids."""
        emulator.faults.add(Fault.latency(0.01))
        ids = emulator.flow_executions.ids()
        async with labs(emulator) as client:
            many = client.flow_executions.get_many(
                "workflow-1", Reader(ids).given(kind), chunk_size=25, concurrency=3, ordered=ordered
            )
            got = [outcome async for outcome in many]
            assert_idle(client)
        assert sorted(asked(emulator)) == [5] + [25] * 13
        assert 2 <= emulator.max_in_flight <= 3
        assert sorted(outcome.index for outcome in got) == list(range(330))
        if ordered:
            assert [outcome.id for outcome in got] == ids
        for outcome in got:
            assert outcome.unwrap().execution_id == outcome.id
            assert outcome.attempts == 1
        assert many.stats.done == 330
        assert many.stats.retries == 0

    async def test_no_more_is_read_than_the_window(self, emulator: Emulator, kind: str, ordered: bool) -> None:
        """A slow consumer stops the reading, and the requests with it."""
        reader = Reader(f"none-{n}" for n in range(10_000))
        async with labs(emulator) as client:
            many = client.flow_executions.get_many(
                "workflow-1", reader.given(kind), chunk_size=10, concurrency=2, window=50, ordered=ordered
            )
            count = 0
            async with many as outcomes:
                async for _ in outcomes:
                    count += 1
                    assert reader.taken - count < 50
                    if count in (1, 35):
                        await until(lambda wanted={1: 50, 35: 80}[count]: reader.taken == wanted)
                        await until(lambda: sum(asked(emulator)) == reader.taken and many.stats.in_flight == 0)
                        await turns()
                    if count == 100:
                        break


class TestRefusals:
    @pytest.mark.parametrize("status", HALVED)
    async def test_a_chunk_is_halved_until_the_bad_id_stands_alone(self, emulator: Emulator, status: int) -> None:
        """The other ids get their rows, and each outcome counts the requests that contained it."""
        ids = emulator.flow_executions.ids()[:16]
        emulator.poisoned_ids[ids[5]] = status
        async with labs(emulator) as client:
            many = client.flow_executions.get_many("workflow-1", ids, chunk_size=16, ordered=True)
            got = [outcome async for outcome in many]
        assert [outcome.id for outcome in got if not outcome.ok] == [ids[5]]
        assert got[5].error.status == status
        # 16 and 8 are refused, then 4, then 2, then the one.
        assert asked(emulator) == [16, 8, 4, 4, 2, 1, 1, 2, 8]
        assert [outcome.attempts for outcome in got] == [3] * 4 + [5, 5] + [4] * 2 + [2] * 8
        assert all(outcome.unwrap().execution_id == outcome.id for outcome in got if outcome.ok)

    @pytest.mark.parametrize("status", [400, 413])
    async def test_too_many_at_once_are_halved(self, emulator: Emulator, status: int) -> None:
        """An undocumented limit costs requests and no rows."""
        emulator.max_bulk_ids, emulator.bulk_refusal = 30, status
        ids = emulator.flow_executions.ids()
        async with labs(emulator) as client:
            result = await client.flow_executions.get_many("workflow-1", ids).collect()
        assert set(result.values) == set(ids)
        assert not result.errors

    async def test_an_unknown_flow_is_not_found_for_every_id(self, emulator: Emulator) -> None:
        """Each id has an outcome with the service's own message."""
        async with labs(emulator) as client:
            result = await client.flow_executions.get_many("none", ["abc", "b", "c", "d"]).collect()
        assert set(result.errors) == {"abc", "b", "c", "d"}
        for error in result.errors.values():
            assert isinstance(error, NotFoundError)
            assert error.message == "workflow not found"

    @pytest.mark.parametrize(("status", "kind"), [(403, PermissionDeniedError), (500, ServerError)])
    async def test_other_refusals_are_not_halved(self, emulator: Emulator, status: int, kind: type[Exception]) -> None:
        """They would be the same for a part: there is one request, and each id has the error."""
        emulator.faults.add(Fault.status(status))
        async with labs(emulator, retry=ONCE) as client:
            result = await client.flow_executions.get_many("workflow-1", iter("abc")).collect()
        assert {type(error) for error in result.errors.values()} == {kind}
        assert asked(emulator) == [3]

    async def test_a_bad_key_is_raised(self, emulator: Emulator) -> None:
        """It is raised once, after the finished chunks, even if it shows in half a chunk."""
        ids = emulator.flow_executions.ids()[:40]
        emulator.faults.add(Fault.status(401), after=3)
        emulator.poisoned_ids[ids[35]] = 400
        got: list[Any] = []
        async with labs(emulator) as client:
            with pytest.raises(AuthenticationError):
                await pour(client.flow_executions.get_many("workflow-1", ids, chunk_size=20, concurrency=1), got)
        assert [outcome.id for outcome in got] == ids[:30]
        assert asked(emulator)[:4] == [20, 20, 10, 10]

    async def test_a_chunk_that_fails_is_tried_again_whole(self, emulator: Emulator) -> None:
        """It only reads, so a 5xx or a reset is retried; every id counts the requests that contained it."""
        emulator.faults.add(Fault.reset(), times=1)
        emulator.faults.add(Fault.html(502), times=1)
        ids = emulator.flow_executions.ids()[:4]
        async with labs(emulator) as client:
            got = [outcome async for outcome in client.flow_executions.get_many("workflow-1", ids)]
        assert [outcome.attempts for outcome in got] == [3] * 4
        assert asked(emulator) == [4] * 3


class TestAnswers:
    async def many(self, rows: Callable[[list[str]], Any], ids: Any = "abc") -> list[Any]:
        async with RawServer(then=answering(rows)) as server, client_of(server) as client:
            many = client.flow_executions.get_many("w", iter(ids), ordered=True)
            return [outcome async for outcome in many]

    async def test_an_id_that_is_left_out_is_not_found(self) -> None:
        """The error has the id, the URL and the attempts; rows that were not requested are ignored."""
        a, b, c = await self.many(lambda ids: [row("c"), row("x"), row("a")])
        assert (a.value.execution_id, c.value.execution_id) == ("a", "c")
        assert isinstance(b.error, NotFoundError)
        assert "no execution 'b'" in str(b.error)
        assert (b.error.status, b.error.attempts, b.attempts, b.error.method) == (404, 1, 1, "POST")
        assert b.error.url.endswith("/flows/w/executions/bulk")

    @pytest.mark.parametrize("rows", [None, []])
    async def test_no_rows_mean_that_none_is_there(self, rows: Any) -> None:
        """Go encodes an empty list as null."""
        assert {type(one.error) for one in await self.many(lambda ids: rows)} == {NotFoundError}

    @pytest.mark.parametrize("bad", [{"status": 7}, {"started_at": "yesterday"}, {"step_results": {}}])
    async def test_a_row_that_cannot_be_read_is_its_ids_alone(self, bad: dict[str, Any]) -> None:
        """The error has the path of the wrong value; all other rows succeed."""
        a, b, c = await self.many(lambda ids: [row("c"), row("b", **bad), row("a")])
        assert a.ok
        assert c.ok
        assert isinstance(b.error, ResponseDecodeError)
        assert b.error.path.startswith(f"$.executions[1].{next(iter(bad))}")
        assert (b.error.method, b.error.attempts) == ("POST", 1)

    @pytest.mark.parametrize("unnamed", [7, None, "x", {"status": "ok"}, {"execution_id": 7, "status": "ok"}])
    async def test_a_row_without_an_id_could_be_any_that_is_missing(self, unnamed: Any) -> None:
        """None of the missing ids is then called not found, since the row may be its own."""
        a, b, c = await self.many(lambda ids: [unnamed, row("a")])
        assert a.ok
        for one in (b, c):
            assert isinstance(one.error, ResponseDecodeError)
            assert one.error.path.startswith("$.executions[0]")

    async def test_of_two_rows_for_one_id_the_first_counts(self) -> None:
        """The second one is ignored."""
        (a,) = await self.many(lambda ids: [row("a", output="1"), row("a", output="2")], "a")
        assert a.value.output == "1"

    @pytest.mark.parametrize("body", [b"", b"[]", b"{", b'{"executions": {}}', b'{"executions": 7}', b"null"])
    async def test_an_answer_that_cannot_be_read_at_all_is_every_ids(self, body: bytes) -> None:
        """The chunk is not halved, and the answer does not pass for an empty one."""
        async with RawServer(then=answer(body=body)) as server, client_of(server) as client:
            result = await client.flow_executions.get_many("w", iter("abc")).collect()
        assert {type(error) for error in result.errors.values()} == {ResponseDecodeError}
        assert set(result.errors) == set("abc")
        assert len(server.requests) == (5 if body in (b"", b"{") else 1)  # What is no JSON is asked for again.

    async def test_a_page_of_html_with_status_200_is_every_ids(self) -> None:
        """A proxy's page is not an answer."""
        async with RawServer(then=html(200)) as server, client_of(server) as client:
            result = await client.flow_executions.get_many("w", iter("abc")).collect()
        assert {type(error) for error in result.errors.values()} == {ResponseDecodeError}

    async def test_a_large_one_is_read_in_a_thread(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Its rows and errors are the same as those of a small one."""
        results = []
        for limit in (0, 2**30):
            monkeypatch.setattr(flow_executions, "LARGE_ANSWER", limit)
            got = await self.many(lambda ids: [row("c"), row("b", status=7), row("a", deleted_at="")])
            results.append([(one.value, getattr(one.error, "message", None)) for one in got])
        assert results[0] == results[1]
        monkeypatch.setattr(flow_executions, "LARGE_ANSWER", 0)
        assert {type(one.error) for one in await self.many(lambda ids: 7)} == {ResponseDecodeError}

    async def test_threads_read_one_at_a_time(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Of several large answers, only one is read at a time: threads compete with the loop."""
        reading = most = 0
        decode_rows = ResponseDecoder.decode_rows

        def slowly(*arguments: Any, **named: Any) -> Any:
            nonlocal reading, most
            reading += 1
            most = max(most, reading)
            time.sleep(0.01)
            reading -= 1
            return decode_rows(*arguments, **named)

        monkeypatch.setattr(flow_executions, "LARGE_ANSWER", 0)
        monkeypatch.setattr(ResponseDecoder, "decode_rows", slowly)
        server = RawServer(then=answering(lambda ids: [row(one, deleted_at="") for one in ids]))
        async with server, client_of(server) as client:
            fetch = client.flow_executions.get_many("w", iter("abcdefgh"), chunk_size=1, concurrency=8)
            result = await fetch.collect()
        assert set(result.values) == set("abcdefgh")
        assert most == 1

    async def test_a_large_one_is_decoded_once(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Decoding blocks the loop, so it is not repeated to find the rows."""
        again: list[object] = []
        monkeypatch.setattr(flow_executions, "LARGE_ANSWER", 0)
        monkeypatch.setattr(ResponseDecoder, "decode_rows", lambda *arguments, **named: again.append(arguments))
        got = await self.many(lambda ids: [row("c"), row("b"), row("a")])
        assert all(one.value.execution_id == one.id for one in got)
        assert not again


@given(
    bad=st.sets(st.integers(0, 23), max_size=3),
    missing=st.sets(st.integers(0, 23), max_size=6),
    chunk_size=st.integers(4, 30),
    concurrency=st.integers(1, 4),
    ordered=st.booleans(),
    limit=st.integers(3, 30),
)
@settings(max_examples=settings().max_examples // 4)
def test_whatever_is_refused_every_id_has_its_outcome(
    bad: set[int], missing: set[int], chunk_size: int, concurrency: int, ordered: bool, limit: int
) -> None:
    """A refused id has its refusal, a missing one is not found, and every other has its row, once."""
    ids = [f"id-{n}" for n in range(24)]
    ends = {f"id-{n}" for n in bad}

    def act(seen: Any) -> Act:
        wanted = json.loads(seen.body)["execution_ids"]
        if len(wanted) > limit:
            return answer(413)
        if ends.intersection(wanted):
            return answer(422)
        return answer(json={"executions": [row(one) for one in reversed(wanted) if int(one[3:]) not in missing]})

    async def run() -> list[Any]:
        async with RawServer(then=act) as server, client_of(server) as client:
            many = client.flow_executions.get_many(
                "w", ids, chunk_size=chunk_size, concurrency=concurrency, ordered=ordered
            )
            return [outcome async for outcome in many]

    got = asyncio.run(run())
    indexes = [outcome.index for outcome in got]
    assert sorted(indexes) == list(range(24))
    assert not ordered or indexes == sorted(indexes)
    for outcome in got:
        status = getattr(outcome.error, "status", 200)
        assert status == (422 if outcome.index in bad else 404 if outcome.index in missing else 200)
        assert outcome.ok is (outcome.value is not None)
        assert outcome.attempts >= 1
