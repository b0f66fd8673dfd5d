"""Tests for writing requests and for reading responses other than successes, as tables."""

from __future__ import annotations

import enum
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any
from urllib.parse import parse_qsl, unquote

import pytest
from hypothesis import given
from hypothesis import strategies as st
from yarl import URL

from eachlabs_async.errors import ConfigurationError
from eachlabs_async.transport.endpoints import GET_FLOW_EXECUTION, GET_RUN, GET_WORKFLOW_EXECUTION, Endpoint
from eachlabs_async.transport.wire import checked_path, query, retry_after_s, segment

NOW = datetime(2026, 8, 1, 12, 0, tzinfo=UTC)


class Answered(dict[str, str]):
    """Headers in the form that `wire` reads."""


class TestSegment:
    @pytest.mark.parametrize(
        ("value", "encoded"),
        [
            ("abc-DEF_09~", "abc-DEF_09~"),
            ("a/b", "a%2Fb"),
            ("a?b#c", "a%3Fb%23c"),
            ("100%", "100%25"),
            ("%2F", "%252F"),
            ("a b", "a%20b"),
            ("a+b&c=d;e", "a%2Bb%26c%3Dd%3Be"),
            ("é", "%C3%A9"),
            ("日本", "%E6%97%A5%E6%9C%AC"),
            ("\U0001f600", "%F0%9F%98%80"),
            ("..a", "..a"),
            ("...", "..."),
            ("../../x", "..%2F..%2Fx"),
            ("a\r\nX: y", "a%0D%0AX%3A%20y"),
            ("a\\b", "a%5Cb"),
            ("{execution_id}", "%7Bexecution_id%7D"),
            ("\x00", "%00"),
        ],
    )
    def test_an_id_is_one_segment_whatever_is_in_it(self, value: str, encoded: str) -> None:
        """Everything but the unreserved characters is percent-encoded, above all the slash."""
        assert segment("run_id", value) == encoded

    @pytest.mark.parametrize(
        ("value", "error", "says"),
        [
            ("", ValueError, "run_id must not be empty"),
            (".", ValueError, "run_id must not be '.'"),
            ("..", ValueError, "run_id must not be '..'"),
            ("a\ud800b", ValueError, "run_id must be text that UTF-8 can encode"),
            (None, TypeError, "run_id must be a str, not NoneType"),
            (7, TypeError, "run_id must be a str, not int"),
            (b"x", TypeError, "run_id must be a str, not bytes"),
        ],
    )
    def test_what_cannot_be_an_id_is_refused_by_name(self, value: object, error: type[Exception], says: str) -> None:
        """The error names the argument; that for a lone surrogate has no Unicode error as its context."""
        with pytest.raises(error, match=says) as caught:
            segment("run_id", value)
        assert type(caught.value) is error
        assert caught.value.__cause__ is None

    @given(st.text(min_size=1).filter(lambda text: text not in (".", "..")))
    def test_any_text_comes_back_whole_from_the_url(self, value: str) -> None:
        """Decoding the one segment returns the id, and a URL keeps it as written."""
        try:
            value.encode()
        except UnicodeEncodeError:
            return
        encoded = segment("id", value)
        assert "/" not in encoded
        assert unquote(encoded) == value
        url = URL("https://h/v1").with_path(f"/v1/runs/{encoded}", encoded=True)
        assert url.raw_path == f"/v1/runs/{encoded}"


class Word(str, enum.Enum):  # noqa: UP042  # callers on older code have these
    DONE = "done"


