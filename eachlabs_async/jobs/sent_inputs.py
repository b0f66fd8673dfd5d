"""The inputs of an execution as JSON: as they were sent, and how those of an execution compare to them.

Inputs are equal if their JSON is: `True` differs from `1`, `1` equals `1.0`, a tuple equals a list, and text is
compared character by character. A service may add defaults to the inputs that it shows.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any, Final, TypeGuard

from ..codec.strict import encode_json

Path = tuple[str, ...]
"""The keys that lead to a value in nested objects."""
HEADROOM: Final = 30
"""Levels of nesting that a request may add around the inputs."""
_EXACT_INTEGERS: Final = 2**53
_VARIES: Final = "varies"


def snapshot(value: Any) -> Any:
    """Return `value` as it is sent: a copy that later changes of `value` do not reach.

    Raises `TypeError` or `ValueError` if JSON cannot represent it.
    """
    wrapped = value
    for _ in range(HEADROOM):  # So that no request which contains it is nested too deeply.
        wrapped = [wrapped]
    try:
        copy = json.loads(encode_json(wrapped))
    except RecursionError:
        raise ValueError("the value is nested too deeply for JSON") from None
    for _ in range(HEADROOM):
        copy = copy[0]
    return copy


def digest(value: object) -> str:
    """Return a digest of an input, equal for equal JSON. Raises `TypeError` or `ValueError` if it is not JSON."""
    try:
        text = json.dumps(json.loads(encode_json(value), parse_float=_number), sort_keys=True, separators=(",", ":"))
    except RecursionError:
        raise ValueError("the value is nested too deeply for JSON") from None
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def _number(text: str) -> int | float:
    number = float(text)
    return int(number) if number.is_integer() else number


def _is_object(value: object) -> TypeGuard[dict[str, Any]]:
    return isinstance(value, dict)


def additions(found: Any, sent: Any, *, lenient: bool = False) -> dict[Path, str] | None:
    """Return what the inputs `found` have beyond `sent`, as digests by path, or None if they do not contain `sent`.

    With `lenient`, a null that is missing and a whole number that a float cannot hold exactly are no difference.
    """
    added: dict[Path, str] = {}
    try:
        if found == sent and json.dumps(found, sort_keys=True) == json.dumps(sent, sort_keys=True):
            return added  # The usual case, at a fraction of the cost.
        return added if _contains(found, sent, (), added, lenient) else None
    except (RecursionError, TypeError, ValueError):
        return None


def _contains(found: Any, sent: Any, path: Path, added: dict[Path, str], lenient: bool) -> bool:
    if _is_object(found) and _is_object(sent):
        for name, value in sent.items():
            if name not in found:
                if lenient and value is None:
                    continue
                return False
            if not _contains(found[name], value, (*path, name), added, lenient):
                return False
        for name in found.keys() - sent.keys():
            added[*path, name] = digest(found[name])
        return True
    if lenient and isinstance(found, int | float) and isinstance(sent, int) and abs(sent) > _EXACT_INTEGERS:
        return float(found) == float(sent)
    return digest(found) == digest(sent)


class Defaults:
    """What a service was seen to add to inputs: by path, the digest of the value, or that it varies."""

    __slots__ = ("_added",)

    def __init__(self) -> None:
        self._added: dict[Path, str] = {}

    def learn(self, added: Mapping[Path, str]) -> None:
        """Record what an execution of this client has beyond the inputs that were sent."""
        for path, value in added.items():
            if self._added.setdefault(path, value) != value:
                self._added[path] = _VARIES

    def explain(self, added: Mapping[Path, str]) -> bool:
        """Whether all of `added` are defaults."""
        return all(self._added.get(path) in (value, _VARIES) for path, value in added.items())

    def are_fixed(self, added: Mapping[Path, str]) -> bool:
        """Whether all of `added` are defaults that have always had this value."""
        return all(self._added.get(path) == value for path, value in added.items())
