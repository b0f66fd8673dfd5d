"""The statistics of a sync."""

from __future__ import annotations

from datetime import datetime

from attrs import frozen


@frozen(kw_only=True)
class SyncStats:
    """What a sync has done, so far or in all.

    `rows` were read, of which `new` were not in the archive and `changed` had other values there, or were marked as
    deleted. `deleted` rows are gone from the service: they stay in the archive, marked. `unreadable` rows cannot be
    read as records; they are in the table `unreadable_rows`. `requests` counts the pages requested, and the executions
    fetched by id. `since` and `until` are the span of creation times, `until` None if it was open, both None for the
    executions of a workflow. `elapsed_s` is in seconds.
    """

    rows: int = 0
    new: int = 0
    changed: int = 0
    deleted: int = 0
    unreadable: int = 0
    requests: int = 0
    since: datetime | None = None
    until: datetime | None = None
    elapsed_s: float = 0.0