class TestExpand:
    def test_each_edition_has_its_path(self) -> None:
        """The template of the edition is filled with encoded arguments."""
        assert GET_WORKFLOW_EXECUTION.expand("compat", execution_id="a/b") == "/executions/a%2Fb"
        assert GET_WORKFLOW_EXECUTION.expand("unified", execution_id="a") == "/workflows/executions/a"
        path = GET_FLOW_EXECUTION.expand("compat", workflow_id="{execution_id}", execution_id="e")
        assert path == "/%7Bexecution_id%7D/executions/e"

    def test_an_enum_travels_as_its_value(self) -> None:
        """A member that is a `str` is sent as its value, not its name."""
        assert GET_RUN.expand("compat", run_id=Word.DONE) == "/runs/done"

    def test_the_error_names_the_argument(self) -> None:
        """Of two arguments the wrong one is named."""
        with pytest.raises(ValueError, match="execution_id must not be empty"):
            GET_FLOW_EXECUTION.expand("compat", workflow_id="w", execution_id="")

    def test_a_call_that_an_edition_lacks_is_a_configuration_error(self) -> None:
        """The error names the call and the edition."""
        only = Endpoint(name="x.get", service="api", method="GET", compat=None, unified="/x", response=GET_RUN.response)
        assert only.template("unified") == "/x"
        with pytest.raises(ConfigurationError, match="x.get is not part of the compat edition"):
            only.template("compat")


class TestQuery:
    @pytest.mark.parametrize(
        ("params", "text"),
        [
            ({}, ""),
            ({"a": None}, ""),
            ({"a": 1, "b": None, "c": "x"}, "a=1&c=x"),
            ({"from": "2026-01-01T00:00:00+02:00"}, "from=2026-01-01T00%3A00%3A00%2B02%3A00"),
            ({"a": "x y&z=1#?%"}, "a=x%20y%26z%3D1%23%3F%25"),
            ({"a": True, "b": False}, "a=true&b=false"),
            ({"a": ["x", 2, True]}, "a=x&a=2&a=true"),
            ({"a": ("x",)}, "a=x"),
            ({"a": []}, ""),
            ({"a": 1.5}, "a=1.5"),
            ({"é": "日"}, "%C3%A9=%E6%97%A5"),
            ({"a": ""}, "a="),
            ({"a": Word.DONE}, "a=done"),
        ],
    )
    def test_a_query_is_encoded(self, params: dict[str, object], text: str) -> None:
        """None is left out, a list is repeated, bools are JSON's words, and every character is safe."""
        assert query(params) == text

    @pytest.mark.parametrize(
        ("params", "error", "says"),
        [
            (
                {"a": object()},
                TypeError,
                "params\\['a'\\] must be a str, a number, a bool or a list, not object",
            ),
            ({"a": {"b": 1}}, TypeError, "params\\['a'\\]"),
            ({"a": b"x"}, TypeError, "params\\['a'\\]"),
            ({1: "x"}, TypeError, "params must have names that are str, not int"),
            ({None: None}, TypeError, "params must have names that are str, not NoneType"),
            ({"a": float("nan")}, ValueError, "params\\['a'\\] must be finite, not nan"),
            ({"a": float("inf")}, ValueError, "params\\['a'\\] must be finite, not inf"),
            ({"a": [1.5, float("-inf")]}, ValueError, "params\\['a'\\] must be finite, not -inf"),
            ({"a": [None]}, TypeError, "params\\['a'\\]"),
            ({"a": [["x"]]}, TypeError, "params\\['a'\\]"),
            ({"a": "\ud800"}, ValueError, "lone surrogate"),
            ([("a", "b")], TypeError, "params must be a mapping, not list"),
        ],
    )
    def test_what_no_query_can_carry_is_refused(self, params: Any, error: type[Exception], says: str) -> None:
        """The error names the parameter."""
        with pytest.raises(error, match=says) as caught:
            query(params)
        assert type(caught.value) is error

    @given(st.dictionaries(st.text(max_size=5), st.text(max_size=9)))
    def test_any_text_comes_back_from_the_query(self, params: dict[str, str]) -> None:
        """Decoding a query returns the parameters."""
        try:
            "".join([*params, *params.values()]).encode()
        except UnicodeEncodeError:
            return
        assert dict(parse_qsl(query(params), keep_blank_values=True)) == params


