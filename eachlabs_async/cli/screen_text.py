r"""Make texts of a service fit for a terminal: nothing in them can act on it but as characters, as pure functions.

Control characters, escape sequences, marks that change the direction of writing, and characters without a width become
their escapes, such as `\x1b`, `\u202e` and `\u200b`.
"""

from __future__ import annotations

import re
from typing import Final

_INVISIBLE: Final = frozenset(
    {0x034F, 0x115F, 0x1160, 0x17B4, 0x17B5, 0x180B, 0x180C, 0x180D, 0x180F, 0x2065, 0x2800, 0x3164, 0xFFA0}
    | {*range(0xE0000, 0xE1000)}
)
"""Letters and marks that Python calls printable, and that a screen does not show."""
_TOO_MANY_MARKS: Final = re.compile(r"(?<=[\u0300-\u036f\u0483-\u0489\u1ab0-\u1aff\u1dc0-\u1dff\u20d0-\u20ff]{4})"
    r"[\u0300-\u036f\u0483-\u0489\u1ab0-\u1aff\u1dc0-\u1dff\u20d0-\u20ff]")  # fmt: skip
"""A combining mark after four others, as texts that climb over their neighbours have them."""
_UNSAFE_IN_JSON: Final = re.compile(
    "[\x7f-\x9f\xad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u2028-\u202e\u2060-\u206f\u2800\u3164"
    "\ud800-\udfff\ufeff\uffa0\ufff0-\ufffb\U00013430-\U0001345f\U0001bca0-\U0001bca3\U0001d173-\U0001d17a"
    "\U000e0000-\U000e0fff]"
)


class _Escapes(dict[int, str]):
    """Maps each character to itself if a screen shows it, else to its escape, for `str.translate`."""

    def __missing__(self, code: int) -> str:
        char = chr(code)
        shown = char.isprintable() and code not in _INVISIBLE
        text = char if shown else _escape(char)
        self[code] = text
        return text


def _escape(char: str) -> str:
    written = repr(char)[1:-1]
    if written != char:
        return written
    code = ord(char)
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


_ESCAPES: Final = _Escapes()
_ESCAPES_OF_BLOCKS: Final = _Escapes({0x0A: "\n"})


def screen_text(text: str) -> str:
    """Return a text as one line of a terminal shows it: line breaks and tabs are escaped too."""
    return _without_towers(text if text.isascii() and text.isprintable() else text.translate(_ESCAPES))


def screen_block(text: str) -> str:
    """Return a text as `screen_text` does, but with its line breaks."""
    return _without_towers(text.replace("\r\n", "\n").translate(_ESCAPES_OF_BLOCKS))


def screen_json(text: str) -> str:
    """Return JSON with the characters that a terminal would not show as text escaped as JSON does; its value stays.

    JSON has such characters in strings only, and escapes those below U+0020 itself.
    """
    return text if text.isascii() and "\x7f" not in text else _UNSAFE_IN_JSON.sub(_json_escape, text)


def _json_escape(found: re.Match[str]) -> str:
    code = ord(found.group())
    if code < 0x10000:
        return f"\\u{code:04x}"
    code -= 0x10000
    return f"\\u{0xD800 + (code >> 10):04x}\\u{0xDC00 + (code & 0x3FF):04x}"


def _without_towers(text: str) -> str:
    return text if text.isascii() else _TOO_MANY_MARKS.sub(lambda found: _escape(found.group()), text)
