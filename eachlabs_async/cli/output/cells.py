"""The text of one value in a table: short, printable, and exact where that matters."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

from ..screen_text import screen_text

if TYPE_CHECKING:
    from ...codec.columns import Content

_LONGEST: Final = 400
"""Characters of a value that a cell may show."""
_DIGITS: Final = 6
_EIGHTHS: Final = " ▏▎▍▌▋▊▉█"


def cell(value: Any, content: Content) -> str:
    """Return a value as one line: times without fractions, numbers with up to six decimal places, None as nothing."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}" if content != "text" else str(value)
    if isinstance(value, float):
        return number(value)
    if isinstance(value, str):
        if content == "time":
            return screen_text(value[:19].replace("T", " "))
        return screen_text(value[:_LONGEST])
    return screen_text(json.dumps(value, ensure_ascii=False, default=str)[:_LONGEST])


def bar(share: float, width: int) -> str:
    """Return a bar for a share of 0 to 1 in a column of some width, to an eighth of a character."""
    if share <= 0:
        return ""
    eighths = max(1, round(8 * width * min(share, 1.0)))
    return "█" * (eighths // 8) + (_EIGHTHS[eighths % 8] if eighths % 8 else "")


def number(value: float) -> str:
    """Return a number with up to six decimal places, or as Python writes it if that would show nothing of it."""
    text = f"{value:,.{_DIGITS}f}"
    if "." in text:
        whole, _, decimals = text.rstrip("0").partition(".")
        text = f"{whole}.{decimals}" if decimals else whole
    return text if float(text.replace(",", "")) or not value else repr(value)


def time_in(text: str, width: int) -> str:
    """Return a time as it fits a width: with seconds (19), to the minute (16), or without the year (11)."""
    if width >= len(text) or len(text) != 19:
        return text
    return text[:16] if width >= 16 else text[5:16]
