"""Holds what is refused at the call, before anything is sent, and how."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from raw_server import RawServer, client_of, hosts_at

from eachlabs_async.transport.arguments import checked_count, checked_text, checked_time, checked_words


class TestCount:
    @pytest.mark.parametrize(("value", "limits"), [(0, {}), (1, {"least": 1}), (100, {"least": 1, "most": 100})])
    def test_a_number_within_its_range_passes(self, value: int, limits: dict[str, int]) -> None:
        """The ends of the range belong to it."""
        assert checked_count("limit", value, **limits) == value

    @pytest.mark.parametrize(
        ("value", "limits", "error", "says"),
        [
            (-1, {}, ValueError, "limit must be at least 0, not -1"),
            (0, {"least": 1}, ValueError, "limit must be at least 1, not 0"),
            (0, {"least": 1, "most": 100}, ValueError, "limit must be between 1 and 100, not 0"),
            (101, {"least": 1, "most": 100}, ValueError, "limit must be between 1 and 100, not 101"),
            (True, {}, TypeError, "limit must be an int, not bool"),
            (1.0, {}, TypeError, "limit must be an int, not float"),
            ("1", {}, TypeError, "limit must be an int, not str"),
            (None, {}, TypeError, "limit must be an int, not NoneType"),
        ],
    )
    def test_any_other_is_refused_with_name_and_range(
        self, value: object, limits: dict[str, int], error: type[Exception], says: str
    ) -> None:
        """The error says the argument and what it takes."""
        with pytest.raises(error, match=says):
            checked_count("limit", value, **limits)


class TestText:
    @pytest.mark.parametrize("value", [None, "x", " ", "a b"])
    def test_text_passes_as_it_is(self, value: str | None) -> None:
        """None is no filter."""
        assert checked_text("model", value) == value

    @pytest.mark.parametrize(
        ("value", "error", "says"),
        [
            ("", ValueError, "model must not be empty"),
            (7, TypeError, "model must be a str, not int"),
            (b"x", TypeError, "model must be a str, not bytes"),
            (["x"], TypeError, "model must be a str, not list"),
            ("a\ud800b", ValueError, "model must be text that UTF-8 can encode"),
        ],
    )
    def test_empty_and_other_things_are_refused(self, value: object, error: type[Exception], says: str) -> None:
        """An empty filter would silently be no filter, and a lone surrogate has no bytes."""
        with pytest.raises(error, match=says):
            checked_text("model", value)


def generated() -> Iterator[str]:
    yield "error"
    yield "success"


class TestWords:
    @pytest.mark.parametrize(
        ("value", "text"),
        [
            (None, None),
            ("success", "success"),
            ("success,error", "success,error"),
            (" success , error ", "success,error"),
            (["success", "error"], "success,error"),
            (("success",), "success"),
            ({"success": 1}, "success"),
            (["success,error", "created"], "success,error,created"),
            (generated(), "error,success"),
        ],
    )
    def test_one_word_or_several_are_joined(self, value: Any, text: str | None) -> None:
        """Any iterable, and the wire's own comma form, give the wire's form in the given order."""
        assert checked_words("status", value, {"success", "error", "created"}) == text

    @pytest.mark.parametrize(
        ("value", "error", "says"),
        [
            ("", ValueError, "status must not be empty"),
            (" ", ValueError, "status must not be empty"),
            ("success,", ValueError, "status must not be empty"),
            ([], ValueError, "status must not be empty"),
            (["success", ""], ValueError, "status must not be empty"),
            ("done", ValueError, "status must be one of error, success, not 'done'"),
            ("success,done", ValueError, "not 'done'"),
            (7, TypeError, "status must be a str or several, not int"),
            (b"success", TypeError, "status must be a str or several, not bytes"),
            ([b"success"], TypeError, "status must be a str or several, not one of bytes"),
            ([None], TypeError, "not one of NoneType"),
        ],
    )
    def test_what_the_service_would_refuse_is_refused(self, value: object, error: type[Exception], says: str) -> None:
        """Empty words, words that are not in the set, and what is no text."""
        with pytest.raises(error, match=says):
            checked_words("status", value, {"success", "error"})

    def test_an_open_set_takes_any_word(self) -> None:
        """Without a set nothing is held against it, but that it has bytes."""
        assert checked_words("status", ["new", "word"]) == "new,word"
        with pytest.raises(ValueError, match="status must be text that UTF-8 can encode"):
            checked_words("status", ["new", "a\ud800b"])


class TestTime:
    @pytest.mark.parametrize(
        ("value", "text"),
        [
            (None, None),
            (datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC), "2026-01-02T03:04:05Z"),
            (datetime(2026, 1, 2, 3, 4, 5, 678, tzinfo=UTC), "2026-01-02T03:04:05.000678Z"),
            (datetime(2026, 1, 2, tzinfo=timezone(timedelta(hours=2))), "2026-01-01T22:00:00Z"),
            ("2026-01-02T03:04:05Z", "2026-01-02T03:04:05Z"),
            ("2026-01-02T03:04:05+02:00", "2026-01-02T01:04:05Z"),
            ("2026-01-02T03:04:05.5-00:30", "2026-01-02T03:34:05.500000Z"),
            ("2026-01-02T03:04:05.123456789Z", "2026-01-02T03:04:05.123456Z"),
        ],
    )
    def test_a_moment_is_written_in_utc(self, value: Any, text: str | None) -> None:
        """Aware datetimes and RFC 3339 text with a zone become the wire's form."""
        assert checked_time("since", value) == text

    @pytest.mark.parametrize(
        ("value", "error", "says"),
        [
            (datetime(2026, 1, 2), ValueError, "since must have a time zone"),
            ("2026-01-02T03:04:05", ValueError, "since must have a time zone"),
            ("2026-01-02", ValueError, "since must have a time zone"),
            ("yesterday", ValueError, "since must be RFC 3339 text, not 'yesterday'"),
            ("", ValueError, "since must be RFC 3339 text"),
            (date(2026, 1, 2), TypeError, "since must be an aware datetime or RFC 3339 text, not date"),
            (1767322800, TypeError, "not int"),
            (datetime.min.replace(tzinfo=timezone(timedelta(hours=1))), ValueError, "years 1 to 9999"),
            (datetime.max.replace(tzinfo=timezone(timedelta(hours=-1))), ValueError, "years 1 to 9999"),
        ],
    )
    def test_a_moment_that_is_none_is_refused(self, value: object, error: type[Exception], says: str) -> None:
        """A naive time would be a guess; the error says which argument is meant."""
        with pytest.raises(error, match=says):
            checked_time("since", value)

    @given(st.datetimes(timezones=st.timezones()))
    def test_any_aware_moment_stays_the_same_moment(self, value: datetime) -> None:
        """What is written reads back as the moment that was given."""
        try:
            value.astimezone(UTC)
        except OverflowError:
            return
        text = checked_time("since", value)
        assert text is not None
        assert datetime.fromisoformat(text) == value.astimezone(UTC)


