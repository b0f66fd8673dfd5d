"""Make texts of a service fit for errors and log lines: without keys, printable and bounded, as pure functions.

Every text of a service that goes into an error or a log line passes `line` or `excerpt`.
"""

from __future__ import annotations

import re
from binascii import a2b_qp
from collections.abc import Collection, Sequence
from functools import reduce
from typing import Any, Final, cast

MAX_TEXT: Final = 2000
"""Characters of a text that an error keeps, before escaping."""
MAX_DEPTH: Final = 40
"""Levels of nested JSON that an error keeps."""

_MASK: Final = "***"
_MAX_ESCAPES: Final = 3
"""How often a text may have been escaped, for example as JSON in a URL in JSON."""
_MIN_TAIL: Final = 12
_MAX_DUMMY: Final = 3
"""Characters of a key that is no real one, but a dummy such as "key" in a test."""
_ENTITIES: Final = (
    ("&quot;", '"'),
    ("&#34;", '"'),
    ("&#39;", "'"),
    ("&#x27;", "'"),
    ("&lt;", "<"),
    ("&gt;", ">"),
    ("&amp;", "&"),
)
_TO_QUOTED_PRINTABLE: Final = bytes.maketrans(b"%=\r\n", b"=\x00  ")


def redact(text: str, secrets: Collection[str]) -> str:
    """Replace every secret in `text` by asterisks, even if a URL, JSON, XML or `repr` escapes some of its characters.

    A text with an escaped secret is returned without its escapes. The time is proportional to the length of the text,
    whatever it contains.
    """
    plain_secrets = [str.__str__(secret) for secret in secrets]
    text = reduce(_mask, plain_secrets, text)
    if not plain_secrets or not _may_have_escapes(text):
        return text
    wanted = {form for secret in plain_secrets for form in _forms(secret)}
    # The escape that a `%` before a secret begins may take its first characters.
    wanted |= {form[2:] for form in wanted if len(form) >= _MIN_TAIL}
    found = text
    for _ in range(_MAX_ESCAPES):
        before, found = found, _unescaped(found)
        if found == before:
            break
        if any(form in found for form in wanted):
            text = found = reduce(_mask, _longest_first(wanted), found)
    return text


def _mask(text: str, secret: str) -> str:
    """Replace a secret by asterisks. A dummy such as "key" is only replaced where it is a word."""
    if len(secret) > _MAX_DUMMY:
        return text.replace(secret, _MASK)
    return re.sub(rf"(?<![^\W_]){re.escape(secret)}(?![^\W_])", _MASK, text)


def _forms(secret: str) -> set[str]:
    """Return a secret, and what is left of it if its own escapes are undone."""
    forms = {secret}
    for _ in range(_MAX_ESCAPES):
        secret = _unescaped(secret)
        forms.add(secret)
    return forms - {""}


def _longest_first(texts: Collection[str]) -> list[str]:
    return sorted(texts, key=len, reverse=True)


def _may_have_escapes(text: str) -> bool:
    return "%" in text or "\\" in text or "&" in text


def _unescaped(text: str) -> str:
    """Undo one level of the escapes of URLs, JSON, XML and `repr`.

    Only functions that are written in C look at each character: a loop in Python takes 0.2 s for 1 MiB.
    """
    if "&" in text and ";" in text:
        for entity, char in _ENTITIES:
            text = text.replace(entity, char)
    if "\\" in text:
        text = text.replace("\\u00", "%").replace("\\x", "%").replace("\\", "")
    if "%" in text:
        # With another escape character this is the quoted-printable encoding.
        encoded = text.encode("utf-8", "surrogatepass").translate(_TO_QUOTED_PRINTABLE)
        text = a2b_qp(encoded).replace(b"\x00", b"=").decode("utf-8", "replace")
    return text


class _Escapes(dict[int, str]):
    """Maps each character to itself if it is printable, else to its escape, for `str.translate`."""

    def __missing__(self, code: int) -> str:
        char = chr(code)
        return char if char.isprintable() else repr(char)[1:-1]


def line(text: str, secrets: Collection[str], limit: int = MAX_TEXT) -> str:
    r"""Return a text of a service as it may appear in one line: redacted, then cut, then escaped.

    Line breaks, control characters and marks that change the direction of writing become their escapes, such as `\n`.
    """
    return _printable(redact(text, secrets)[:limit])


def excerpt(text: str, secrets: Collection[str], limit: int = MAX_TEXT) -> str:
    """Return the start of a document as `line` does, but with its line breaks."""
    return "\n".join(map(_printable, redact(text, secrets)[:limit].replace("\r\n", "\n").split("\n")))


def _printable(text: str) -> str:
    return text if text.isprintable() else text.translate(_Escapes())


def value(found: Any, secrets: Collection[str], depth: int = MAX_DEPTH) -> Any:
    """Return a JSON value whose texts are each a `line`. What is nested more deeply than `depth` is left out."""
    if isinstance(found, str):
        return line(found, secrets)
    if isinstance(found, list | dict) and not depth:
        return "..."
    if isinstance(found, list):
        return [value(item, secrets, depth - 1) for item in cast(Sequence[Any], found)]
    if isinstance(found, dict):
        pairs = cast(dict[str, Any], found).items()
        return {line(name, secrets): value(item, secrets, depth - 1) for name, item in pairs}
    return found
