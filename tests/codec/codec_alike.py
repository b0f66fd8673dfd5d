"""Compare the two readers of the codec, down to types, signs of zero and zones."""

from __future__ import annotations

import struct
from datetime import UTC, datetime
from typing import Any

import attrs
import pytest
from internals import HAS_MSGSPEC

from eachlabs_async.codec import fast
from eachlabs_async.codec.strict import decode, decode_strict
from eachlabs_async.errors import ResponseDecodeError

needs_msgspec = pytest.mark.skipif(not HAS_MSGSPEC, reason="compares msgspec with cattrs")


def refusal(body: bytes, kind: Any) -> ResponseDecodeError:
    with pytest.raises(ResponseDecodeError) as caught:
        decode(body, kind)
    assert caught.value.__context__ is None
    return caught.value


def execution(**fields: str) -> bytes:
    """Return an execution as JSON; further fields are given as JSON text."""
    return ("{" + ",".join(['"id":"a","status":"b"', *(f'"{k}":{v}' for k, v in fields.items())]) + "}").encode()


def spell(value: Any) -> Any:
    """Return what distinguishes `value` from similar values: types, signs of zero, zones, key order."""
    if attrs.has(type(value)):
        return type(value), [spell(getattr(value, field.name)) for field in attrs.fields(type(value))]
    if isinstance(value, dict):
        return dict, [(spell(key), spell(item)) for key, item in value.items()]
    if isinstance(value, list):
        return list, [spell(item) for item in value]
    if isinstance(value, float):
        return float, struct.pack("d", value)
    if isinstance(value, datetime):
        return datetime, value.tzinfo is UTC, value.isoformat()
    return type(value), value


def read(reader: Any, body: bytes, kind: Any) -> Any:
    try:
        return spell(reader(body, kind))
    except ResponseDecodeError as error:
        return error.path, error.message, error.body


def assert_alike(body: bytes, kind: Any) -> bool:
    """Assert that both readers agree; return whether the fast one gave an answer."""
    assert read(decode, body, kind) == read(decode_strict, body, kind)
    return fast.fast_reader(kind)(body) is not None
