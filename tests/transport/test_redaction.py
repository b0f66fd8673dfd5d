"""Tests for redacting keys and escaping what is not printable: in every spelling, and in linear time."""

from __future__ import annotations

import html
import json
from time import thread_time
from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eachlabs_async.transport.redaction import excerpt, line, redact, value

KEY = "sk-Secr3t/+=tail0123456789abcdef"
PRESIGNED = (
    "X-Amz-Credential=AKIA%2F20260801%2Fs3%2Faws4_request&X-Amz-Security-Token="
    + "IQoJb3JpZ2luX2Vj%2F%2Babc" * 60
    + f"&X-Amz-Signature={'0af9' * 16}"
)
MIB = 2**20
FLOODS = {
    "backslashes": "\\",
    "percents": "%",
    "ampersands": "&",
    "empty_entities": "&;",
    "escaped": "%2F",
    "slashes": "\\/",
    "unicode": "\\u002f",
    "entities": "&amp;",
    "keys": KEY,
    "escaped_keys": quote(KEY, safe=""),
    "starts": KEY[:-1],
    "spread": "\\".join(KEY[:-1]),
    "urls": PRESIGNED,
    "escaped_urls": json.dumps(PRESIGNED).replace("&", "\\u0026"),
    "cut_urls": PRESIGNED[:-1],
    "letters": "a",
    "controls": "\x1b",
    "surrogates": "\ud800%",
}


@pytest.mark.parametrize("secrets", [(KEY,), (PRESIGNED, "0af9" * 16, KEY), ("a" * 1500 + "b",)], ids=len)
@pytest.mark.parametrize("flood", FLOODS)
def test_a_mebibyte_takes_milliseconds(flood: str, secrets: tuple[str, ...]) -> None:
    """No text takes long, however often it escapes something or begins a secret."""
    text = FLOODS[flood] * (MIB // len(FLOODS[flood]))
    best = min(_seconds(lambda: line(text, secrets)) for _ in range(5))
    assert best < 0.05


def _seconds(action: Any) -> float:
    began = thread_time()
    action()
    return thread_time() - began


def test_a_new_long_secret_costs_nothing() -> None:
    """Each failed attempt of an upload may have another URL, which no cache knows."""
    urls = [f"{PRESIGNED}&n={n}" for n in range(20)]
    assert _seconds(lambda: [redact("%2F\\" * 100, (url,)) for url in urls]) < 0.05


SPELLINGS = {
    "plain": str,
    "url": lambda text: quote(text, safe=""),
    "lower": lambda text: "".join(f"%{ord(char):02x}" for char in text),
    "json": json.dumps,
    "json_escapes": lambda text: "".join(f"\\u{ord(char):04x}" for char in text),
    "solidus": lambda text: json.dumps(text).replace("/", "\\/"),
    "json_in_json": lambda text: json.dumps(json.dumps({"k": text.replace("/", "\\/")})),
    "url_in_url": lambda text: quote(quote(text, safe=""), safe=""),
    "repr": repr,
    "repr_bytes": lambda text: repr(text.encode()),
    "hex": lambda text: "".join(f"\\x{ord(char):02x}" for char in text),
    "xml": html.escape,
}


@pytest.mark.parametrize("spelling", SPELLINGS)
@pytest.mark.parametrize("key", [KEY, PRESIGNED, "a&b<c>d'e\"f\\g%h%2Fi", "%41%42cdefghijkl", "0123456789abcdef"])
@pytest.mark.parametrize("before", ["", "%", "\\", "%4", "\\u00", " "])
def test_every_spelling_is_redacted(key: str, spelling: str, before: str) -> None:
    """An escape before it may take its first two characters, and the rest is redacted all the same."""
    shown = redact(f"x {before}{SPELLINGS[spelling](key)} y", (key,))
    assert "***" in shown
    assert key[4:] not in shown
    assert shown.startswith("x ")
    assert shown.endswith(" y")


@given(st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=16), st.text(), st.text(), st.data())
def test_any_key_is_redacted_in_any_text(key: str, before: str, after: str, data: st.DataObject) -> None:
    """It is, whatever its characters are and whichever of them are escaped."""
    plain = before + key + after
    assert key not in redact(plain, (key,)).replace("***", "*" * 99 + "|")
    spelled = "".join(data.draw(st.sampled_from([char, f"%{ord(char):02X}"])) for char in key)
    if "%" not in key and "\\" not in key and "&" not in key:
        assert redact(f"< {spelled} >", (key,)) == "< *** >"


@given(st.text())
def test_a_text_without_a_secret_stays_as_it_is(text: str) -> None:
    """Escapes in it are not undone."""
    assert redact(text, ("never to be found here",)) == text
    assert redact(text, ()) == text


@given(st.text())
def test_a_line_is_printable_and_stays_itself(text: str) -> None:
    """What is printable is kept, the rest is escaped, and a second time changes nothing."""
    shown = line(text, ())
    assert shown.isprintable()
    assert line(shown, (), 99_999) == shown
    if text.isprintable():
        assert shown == text[:2000]


def test_a_document_keeps_its_line_breaks() -> None:
    """Nothing else in it can move the cursor or turn the direction of writing."""
    assert excerpt("a\r\nb\n\x1b\u202e\tc", ()) == "a\nb\n\\x1b\\u202e\\tc"


def test_values_are_cleaned_at_every_depth() -> None:
    """Names and texts are redacted and escaped, numbers stay, and what lies too deep is left out."""
    found = value({KEY: [{"a": f"{KEY}\n"}, 1, None, True]}, (KEY,))
    assert found == {"***": [{"a": "***\\n"}, 1, None, True]}
    assert value([[[1]]], (), 2) == [["..."]]


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("monkey-business", "monkey-business"),
        ("key", "***"),
        ("the key: key.", "the ***: ***."),
        ("X-API-Key=key&x=1", "X-API-Key=***&x=1"),
        ("keys and my_key_2", "keys and my_***_2"),
    ],
)
def test_a_short_key_hides_no_part_of_a_word(text: str, shown: str) -> None:
    """A dummy such as "key" is redacted where it stands alone."""
    assert redact(text, ["key"]) == shown
