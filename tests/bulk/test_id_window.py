"""Tests for how a bulk fetch reads its ids: lazily, within the window, each once, and at the consumer's pace."""

from __future__ import annotations

import asyncio
import itertools
import random
from collections import Counter
from typing import Any

import pytest
from bulk_jobs import Desk, Reader, echo, fetch, labs
from event_loop import turns, until
from hypothesis import given
from hypothesis import strategies as st
from internals import assert_idle, ids_remembered, window_of

from eachlabs_async.bulk.fetch import BulkFetch
from eachlabs_async.emulator import Emulator
from eachlabs_async.errors import NotFoundError

KINDS = ("sync", "async", "slow")


async def take(many: BulkFetch[Any], count: int, reader: Reader, most: int) -> list[Any]:
    """Take outcomes, and assert at each that the window holds no more ids than it may."""
    got = []
    async with many as outcomes:
        async for outcome in outcomes:
            assert reader.taken - len(got) <= most
            got.append(outcome)
            if len(got) == count:
                break
    return got


@pytest.mark.parametrize("ordered", [False, True])
@pytest.mark.parametrize("kind", KINDS)
class TestEndless:
    @pytest.mark.parametrize("chunk_size", [1, 7])
    @pytest.mark.parametrize("window", [None, 100])
    async def test_ids_are_read_as_there_is_room(
        self, kind: str, ordered: bool, chunk_size: int, window: int | None
    ) -> None:
        """Of an endless source, the window never holds more ids than its size."""
        reader = Reader(map(str, itertools.count()))
        many = fetch(echo, reader.given(kind), concurrency=3, ordered=ordered, chunk_size=chunk_size, window=window)
        got = await take(many, 500, reader, window or 12 * chunk_size)
        assert len({outcome.id for outcome in got}) == 500

    @pytest.mark.parametrize("chunk_size", [1, 7])
    async def test_ids_that_need_no_fetching_fill_the_window_too(
        self, kind: str, ordered: bool, chunk_size: int
    ) -> None:
        """Duplicates, known ids and wrong ones are read no further ahead than others."""
        sources: list[Any] = [
            itertools.repeat("a"),
            itertools.chain(["fresh"], (f"known-{n}" for n in itertools.count())),
            itertools.chain(["a"], itertools.repeat(None)),
        ]
        for ids in sources:
            reader = Reader(ids)
            many = fetch(
                echo,
                reader.given(kind),
                ordered=ordered,
                chunk_size=chunk_size,
                known=lambda name: name if name.startswith("known") else None,
            )
            assert len(await take(many, 200, reader, 16 * chunk_size)) == 200


class TestOneIsFetchedOnce:
    @pytest.mark.parametrize("ordered", [False, True])
    async def test_who_comes_again_while_it_is_held_is_answered_with_it(self, ordered: bool) -> None:
        """Whether the id is in flight, finished or known, it is fetched once and each occurrence has an outcome."""
        desk = Desk()
        many = fetch(desk, ["a", "b", "a", "b", "a", "k", "k"], concurrency=2, ordered=ordered, known={"k": "K"})
        got: list[Any] = []

        async def consume() -> None:
            async for outcome in many:
                got.append(outcome)

        consumer = asyncio.ensure_future(consume())
        await turns()
        assert desk.asked == ["a", "b"]
        desk.answer("b")
        await turns()
        desk.answer("a")
        await consumer
        assert sorted((one.index, one.value) for one in got) == list(enumerate(["a", "b", "a", "b", "a", "K", "K"]))
        assert [one.attempts for one in sorted(got, key=lambda one: one.index)] == [1, 1, 1, 1, 1, 0, 0]
        if ordered:
            assert [one.index for one in got] == list(range(7))

    async def test_an_error_is_shared_as_well(self) -> None:
        """One request fails, and both outcomes have the error."""
        async with Emulator(executions=1) as emulator, labs(emulator) as client:
            many = client.workflow_executions.get_many(["none"] * 3)
            got = [outcome async for outcome in many]
        assert [type(one.error) for one in got] == [NotFoundError] * 3
        assert emulator.requests["workflow_executions.get"] == 1
        assert many.stats.failed == 3

    async def test_a_finished_one_answers_until_it_is_handed_out(self) -> None:
        """After that the id is fetched anew: the fetch does not remember ten million ids."""
        source: asyncio.Queue[str] = asyncio.Queue()

        async def ids() -> Any:
            while (one := await source.get()) != "end":
                yield one

        asked = []

        async def job(batch: Any) -> None:
            asked.append(batch[0].outcome.id)
            await echo(batch)

        outcomes = aiter(fetch(job, ids(), concurrency=1, ordered=True))
        source.put_nowait("a")
        task = asyncio.ensure_future(anext(outcomes))
        await turns()
        assert (await task).id == "a"
        for one in ("b", "b", "a", "end"):
            source.put_nowait(one)
        await turns()
        assert [outcome.id async for outcome in outcomes] == ["b", "b", "a"]
        assert asked == ["a", "b", "a"]


