"""Tests for the text of a checkpoint: short, versioned, bound to its walk, and rejected if it does not fit."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eachlabs_async import EachLabs
from eachlabs_async.emulator import Emulator
from eachlabs_async.pagination.checkpoint import VERSION, Checkpoint, read_checkpoint, write_checkpoint
from eachlabs_async.pagination.known_rows import ANCHORS

FILTERS = {"model": "flux", "status": None, "since": None, "until": None}
STOOD = Checkpoint(10, 34, ("a", "b", "c"), 99)


def text(**changes: Any) -> str:
    parts = json.loads(write_checkpoint("executions.list", "compat", FILTERS, STOOD))
    return json.dumps({name: value for name, value in {**parts, **changes}.items() if value is not ...})


@given(
    st.integers(0, 10**9),
    st.integers(0, 10**9),
    st.lists(st.text(), max_size=8),
    st.none() | st.integers(0),
    st.dictionaries(st.text().filter(lambda name: name not in ("endpoint", "edition")), st.none() | st.text()),
)
def test_what_is_written_is_read(
    start: int, beyond: int, ids: list[str], total: int | None, filters: dict[str, str | None]
) -> None:
    """A checkpoint survives writing and reading, whatever the ids and the filters contain."""
    checkpoint = Checkpoint(start, start + beyond, tuple(ids), total)
    assert read_checkpoint(write_checkpoint("x", "compat", filters, checkpoint), "x", "compat", filters) == (
        checkpoint,
        filters,
    )


def test_the_text_is_short_json_with_a_version() -> None:
    """It records its endpoint, edition and the filters given, and stays small."""
    assert json.loads(text()) == {
        "v": VERSION,
        "endpoint": "executions.list",
        "edition": "compat",
        "filters": {"model": "flux"},
        "start": 10,
        "place": 34,
        "total": 99,
        "last": ["a", "b", "c"],
    }
    uuids = tuple(f"{number:08}-0000-4000-8000-000000000000" for number in range(ANCHORS + 16))
    assert len(write_checkpoint("executions.list", "compat", FILTERS, Checkpoint(0, 10**6, uuids, 10**6))) < 2100


@pytest.mark.parametrize(
    ("endpoint", "edition", "filters", "differs"),
    [
        ("runs.list", "compat", FILTERS, "endpoint is 'runs.list' here, 'executions.list' in the checkpoint"),
        ("executions.list", "unified", FILTERS, "edition is 'unified' here, 'compat' in the checkpoint"),
        ("executions.list", "compat", {**FILTERS, "model": "veo"}, "model is 'veo' here, 'flux' in the checkpoint"),
        ("executions.list", "compat", {**FILTERS, "model": None}, "model is None here, 'flux' in the checkpoint"),
        ("executions.list", "compat", {**FILTERS, "status": "error"}, "status is 'error' here, None in the checkpoint"),
        ("executions.list", "compat", {**FILTERS, "until": "2026"}, "until is '2026' here, None in the checkpoint"),
        ("executions.list", "compat", {}, "model is None here, 'flux' in the checkpoint"),
    ],
)
def test_another_walk_is_refused_with_what_differs(endpoint: str, edition: str, filters: Any, differs: str) -> None:
    """The error names the difference and both values."""
    with pytest.raises(ValueError, match="another walk") as caught:
        read_checkpoint(text(), endpoint, edition, filters)
    assert differs in str(caught.value)


def test_all_that_differs_is_named() -> None:
    """The error lists all differences, not only the first."""
    with pytest.raises(ValueError, match="edition is .*; model is .*; status is "):
        read_checkpoint(text(), "executions.list", "unified", {"model": "veo", "status": "error"})


def test_times_that_are_left_out_come_from_the_checkpoint() -> None:
    """`since` and `until` may be omitted on resume, other filters may not."""
    found = write_checkpoint("x", "compat", {"since": "2026-01-01T00:00:00Z", "until": "2026-02-01T00:00:00Z"}, STOOD)
    _, filters = read_checkpoint(found, "x", "compat", {"since": None, "until": None})
    assert filters == {"since": "2026-01-01T00:00:00Z", "until": "2026-02-01T00:00:00Z"}
    with pytest.raises(ValueError, match="since is '2025"):
        read_checkpoint(found, "x", "compat", {"since": "2025-01-01T00:00:00Z", "until": None})


def test_a_checkpoint_of_version_1_is_read() -> None:
    """It has fewer ids, and is otherwise the same."""
    assert read_checkpoint(text(v=1), "executions.list", "compat", FILTERS)[0] == STOOD


@pytest.mark.parametrize(
    ("damaged", "said"),
    [
        ("", "not JSON"),
        ("{", "not JSON"),
        ("[" * 100_000, "not JSON"),
        ("[]", "version"),
        ("null", "version"),
        ('"text"', "version"),
        ("{}", "version"),
        (text(v=3), "version 2 or older"),
        (text(v="1"), "version"),
        (text(v=...), "version"),
        (text(start=-1), "invalid"),
        (text(start=None), "invalid"),
        (text(start=True), "invalid"),
        (text(place=9, last=[]), "invalid"),
        (text(place="34"), "invalid"),
        (text(place=34.0), "invalid"),
        (text(place=...), "invalid"),
        (text(total=-1), "invalid"),
        (text(total="99"), "invalid"),
        (text(last=...), "invalid"),
        (text(last="abc"), "invalid"),
        (text(last=["a", 1]), "invalid"),
        (text(filters=[]), "invalid"),
        (text(filters=...), "invalid"),
    ],
)
def test_damaged_text_is_refused(damaged: str, said: str) -> None:
    """Any other text is a ValueError."""
    with pytest.raises(ValueError, match="resume is not a checkpoint") as caught:
        read_checkpoint(damaged, "executions.list", "compat", FILTERS)
    assert said in str(caught.value)


@pytest.mark.parametrize("wrong", [b"{}", 3, {}, object()])
def test_what_is_no_text_is_a_type_error(wrong: object) -> None:
    """Bytes and other types are a TypeError."""
    with pytest.raises(TypeError, match="resume must be a checkpoint"):
        read_checkpoint(wrong, "executions.list", "compat", FILTERS)


@given(st.text() | st.recursive(st.none() | st.integers() | st.text(), st.lists).map(json.dumps))
def test_no_text_is_anything_but_a_value_error(any_text: str) -> None:
    """Arbitrary text is rejected with a ValueError, never with another error."""
    with pytest.raises(ValueError):
        read_checkpoint(any_text, "executions.list", "compat", FILTERS)


class TestAtTheCall:
    """Checks of `list(..., resume=...)` before anything is sent."""

    async def test_other_limits_and_bounds_are_free(self) -> None:
        """Limit, look-ahead, drift and max_rows may differ; the start may be left out or be the same."""
        async with Emulator(50) as emulator, EachLabs(emulator.api_key, hosts=emulator.hosts) as client:
            pager = client.executions.list(limit=10, offset=5, max_rows=12)
            rows = await pager.collect()
            for offset in (0, 5):
                rest = client.executions.list(
                    limit=7, look_ahead=2, drift="resync", offset=offset, max_rows=9, resume=pager.checkpoint
                )
                found = await rest.collect()
                assert [row.id for row in rows + found] == emulator.executions.ids()[5:26]

    async def test_another_start_filter_or_workflow_is_refused_at_once(self) -> None:
        """The call itself raises, and its error lists the differences."""
        async with Emulator(50) as emulator, EachLabs(emulator.api_key, hosts=emulator.hosts) as client:
            checkpoint = client.executions.list(offset=5, status="success").checkpoint
            with pytest.raises(ValueError, match="status is None here, 'success' in the checkpoint"):
                client.executions.list(resume=checkpoint)
            with pytest.raises(ValueError, match="a walk from row 5, not from row 6"):
                client.executions.list(offset=6, status="success", resume=checkpoint)
            with pytest.raises(ValueError, match="endpoint"):
                client.workflow_executions.list("a", resume=checkpoint)
            checkpoint = client.workflow_executions.list("a").checkpoint
            with pytest.raises(ValueError, match="workflow_id is 'b' here, 'a' in the checkpoint"):
                client.workflow_executions.list("b", resume=checkpoint)
            assert not emulator.requests

    async def test_times_may_be_left_out(self) -> None:
        """A walk between two times is resumed without repeating them."""
        async with Emulator(50) as emulator, EachLabs(emulator.api_key, hosts=emulator.hosts) as client:
            rows = list(emulator.executions)
            since, until = rows[40]["created_at"], rows[10]["created_at"]
            pager = client.executions.list(since=since, until=until, limit=5, max_rows=12)
            first = await pager.collect()
            rest = await client.executions.list(limit=5, resume=pager.checkpoint).collect()
            assert [row.id for row in first + rest] == emulator.executions.ids()[10:41]
            assert len({seen.query["from"] for seen in emulator.log}) == 1
            # The rest begins at the time of the last row, and never above the upper bound of the first walk.
            asked = [seen.query["to"] for seen in emulator.log]
            assert asked[0] == max(asked)
            assert asked[-1] < asked[0]
