"""Holds the two readers of the codec against each other, down to types, signs of zero and zones."""

from __future__ import annotations

import struct
from datetime import UTC, datetime
from typing import Any

import attrs
import pytest
from internals import HAS_MSGSPEC

from eachlabs_async.codec import fast as _fast_reader
from eachlabs_async.codec.strict import decode, decode_strict
from eachlabs_async.errors import ResponseDecodeError

needs_msgspec = pytest.mark.skipif(not HAS_MSGSPEC, reason="compares msgspec with cattrs")


def refusal(body: bytes, kind: Any) -> ResponseDecodeError:
    with pytest.raises(ResponseDecodeError) as caught:
        decode(body, kind)
    assert caught.value.__context__ is None
    return caught.value


def execution(**fields: str) -> bytes:
    """Write an execution whose further fields are given as JSON text."""
    return ("{" + ",".join(['"id":"a","status":"b"', *(f'"{k}":{v}' for k, v in fields.items())]) + "}").encode()


def spell(value: Any) -> Any:
    """Give what tells `value` from all that is not just like it: types, signs of zero, zones, key order."""
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
    """Hold the readers against each other; say whether the fast one ventured an answer."""
    assert read(decode, body, kind) == read(decode_strict, body, kind)
    return _fast_reader.fast_reader(kind)(body) is not None
