"""Check the arguments of public methods.

A value that the API would reject raises `TypeError` or `ValueError` with the name of the argument, before anything is
sent. No value is corrected.
"""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Iterable
from datetime import UTC, datetime
from typing import Any, Final, cast

_SELECTOR: Final = re.compile(r"[a-z0-9]+(?:-[a-z0-9]+)*")
_SELECTOR_LENGTH: Final = 50


def checked_count(name: str, value: object, *, least: int = 0, most: int | None = None) -> int:
    """Return a whole number that is at least `least` and at most `most`."""
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(f"{name} must be an int, not {type(value).__name__}")
    if value < least or (most is not None and value > most):
        wanted = f"between {least} and {most}" if most is not None else f"at least {least}"
        raise ValueError(f"{name} must be {wanted}, not {value}")
    return value


def checked_seconds(name: str, value: object, *, or_zero: bool = False) -> float:
    """Return a finite number of seconds above 0, or 0 with `or_zero`."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError(f"{name} must be a number, not {type(value).__name__}")
    if not math.isfinite(value) or value < 0 or (value == 0 and not or_zero):
        raise ValueError(f"{name} must be {'at least' if or_zero else 'more than'} 0 and finite, not {value}")
    return float(value)


def checked_text(name: str, value: object) -> str | None:
    """Return an optional text, which must not be empty."""
    if value is None:
        return None
    if not isinstance(value, str):
        raise TypeError(f"{name} must be a str, not {type(value).__name__}")
    if not value:
        raise ValueError(f"{name} must not be empty")
    return _encodable(name, value)


def _encodable(name: str, text: str) -> str:
    try:
        text.encode()
    except UnicodeEncodeError:
        raise ValueError(f"{name} must be text that UTF-8 can encode (it contains a lone surrogate)") from None
    return text


def checked_selector(name: str, value: object) -> str | None:
    """Return the optional name of a fallback chain: 1 to 50 lower-case letters and digits, with single hyphens."""
    if value is None:
        return None
    if not isinstance(value, str):
        raise TypeError(f"{name} must be a str, not {type(value).__name__}")
    if len(value) > _SELECTOR_LENGTH or not _SELECTOR.fullmatch(value):
        raise ValueError(
            f"{name} must be 1 to {_SELECTOR_LENGTH} lower-case letters (a-z) and digits, with single hyphens between "
            f"them, not {value[: _SELECTOR_LENGTH + 1]!r}"
        )
    return value


def checked_words(name: str, value: object, allowed: Collection[str] | None = None) -> str | None:
    """Return one word or several as text joined with commas, as the API takes them.

    `allowed` is the set of valid words; None allows any word.
    """
    if value is None:
        return None
    words = [value] if isinstance(value, str) else value
    if isinstance(words, bytes) or not isinstance(words, Iterable):
        raise TypeError(f"{name} must be a str or several, not {type(value).__name__}")
    checked: list[str] = []
    for word in cast(Iterable[object], words):
        if not isinstance(word, str):
            raise TypeError(f"{name} must be a str or several, not one of {type(word).__name__}")
        # Words that the caller joined with commas, in the form of the API, are valid too.
        checked += [part.strip() for part in word.split(",")]
    if not checked or "" in checked:
        raise ValueError(f"{name} must not be empty")
    if allowed is not None:
        unknown = next((word for word in checked if word not in allowed), None)
        if unknown is not None:
            raise ValueError(f"{name} must be one of {', '.join(sorted(allowed))}, not {unknown!r}")
    return _encodable(name, ",".join(checked))


def checked_moment(name: str, value: object) -> datetime:
    """Return a moment in UTC. It must be an aware datetime or RFC 3339 text with a time zone."""
    if isinstance(value, str):
        try:
            moment = datetime.fromisoformat(value)
        except ValueError:
            raise ValueError(f"{name} must be RFC 3339 text, not {value!r}") from None
    elif isinstance(value, datetime):
        moment = value
    else:
        raise TypeError(f"{name} must be an aware datetime or RFC 3339 text, not {type(value).__name__}")
    if moment.utcoffset() is None:
        raise ValueError(f"{name} must have a time zone: {value!s} is naive")
    try:
        return moment.astimezone(UTC)
    except OverflowError:
        raise ValueError(f"{name} must lie within the years 1 to 9999 in UTC, not {value!s}") from None


def checked_time(name: str, value: object) -> str | None:
    """Return an optional moment, checked by `checked_moment`, as RFC 3339 text."""
    return None if value is None else rfc3339(checked_moment(name, value))


def checked_span(since: object, until: object) -> tuple[str | None, str | None]:
    """Return two optional moments as RFC 3339 text. Raises `ValueError` if `until` is before `since`."""
    first, last = checked_time("since", since), checked_time("until", until)
    if first is not None and last is not None and datetime.fromisoformat(first) > datetime.fromisoformat(last):
        raise ValueError(f"until must not be before since ({first}): it is {last}")
    return first, last


def rfc3339(moment: datetime) -> str:
    """Return a moment in UTC as RFC 3339 text."""
    return moment.isoformat().replace("+00:00", "Z")


def checked_callback(name: str, value: object) -> Any:
    """Return a callable or None. Raises `TypeError` for anything else."""
    if value is not None and not callable(value):
        raise TypeError(f"{name} must be callable, not {type(value).__name__}")
    return value