class TestKnown:
    @pytest.mark.parametrize("form", [dict, lambda have: have.get])
    async def test_what_is_finished_is_not_fetched_again(self, form: Any) -> None:
        """A mapping or a callable may provide known values; one that can still change is fetched."""
        async with Emulator(executions=40, unfinished=0.5) as emulator, labs(emulator) as client:
            ids = emulator.workflow_executions.ids()
            have = (await client.workflow_executions.get_many(ids[:30]).collect()).values
            finished = {key for key, one in have.items() if one.is_finished}
            assert 5 < len(finished) < 25
            emulator.reset_counters()
            many = client.workflow_executions.get_many(ids, known=form(have), ordered=True)
            got = [outcome async for outcome in many]
        assert [one.id for one in got] == ids
        assert many.stats.known == len(finished)
        assert emulator.requests["workflow_executions.get"] == 40 - len(finished)
        for one in got:
            assert (one.attempts == 0) is (one.id in finished)
            assert one.id not in finished or one.value is have[one.id]

    async def test_a_value_that_cannot_say_whether_it_is_finished_is(self) -> None:
        """A known value may be of any type and may be falsy, but not None."""
        result = await fetch(echo, iter("abc"), known={"a": 0, "b": None}).collect()
        assert result.values == {"a": 0, "b": "b", "c": "c"}


class TestWindow:
    @pytest.mark.parametrize("window", [2, 9])
    async def test_a_wider_one_lets_more_pass_a_slow_id(self, window: int) -> None:
        """An ordered fetch delivers nothing before the first id, but the others go on up to the window."""
        desk = Desk()
        many = fetch(desk, (str(n) for n in itertools.count()), concurrency=2, ordered=True, window=window)
        async with many as outcomes:
            first = asyncio.ensure_future(anext(aiter(outcomes)))
            for _ in range(window + 3):
                await turns(5)
                desk.answer(*(name for name in desk.open if name != "0"))
            assert len(desk.asked) == window
            desk.answer("0")
            assert (await first).id == "0"
            await turns()
            assert len(desk.asked) == window + 1

    @pytest.mark.parametrize("ordered", [False, True])
    async def test_a_slow_consumer_stops_the_fetching(self, ordered: bool) -> None:
        """The server sees the delivered ids and one window more."""
        async with Emulator(executions=100) as emulator, labs(emulator) as client:
            ids = emulator.workflow_executions.ids()
            many = client.workflow_executions.get_many(ids, concurrency=2, ordered=ordered)
            async with many as outcomes:
                count = 0
                async for _ in outcomes:
                    count += 1
                    if count in (3, 20):
                        wanted = count + 8
                        await until(lambda wanted=wanted: emulator.requests["workflow_executions.get"] >= wanted)
                        await asyncio.sleep(0.03)
                        assert emulator.requests["workflow_executions.get"] == wanted
                        assert many.stats.in_flight == 0
                        assert_idle(client)
            assert count == 100


letters = st.lists(st.sampled_from("abcdefgh\x00"), max_size=60)
chances = st.integers(0, 2**32 - 1).map(random.Random)


@given(
    ids=letters,
    chance=chances,
    kind=st.sampled_from(KINDS),
    ordered=st.booleans(),
    concurrency=st.integers(1, 5),
    chunk_size=st.integers(1, 4),
    spare=st.integers(0, 9),
    known=st.sets(st.sampled_from("abc")),
)
def test_whatever_the_ids_every_one_has_its_outcome(
    ids: list[str],
    chance: random.Random,
    kind: str,
    ordered: bool,
    concurrency: int,
    chunk_size: int,
    spare: int,
    known: set[str],
) -> None:
    """None is lost or repeated, nothing deadlocks, window and concurrency hold, and duplicates share a fetch."""
    running = most = 0
    asked: Counter[str] = Counter()
    given_ids: list[Any] = [None if one == "\x00" else one for one in ids]
    reader = Reader(given_ids)
    window = concurrency * chunk_size + spare

    async def job(batch: Any) -> None:
        nonlocal running, most
        running += 1
        most = max(most, running)
        asked.update(slot.outcome.id for slot in batch)
        assert 1 <= len(batch) <= chunk_size
        await turns(chance.randrange(6))
        await echo(batch)
        running -= 1

    async def consume() -> list[Any]:
        got: list[Any] = []
        many = fetch(
            job,
            reader.given(kind),
            concurrency=concurrency,
            ordered=ordered,
            chunk_size=chunk_size,
            window=window,
            known=dict.fromkeys(known, "known"),
        )
        async with asyncio.timeout(5), many as outcomes:
            async for outcome in outcomes:
                assert reader.taken - len(got) <= window
                got.append(outcome)
                if chance.random() < 0.3:
                    await turns(chance.randrange(4))
        assert not ids_remembered(many)
        assert window_of(many).undelivered == many.stats.in_flight == 0
        assert many.stats.done == len(got)
        return got

    got = asyncio.run(consume())
    indexes = [outcome.index for outcome in got]
    assert sorted(indexes) == list(range(len(ids)))
    assert not ordered or indexes == sorted(indexes)
    assert most <= concurrency
    assert not set(asked) & known
    for outcome in got:
        assert outcome.id == given_ids[outcome.index]
        wanted = None if outcome.id is None else "known" if outcome.id in known else outcome.id
        assert outcome.value == wanted
        assert outcome.ok is (outcome.id is not None)
    assert all(asked[one] <= ids.count(one) for one in asked)
