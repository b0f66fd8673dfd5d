"""Tests that no text of a service can act on a terminal, and that nothing is lost by it."""

from __future__ import annotations

import json
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eachlabs_async.cli.output.cells import cell, number, time_in
from eachlabs_async.cli.screen_text import screen_block, screen_json, screen_text

HOSTILE = st.text(
    st.one_of(
        st.characters(exclude_categories=["Cs"]),
        st.sampled_from(
            "\ud800\x00\x07\x08\x1b\x7f\x85\x9b\xad\u061c\u200b\u200d\u202e\u2066\u2028\u2800\u3164\ufeff\U000e0041"
        ),
        st.characters(categories=["Cc", "Cf", "Co", "Zl", "Zp"]),
    )
)


@given(HOSTILE)
def test_a_line_has_no_character_that_acts(text: str) -> None:
    """Neither a control, an escape, a mark of direction nor an invisible character is left."""
    shown = screen_text(text)
    assert all(unicodedata.category(char) not in ("Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp") for char in shown)
    assert not set(shown) & set("\u2800\u3164\u115f\uffa0\u034f\U000e0101")


@given(st.text(st.sampled_from("abc XYZ äöü 日本 ✓ 🎉 ~!@#$%^&*()[]{}<>\\'\"")))
def test_plain_text_stays_as_it_is(text: str) -> None:
    assert screen_text(text) == text


@given(HOSTILE)
def test_a_block_keeps_line_breaks_and_nothing_else(text: str) -> None:
    assert screen_block(text).split("\n") == [screen_text(line) for line in text.replace("\r\n", "\n").split("\n")]


@given(
    st.recursive(HOSTILE | st.none() | st.integers(), lambda inner: st.lists(inner) | st.dictionaries(HOSTILE, inner))
)
def test_json_is_the_same_value_and_safe(value: object) -> None:
    """Escaped JSON reads as what it was, and shows no character that acts."""
    text = screen_json(json.dumps(value, ensure_ascii=False))
    assert json.loads(text) == value
    assert all(unicodedata.category(char) not in ("Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp") for char in text)


def test_json_over_several_lines_keeps_them() -> None:
    text = screen_json(json.dumps({"a": "\x7f\u202e"}, ensure_ascii=False, indent=2))
    assert text == '{\n  "a": "\\u007f\\u202e"\n}'


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a\x1b[31mred", "a\\x1b[31mred"),
        ("\u202egnp.exe", "\\u202egnp.exe"),
        ("a\nb\tc", "a\\nb\\tc"),
        ("\x9b2J", "\\x9b2J"),
        ("zero\u200bwidth", "zero\\u200bwidth"),
        ("\u3164", "\\u3164"),
        ("e" + "\u0301" * 6, "e" + "\u0301" * 4 + "\\u0301\\u0301"),
        ("[red]text[/red]", "[red]text[/red]"),
        ("\ud800", "\\ud800"),
    ],
)
def test_escapes_can_be_read(text: str, shown: str) -> None:
    assert screen_text(text) == shown


@pytest.mark.parametrize(
    ("value", "content", "shown"),
    [
        (None, "text", ""),
        (True, "boolean", "yes"),
        (1234567, "integer", "1,234,567"),
        (0.000799, "cost", "0.000799"),
        (1.5, "number", "1.5"),
        (2.0, "number", "2"),
        (1e-9, "cost", "1e-09"),
        (0.0, "cost", "0"),
        ("2026-11-26T23:38:44.997000Z", "time", "2026-11-26 23:38:44"),
        ({"a": "\x1b"}, "json", '{"a": "\\u001b"}'),
        ("x\ny", "text", "x\\ny"),
    ],
)
def test_a_cell_is_short_and_one_line(value: object, content: str, shown: str) -> None:
    assert cell(value, content) == shown  # type: ignore[arg-type]


def test_a_time_loses_seconds_then_the_year() -> None:
    assert [time_in("2026-11-26 23:38:44", width) for width in (25, 19, 16, 11)] == [
        "2026-11-26 23:38:44",
        "2026-11-26 23:38:44",
        "2026-11-26 23:38",
        "11-26 23:38",
    ]


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_a_number_that_is_not_zero_never_reads_as_zero(value: float) -> None:
    assert (float(number(value).replace(",", "")) == 0) == (value == 0)
