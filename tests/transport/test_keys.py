"""Holds how keys are taken, held and told."""

from __future__ import annotations

import pickle
import traceback
from typing import Any

import pytest

from eachlabs_async import EachLabs
from eachlabs_async.errors import ConfigurationError
from eachlabs_async.transport.keys import Key, checked_key, key_headers, secrets_of


def test_a_key_is_text_that_does_not_show_itself() -> None:
    """`repr` is masked wherever the key stands; the wire gets the text."""
    key = Key("secret")
    assert key == "secret"
    assert f"{key}" == "secret"
    assert repr(key) == repr(Key("other")) == "'***'"
    assert "secret" not in repr({"a": [key], "b": (key,)})
    assert "secret" not in f"{key!r} {key!a}"
    assert repr(pickle.loads(pickle.dumps(key))) == "'***'"


@pytest.mark.parametrize(
    ("value", "key"),
    [(None, None), ("", None), (" \n", None), ("k", "k"), (" k\n", "k"), ("a b", "a b"), (Key("k"), "k")],
)
def test_keys_are_stripped_and_blank_is_none(value: object, key: str | None) -> None:
    """What a shell or a file leaves around a key does no harm."""
    taken = checked_key("api_key", value)
    assert taken == key
    assert taken is None or type(taken) is Key


@pytest.mark.parametrize("value", ["sécret", "sec\nret", "sec\x00ret", "sec\x7fret", "sec\tret", "sec\u2028ret"])
def test_a_key_that_no_header_can_carry_is_refused(value: str) -> None:
    """The error names the argument and does not show the key."""
    with pytest.raises(ConfigurationError, match="runs_api_key contains a character") as caught:
        checked_key("runs_api_key", value)
    assert "ret" not in str(caught.value)


@pytest.mark.parametrize("value", [7, b"secret", ["secret"]])
def test_only_text_is_a_key(value: object) -> None:
    """Anything else is a `TypeError` that names the argument and its type alone."""
    with pytest.raises(TypeError, match=f"^api_key must be a str, not {type(value).__name__}$"):
        checked_key("api_key", value)


@pytest.mark.parametrize("name", ["api_key", "runs_api_key"])
@pytest.mark.parametrize("bad", ["bad-sécret", b"bad-secret"])
def test_a_refused_key_is_in_no_traceback(name: str, bad: Any) -> None:
    """Also where a key is refused, the locals of the package's frames show neither key."""
    given = {"api_key": "good-secret", "runs_api_key": "good-secret", name: bad}
    try:
        EachLabs(**given)
    except (ConfigurationError, TypeError) as exc:
        told = traceback.TracebackException.from_exception(exc, capture_locals=True)
        told.stack = traceback.StackSummary.from_list(list(told.stack)[1:])  # The first frame is this one.
        text = "".join(told.format())
    assert "client.py" in text
    assert "cret" not in text


def test_each_style_has_its_header() -> None:
    """The header's value is masked too."""
    assert key_headers("x-api-key", Key("k")) == {"X-API-Key": "k"}
    bearer = key_headers("bearer", Key("k"))
    assert bearer == {"Authorization": "Bearer k"}
    assert repr(bearer) == "{'Authorization': '***'}"


def test_the_longest_secret_is_struck_first() -> None:
    """Else the rest of a key that begins with the other one would be left."""
    assert secrets_of((Key("ab"), None, Key("abc"), Key("abc"))) == ("abc", "ab")