class TestCallbacks:
    @pytest.mark.parametrize("value", [5, "x", [print], 0])
    async def test_what_cannot_be_called_is_no_callback(self, value: Any) -> None:
        """Refused where it is given, before anything is sent, by every call that takes one."""
        async with RawServer() as server, client_of(server) as client:
            calls: list[Callable[[], Any]] = [
                lambda: client.executions.list(on_progress=value),
                lambda: client.workflow_executions.list("w", on_progress=value),
                lambda: client.runs.list(on_progress=value),
                lambda: client.runs.list_for_workflow("w", on_progress=value),
                lambda: client.workflow_executions.get_many(["x"], on_progress=value),
                lambda: client.flow_executions.get_many("w", ["x"], on_progress=value),
                lambda: client.predictions.get_many(["x"], on_progress=value),
                lambda: client.runs.get_many(["x"], on_progress=value),
                lambda: client.workflow_executions.list("w").hydrate(on_progress=value),
                lambda: client.predictions.map("m", [{}], on_progress=value),
                lambda: client.workflows.map("w", "v", [{}], on_progress=value),
            ]
            for call in calls:
                with pytest.raises(TypeError, match=f"on_progress must be callable, not {type(value).__name__}"):
                    call()
        assert not server.requests

    async def test_an_upload_refuses_it_too(self) -> None:
        """Before a place for the bytes is asked for."""
        async with RawServer() as server:
            async with client_of(server, hosts=hosts_at(server.url, unified=True)) as client:
                with pytest.raises(TypeError, match="on_progress must be callable, not int"):
                    await client.files.upload(b"x", content_type="image/png", on_progress=5)
        assert not server.requests


@pytest.mark.parametrize(
    ("arguments", "error", "says"),
    [
        ({"params": {1: "x"}}, TypeError, "params must have names that are str, not int"),
        ({"params": {"x": float("nan")}}, ValueError, r"params\['x'\] must be finite, not nan"),
        ({"params": ""}, TypeError, "params must be a mapping, not str"),
        ({"params": "a=b"}, TypeError, "params must be a mapping, not str"),
        ({"json": float("nan")}, ValueError, "json must be a value that JSON can represent: .*not JSON compliant"),
        ({"json": {"a": [float("inf")]}}, ValueError, "json must be a value that JSON can represent"),
        (
            {"json": object()},
            TypeError,
            "json must be a value that JSON can represent: .*object is not JSON serializable",
        ),
        ({"json": {("a",): 1}}, TypeError, "json must be a value that JSON can represent: keys must be"),
        ({"method": ["GET"]}, ValueError, r"method must be one of GET, .*, not \['GET'\]"),
        ({"method": {}}, ValueError, "method must be one of GET"),
        ({"method": None}, ValueError, "method must be one of GET"),
        ({"path": b"/x"}, TypeError, "path must be a str, not bytes"),
        ({"service": "other"}, ValueError, "service must be one of api, workflows, flows, runs, not 'other'"),
    ],
)
async def test_a_request_that_makes_no_sense_is_refused(
    arguments: dict[str, Any], error: type[Exception], says: str
) -> None:
    """The error names the argument, drags nothing along, and nothing is sent."""
    async with RawServer() as server, client_of(server) as client:
        with pytest.raises(error, match=says) as caught:
            await client.request(**({"service": "api", "method": "PUT", "path": "/x"} | arguments))
    assert caught.value.__context__ is None
    assert not server.requests