class TestCheckedPath:
    @pytest.mark.parametrize(
        ("path", "encoded"),
        [
            ("/executions", "/executions"),
            ("/", "/"),
            ("/a//b", "/a//b"),
            ("/a/%2Fb", "/a/%2Fb"),
            ("/@nick/w", "/@nick/w"),
            ("/a b/é", "/a%20b/%C3%A9"),
            ("/a\r\nX: y", "/a%0D%0AX:%20y"),
            ("/..a/...", "/..a/..."),
        ],
    )
    def test_a_whole_path_keeps_its_slashes_and_escapes(self, path: str, encoded: str) -> None:
        """Only characters that no path may contain are encoded."""
        assert checked_path(path) == encoded

    @pytest.mark.parametrize(
        "path",
        [
            "/a/../b",
            "/..",
            "/./a",
            "/%2e%2e/a",
            "/%2E./a",
            "/.%2e",
            "/..%2fb",
            "/a%2F..",
            "/..;/x",
            "/a/..;v=1/x",
            "/..%3B/x",
            "/%252e%252e/x",
            "/..\\x",
            "/a%5c..",
            "/a?b",
            "/a#b",
            "a",
            "",
            "\ud800",
        ],
    )
    def test_a_path_that_leads_elsewhere_is_refused(self, path: str) -> None:
        """Dot segments in any spelling, queries, fragments and relative paths are a `ValueError`."""
        with pytest.raises(ValueError, match="path must") as caught:
            checked_path(path)
        assert type(caught.value) is ValueError

    def test_a_lone_surrogate_is_refused(self) -> None:
        """It is a plain `ValueError` that says so."""
        with pytest.raises(ValueError, match="lone surrogate") as caught:
            checked_path("/\ud800")
        assert type(caught.value) is ValueError

    @pytest.mark.parametrize("path", [None, 7, b"/x"])
    def test_only_text_is_a_path(self, path: object) -> None:
        """Anything else is a `TypeError` that names the argument."""
        with pytest.raises(TypeError, match="path must be a str"):
            checked_path(path)


def date(delta_s: float, *, zone: str = "GMT") -> str:
    return format_datetime(NOW + timedelta(seconds=delta_s), usegmt=True).replace("GMT", zone)


class TestRetryAfter:
    @pytest.mark.parametrize(
        ("value", "seconds"),
        [
            (None, None),
            ("0", 0.0),
            ("7", 7.0),
            (" 7 ", 7.0),
            ("1.5", 1.5),
            ("2.", 2.0),
            ("", None),
            ("-1", None),
            ("+5", None),
            ("1e3", None),
            ("soon", None),
            ("nan", None),
            ("inf", None),
            ("٣", None),
            ("1,5", None),
            (date(30), 30.0),
            (date(-30), 0.0),
            (date(30, zone="-0000"), 30.0),
            (date(3600, zone="+0100"), 0.0),
            ("Sat, 99 Aug 2026 12:00:00 GMT", None),
            ("Fri, 31 Dec 9999 23:59:59 -2300", None),
            ("GMT", None),
        ],
    )
    def test_seconds_and_dates_are_read(self, value: str | None, seconds: float | None) -> None:
        """Seconds, fractions and dates count from now, never below 0; anything else is ignored."""
        headers = Answered() if value is None else Answered({"Retry-After": value})
        assert retry_after_s(headers, NOW) == seconds

    @pytest.mark.parametrize("digits", [9, 10, 20, 400])
    def test_an_absurd_wait_stays_a_wait(self, digits: int) -> None:
        """A number that is far too large must not lead to a retry at once."""
        wait = retry_after_s(Answered({"Retry-After": "9" * digits}), NOW)
        assert wait is not None
        assert wait >= 1e8

    @pytest.mark.parametrize(("skew_s", "seconds"), [(0, 30), (3600, 30), (-3600, 30)])
    def test_a_date_is_held_against_the_servers_own_clock(self, skew_s: int, seconds: float) -> None:
        """A clock that differs from ours does no harm if the response has a `Date`."""
        headers = Answered({"Retry-After": date(skew_s + 30), "Date": date(skew_s)})
        assert retry_after_s(headers, NOW) == seconds

    def test_a_senseless_date_header_counts_for_nothing(self) -> None:
        """Our own clock is used instead."""
        assert retry_after_s(Answered({"Retry-After": date(30), "Date": "yesterday"}), NOW) == 30
