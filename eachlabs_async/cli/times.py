"""Read times as people write them: `30d`, `12h`, `yesterday`, ISO dates. All of them in UTC, as the services have them.

These are pure functions of a text and the present time.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Final

_AGO: Final = re.compile(r"(\d{1,6})\s*(s|sec|m|min|h|d|w)(?:\s+ago)?")
_SECONDS: Final = {"s": 1, "sec": 1, "m": 60, "min": 60, "h": 3600, "d": 86_400, "w": 604_800}
_DAY: Final = timedelta(days=1)

FORMS: Final = "30d, 12h, 45min, now, today, yesterday, 2026-09-01 or 2026-09-01T12:00Z (UTC)"
"""The forms of a time, as help and errors list them."""


def read_time(name: str, text: str | None, now: datetime) -> datetime | None:
    """Return the time that a text means, None for None; `name` is the option's, for the error.

    `30d` is so long before `now`, and `today` and `yesterday` begin at midnight in UTC. A date is its midnight, and a
    time without a zone is in UTC. Raises `ValueError` for another form.
    """
    if text is None:
        return None
    word = text.strip().lower()
    if word == "now":
        return now
    midnight = now.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    if word == "today":
        return midnight
    if word == "yesterday":
        return midnight - _DAY
    if found := _AGO.fullmatch(word):
        try:
            return now - timedelta(seconds=int(found[1]) * _SECONDS[found[2]])
        except OverflowError:
            raise ValueError(f"{name} lies before the year 1: {text!r}") from None
    try:
        moment = datetime.fromisoformat(text.strip())
    except ValueError:
        raise ValueError(f"{name} must be a time such as {FORMS}, not {text!r}") from None
    return moment if moment.utcoffset() is not None else moment.replace(tzinfo=UTC)


def read_duration(name: str, text: str) -> float:
    """Return the seconds that a text such as `90`, `30s` or `5min` means. Raises `ValueError` for another form."""
    word = text.strip().lower()
    if found := _AGO.fullmatch(word):
        return float(int(found[1]) * _SECONDS[found[2]])
    try:
        seconds = float(word)
    except ValueError:
        seconds = -1.0
    if not 0 <= seconds < 1e9:
        raise ValueError(f"{name} must be a duration such as 30s, 5min or 12h, not {text!r}")
    return seconds
