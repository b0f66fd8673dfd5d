r"""Make texts of a service fit for a terminal: nothing in them can act on it but as characters, as pure functions.

Control characters, escape sequences, marks that change the direction of writing, and characters without a width become
their escapes, such as `\x1b`, `\u202e` and `\u200b`.
"""

from __future__ import annotations

import json
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


class _Escapes(dict[int, str]):
    """Maps each character to itself if a screen shows it, else to its escape, for `str.translate`."""

    def __missing__(self, code: int) -> str:
        char = chr(code)
        text = self[code] = char if _is_shown(char) else self.escape(char)
        return text

    def escape(self, char: str) -> str:
        """Return the escape as Python writes it."""
        written = repr(char)[1:-1]
        return written if written != char else f"\\u{ord(char):04x}" if char < "\U00010000" else f"\\U{ord(char):08x}"


class _JSONEscapes(_Escapes):
    """Does so with the escapes of JSON, and keeps the line breaks between its values."""

    def escape(self, char: str) -> str:
        """Return the escape as JSON writes it."""
        return char if char == "\n" else json.dumps(char)[1:-1] if char != "\x7f" else "\\u007f"


def _is_shown(char: str) -> bool:
    return char.isprintable() and ord(char) not in _INVISIBLE


_ESCAPES: Final = _Escapes()
_ESCAPES_OF_BLOCKS: Final = _Escapes({0x0A: "\n"})
_ESCAPES_IN_JSON: Final = _JSONEscapes()


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
    return text if text.isascii() and "\x7f" not in text else text.translate(_ESCAPES_IN_JSON)


def _without_towers(text: str) -> str:
    return text if text.isascii() else _TOO_MANY_MARKS.sub(lambda found: _ESCAPES.escape(found.group()), text)
