"""Tests for entries of bulk answers that were refused in unknown words: when each is sent again, what is learned."""

from __future__ import annotations

from typing import Any

import pytest
from paid_jobs import mapped, paid

from eachlabs_async import BadRequestError
from eachlabs_async.jobs.refused_entries import RefusedEntries


def test_an_entry_is_sent_once_more_when_a_place_is_free() -> None:
    """Others wait until then; a second refusal is final, and the words then hold nothing up any more."""
    entries: RefusedEntries[str] = RefusedEntries()
    assert not entries.refuse("a", "input 5 of 'x' is no good", 7)
    assert entries.holds_others
    assert entries.take(7, 3) is None
    assert entries.take(8, 3) == "a"
    assert not entries.holds_others
    assert entries.refuse("a", "input 6 of 'x' is no good", 8)
    assert not entries.refuse("b", "input 7 of 'y' is no good", 8)
    assert not entries.holds_others
    assert entries.take(8, 3) == "b"
    assert not entries.is_limit("input 8 is no good")


def test_what_is_accepted_later_was_refused_for_the_limit() -> None:
    """The others that were refused in the same words are sent as usual."""
    entries: RefusedEntries[str] = RefusedEntries()
    for name in "abc":
        assert not entries.refuse(name, "all 4 workers are busy", 1)
    assert not entries.refuse("d", "bad", 1)
    assert entries.take(1, 0) == "a"
    assert entries.accept("a") == ["b", "c"]
    assert len(entries) == 1
    assert entries.is_limit("all 16 workers are busy")
    assert entries.accept("e") == []


@pytest.mark.parametrize("cap", [1, 4])
@pytest.mark.parametrize("words", ["all 4 workers are busy", "capacity"])
async def test_a_limit_in_unknown_words_costs_no_input(cap: int, words: str) -> None:
    """Every input is executed once, with few requests."""
    async with paid(cap=cap, partial=words, takes_s=[0.03, 0.06]) as service, service.client() as client:
        run = mapped(client, "workflow", [{"n": number} for number in range(30)])
        result = await run.collect()
        said = await service.verdict()
        assert len(result.values) == 30
        assert set(said["bills"]["me"].values()) == {1}
        assert said["requests"]["creating"] <= 100


async def test_inputs_that_are_refused_by_name_are_outcomes_and_hold_little_up() -> None:
    """Each is sent twice; after the first of them the others do not wait."""
    async with paid(refuse="x", takes_s=[0.3, 0.3]) as service, service.client() as client:
        inputs: list[Any] = [{"n": number, "x": 1} if number % 4 == 1 else {"n": number} for number in range(40)]
        result = await mapped(client, "workflow", inputs).collect()
        said = await service.verdict()
        assert {int(index) for index in result.errors} == set(range(1, 40, 4))
        assert all(isinstance(error, BadRequestError) for error in result.errors.values())
        assert len(result.values) == 30
        assert said["requests"]["creating"] <= 4 + 10 + 2
