"""Tests for inputs as JSON: their copies, their digests, and what a service adds to them."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eachlabs_async.jobs.sent_inputs import Defaults, additions, digest, snapshot

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=2), inner, max_size=3),
    max_leaves=8,
)


@given(JSON)
def test_a_copy_equals_what_is_sent(value: Any) -> None:
    """It is what a service reads, and has the digest of the original."""
    assert snapshot(value) == json.loads(json.dumps(value))
    assert digest(snapshot(value)) == digest(value)
    assert additions(snapshot(value), value) == {}


def test_a_copy_is_not_changed_with_the_original() -> None:
    """At no depth."""
    value = {"a": [{"b": 1}]}
    copy = snapshot(value)
    value["a"][0]["b"] = 2
    assert copy == {"a": [{"b": 1}]}


@pytest.mark.parametrize(
    ("one", "other", "equal"),
    [
        ({"a": 1, "b": [1.5]}, {"b": [1.5], "a": 1}, True),
        ({"a": 1}, {"a": 2}, False),
        (1, 1.0, True),
        (1e16, 10**16, True),
        (2**60, 2**60 + 1, False),
        (True, 1, False),
        (False, 0, False),
        (None, False, False),
        ("1", 1, False),
        ((1, 2), [1, 2], True),
        ({1: "x"}, {"1": "x"}, True),
        ("e\u0301", "\u00e9", False),
        ([], {}, False),
        ([1, 2], [2, 1], False),
    ],
)
def test_inputs_are_equal_if_their_json_is(one: Any, other: Any, equal: bool) -> None:
    """With the types of JSON, in which there is one kind of number."""
    assert (digest(one) == digest(other)) is equal


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_what_is_no_json_is_an_error(value: Any) -> None:
    """So is a loop, a value of another type, and nesting that is too deep for a request."""
    deep: Any = []
    for _ in range(100_000):
        deep = [deep]
    loop: list[Any] = []
    loop.append(loop)
    for wrong in (value, deep, loop):
        with pytest.raises(ValueError, match=r"JSON|Circular|compliant"):
            snapshot(wrong)
        with pytest.raises(ValueError, match=r"JSON|Circular|compliant"):
            digest(wrong)
    with pytest.raises(TypeError):
        snapshot(object())


@pytest.mark.parametrize(
    ("found", "sent", "paths"),
    [
        ({"a": 1}, {"a": 1}, []),
        ({"a": 1, "b": 2}, {"a": 1}, [("b",)]),
        ({"a": {"b": 1, "c": 2}, "d": 3}, {"a": {"b": 1}}, [("a", "c"), ("d",)]),
        ({}, {"a": 1}, None),
        ({"a": 2}, {"a": 1}, None),
        ({"a": 1}, {"a": True}, None),
        ({"a": [1]}, {"a": [1, 2]}, None),
        ({"a": {}}, {"a": []}, None),
        ({}, {"a": None}, None),
        (None, {}, None),
    ],
)
def test_what_a_service_adds_is_found_at_any_depth(found: Any, sent: Any, paths: list[Any] | None) -> None:
    """Inputs that lack or change something of what was sent do not contain it."""
    added = additions(found, sent)
    assert (added if added is None else sorted(added)) == paths


def test_what_a_service_may_change_is_no_difference_where_an_answer_named_the_execution() -> None:
    """It may drop a null, and round a whole number that a float cannot hold."""
    sent = {"a": None, "seed": 2**60 + 1, "n": 1}
    assert additions({"seed": float(2**60), "n": 1}, sent, lenient=True) == {}
    assert additions({"seed": float(2**60), "n": 1}, sent) is None
    assert additions({"seed": float(2**60), "n": 2}, sent, lenient=True) is None


def test_defaults_are_learned_from_executions() -> None:
    """One that has had two values may have any."""
    defaults = Defaults()
    assert defaults.explain({})
    assert not defaults.explain({("a",): "1"})
    defaults.learn({("a",): "1", ("b",): "2"})
    assert defaults.explain({("a",): "1"})
    assert not defaults.explain({("a",): "2"})
    assert not defaults.explain({("a",): "1", ("c",): "1"})
    assert defaults.are_fixed({("a",): "1"})
    defaults.learn({("a",): "3"})
    assert defaults.explain({("a",): "2", ("b",): "2"})
    assert not defaults.are_fixed({("a",): "3"})
