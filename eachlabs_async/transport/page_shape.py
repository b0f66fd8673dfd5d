"""Describe the paging dialect of a listing, as data for the table of endpoints; `pagination.engine` walks it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from attrs import field, frozen


@frozen(kw_only=True)
class PageShape:
    """How one listing is divided into pages.

    `dialect` is `"offset"` (the query has `limit` and `offset`, in rows) or `"page"` (`size` and `page`, counted from
    1). `rows` and `total` name fields of the response; `rows` is empty if the body itself is the array. `identity`
    names the field of a row that identifies it; `unique` is False if several rows can have the same one. `capped` names
    the field that must be false for the total to be exact, or is None if the total is always exact. `size` names the
    field with the size of a page. `largest` is the largest number of rows that one request may ask for. `words` maps
    arguments to the API's names for them, where they differ.
    """

    dialect: Literal["offset", "page"]
    rows: str
    identity: str
    unique: bool = True
    total: str | None = None
    capped: str | None = None
    size: str | None = None
    largest: int = 100
    words: Mapping[str, str] = field(factory=dict[str, str])
