"""Owns how a listing pages, as data for the table of endpoints; refuses to page."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from attrs import field, frozen


@frozen(kw_only=True)
class PageShape:
    """How one listing pages: the words of its query and of its answer.

    `dialect` is `"offset"` (`limit` and `offset`, in rows) or `"page"` (`size` and `page`, counted from 1).
    `rows` and `total` name the envelope's fields; `rows` is empty where the body itself is the array. `capped` names
    the field that must be false for the total to be exact; None where the total always is. `largest` is the most rows
    that one request may ask for; `words` are the wire's words for arguments that have other names here.
    """

    dialect: Literal["offset", "page"]
    rows: str
    identity: str
    total: str | None = None
    capped: str | None = None
    size: str | None = None
    largest: int = 100
    words: Mapping[str, str] = field(factory=dict[str, str])
