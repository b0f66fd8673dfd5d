"""The checkpoint of following a listing: the state as text, about as long as it has rows to remember.

It takes 12 characters for each row created within `settle_s` of the newest one, and about 30 for each execution that is
still awaited with `finished`.
"""

from __future__ import annotations

import json
from base64 import b64decode, b64encode
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Final, cast

from ..transport.arguments import checked_moment, rfc3339
from .checkpoint import INHERITED_FILTERS, check_same_walk, parse_checkpoint
from .follow_state import UNKNOWN, FollowState

_ENDPOINT: Final = "executions.follow"
_VERSION: Final = 1
_KEY_SIZE: Final = 9
_TIMES: Final = ("floor", "newest", "below", "above", "start")
_FLAGS: Final = ("skips", "adopts")
_INVALID: Final = "resume is not a checkpoint of follow(): a part of it is missing or invalid"


def write_follow_checkpoint(arguments: Mapping[str, object], state: FollowState) -> str:
    """Return the state as text; `arguments` are those of the caller that a resumed run must have too."""
    times = {name: time for name in _TIMES if (time := getattr(state, name)) is not None}
    return json.dumps(
        {
            "v": _VERSION,
            "endpoint": _ENDPOINT,
            "filters": {name: value for name, value in arguments.items() if value is not None},
            **{name: rfc3339(time) for name, time in times.items()},
            **{name: True for name in _FLAGS if getattr(state, name)},
            "seen": b64encode(b"".join(state.remembered)).decode(),
            "open": [[b64encode(key).decode(), int(created.timestamp())] for key, created in state.open.items()],
        },
        separators=(",", ":"),
    )


def read_follow_checkpoint(
    text: object, arguments: Mapping[str, object], settle: timedelta
) -> tuple[FollowState, dict[str, object]]:
    """Parse a checkpoint; return the state and the arguments, completed with those that the checkpoint records.

    Raises `TypeError` or `ValueError` if `text` is no checkpoint, or one with other arguments.
    """
    parts = parse_checkpoint(text)
    theirs: Any = parts.get("filters")
    if parts.get("v") != _VERSION or parts.get("endpoint") != _ENDPOINT or not isinstance(theirs, dict):
        raise ValueError(f"resume is not a checkpoint of follow(), version {_VERSION}")
    before = cast(dict[str, object], theirs)
    mine = {
        name: before.get(name) if value is None and name in INHERITED_FILTERS else value
        for name, value in arguments.items()
    }
    check_same_walk(mine, before)
    try:
        floor, newest, below, above, start = (
            checked_moment(name, parts[name]) if name in parts else None for name in _TIMES
        )
        seen = b64decode(parts["seen"], validate=True)
        opened = {b64decode(key, validate=True): datetime.fromtimestamp(created, UTC) for key, created in parts["open"]}
        if len(seen) % _KEY_SIZE or any(len(key) != _KEY_SIZE for key in opened):
            raise ValueError
    except (KeyError, TypeError, ValueError, OverflowError, OSError):
        raise ValueError(_INVALID) from None
    keys = [seen[at : at + _KEY_SIZE] for at in range(0, len(seen), _KEY_SIZE)]
    state = FollowState(
        settle,
        finished=bool(before.get("finished")),
        floor=floor,
        newest=newest,
        below=below,
        above=above,
        start=start,
        skips=parts.get("skips") is True,
        adopts=parts.get("adopts") is True,
        remembered=dict.fromkeys(keys, UNKNOWN),
        open=opened,
    )
    return state, mine
