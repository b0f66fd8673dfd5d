"""Owns the checks of what a caller gives; refuses to correct it: a bad value is an error that names the argument.

What the API would refuse is refused here, before anything is sent.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable
from datetime import UTC, datetime
from typing import Any, Final, cast

_SELECTOR: Final = re.compile(r"[a-z0-9]+(?:-[a-z0-9]+)*")
_SELECTOR_MOST: Final = 50


def checked_count(name: str, value: object, *, least: int = 0, most: int | None = None) -> int:
    """Check a whole number between `least` and `most`."""
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(f"{name} must be an int, not {type(value).__name__}")
    if value < least or (most is not None and value > most):
        wanted = f"between {least} and {most}" if most is not None else f"at least {least}"
        raise ValueError(f"{name} must be {wanted}, not {value}")
    return value


def checked_text(name: str, value: object) -> str | None:
    """Check an optional word for a filter: None, or text that is not empty."""
    if value is None:
        return None
    if not isinstance(value, str):
        raise TypeError(f"{name} must be a str, not {type(value).__name__}")
    if not value:
        raise ValueError(f"{name} must not be empty")
    return _carried(name, value)


def _carried(name: str, text: str) -> str:
    try:
        text.encode()
    except UnicodeEncodeError:
        raise ValueError(f"{name} must be text that UTF-8 can carry (it holds a lone surrogate)") from None
    return text


def checked_selector(name: str, value: object) -> str | None:
    """Check the optional name of a fallback chain: 1 to 50 lower-case letters and digits, single hyphens between."""
    if value is None:
        return None
    if not isinstance(value, str):
        raise TypeError(f"{name} must be a str, not {type(value).__name__}")
    if len(value) > _SELECTOR_MOST or not _SELECTOR.fullmatch(value):
        raise ValueError(
            f"{name} must be 1 to {_SELECTOR_MOST} lower-case letters (a-z) and digits, with single hyphens between "
            f"them, not {value[: _SELECTOR_MOST + 1]!r}"
        )
    return value


def checked_words(name: str, value: object, allowed: Collection[str] | None = None) -> str | None:
    """Check one word or several and join them with commas, as the wire takes them.

    `allowed` is the closed set of the words, None where any word goes.
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
        # A caller may have joined the words already: the wire's own form is no mistake.
        checked += [part.strip() for part in word.split(",")]
    if not checked or "" in checked:
        raise ValueError(f"{name} must not be empty")
    if allowed is not None:
        unknown = next((word for word in checked if word not in allowed), None)
        if unknown is not None:
            raise ValueError(f"{name} must be one of {', '.join(sorted(allowed))}, not {unknown!r}")
    return _carried(name, ",".join(checked))


def checked_moment(name: str, value: object) -> datetime:
    """Check a moment: an aware datetime, or RFC 3339 text with a zone; gives it in UTC."""
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
    """Check an optional moment, as `checked_moment` does, and write it as the wire takes it."""
    return None if value is None else rfc3339(checked_moment(name, value))


def rfc3339(moment: datetime) -> str:
    """Write a moment in UTC as RFC 3339."""
    return moment.isoformat().replace("+00:00", "Z")


def checked_callback(name: str, value: object) -> Any:
    """Take a callable or None; a `TypeError` that names the argument for anything else."""
    if value is not None and not callable(value):
        raise TypeError(f"{name} must be callable, not {type(value).__name__}")
    return value
