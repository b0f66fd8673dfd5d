"""Tests of the inputs of models and workflows: words of the command line, and lines of JSONL and CSV files."""

from __future__ import annotations

import csv
import io
import json
import string
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eachlabs_async.cli.failures import UsageError
from eachlabs_async.cli.input_source import input_source
from eachlabs_async.cli.inputs import InputKind, RowParser, read_assignments, read_rows, typed_value

SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {
        "prompt": {"type": "string"},
        "seed": {"type": "integer"},
        "scale": {"type": "number"},
        "fast": {"type": "boolean"},
        "images": {"type": "array"},
        "more": {"type": "object"},
        "maybe": {"anyOf": [{"type": "integer"}, {"type": "null"}]},
        "either": {"type": ["string", "number"]},
        "style": {"enum": ["a", "b"], "type": "string"},
        "odd": {"type": {"not": "a type"}},
        "choice": {"oneOf": [{"type": "integer"}, {"$ref": "#/x"}]},
    },
}


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("prompt", "123", "123"),
        ("prompt", "true", "true"),
        ("prompt", "", ""),
        ("prompt", "a=b", "a=b"),
        ("style", "null", "null"),
        ("seed", "-7", -7),
        ("scale", "7", 7),
        ("scale", "0.5", 0.5),
        ("fast", "true", True),
        ("images", '["a", "b"]', ["a", "b"]),
        ("more", '{"a": {"b": 1}}', {"a": {"b": 1}}),
        ("maybe", "null", None),
        ("maybe", "3", 3),
        ("either", "3", 3),
        ("either", "three", "three"),
        ("either", "[1]", "[1]"),
        ("odd", "3", 3),
        ("choice", "x", "x"),
        ("unknown", "3", 3),
        ("unknown", "three", "three"),
        ("unknown", '"3"', "3"),
        ("unknown", "NaN", "NaN"),
        ("unknown", "[" * 100_000, "[" * 100_000),
    ],
)
def test_a_value_is_read_as_the_schema_says(name: str, text: str, value: Any) -> None:
    """A text stays a text where one is wanted; without a schema, a value is JSON if it can be."""
    found = typed_value(name, text, SCHEMA)
    assert found == value
    assert type(found) is type(value)


@pytest.mark.parametrize(
    ("name", "text", "wanted"),
    [
        ("seed", "seven", "integer"),
        ("seed", "1.5", "integer"),
        ("seed", "true", "integer"),
        ("scale", "[1]", "number, such as 0.5"),
        ("fast", "yes", "boolean, such as true"),
        ("images", "a.png", 'array, such as ["a", "b"]'),
        ("more", "3", 'object, such as {"a": 1}'),
    ],
)
def test_a_value_of_another_kind_is_refused(name: str, text: str, wanted: str) -> None:
    """The message says which kind is wanted, and shows one."""
    with pytest.raises(UsageError, match=f"the input {name} must be of the type") as caught:
        typed_value(name, text, SCHEMA)
    assert wanted in str(caught.value)


def test_words_are_values_and_files() -> None:
    """A value may have any character; @@ begins a text with one @."""
    found = read_assignments(["prompt=a=b", "seed=3", "image=@a/b c.png", "who=@@me"], SCHEMA)
    assert found.values == {"prompt": "a=b", "seed": 3, "who": "@me"}
    assert found.files == {"image": Path("a/b c.png")}


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["prompt"], "inputs are NAME=VALUE"),
        (["=x"], "inputs are NAME=VALUE"),
        (["a=1", "a=2"], "the input a is given twice"),
        (["a=1", "a=@x"], "the input a is given twice"),
        (["a=@"], "names no file"),
    ],
)
def test_words_that_cannot_be_inputs_are_refused(words: list[str], said: str) -> None:
    """Each is told in one line."""
    with pytest.raises(UsageError, match=said):
        read_assignments(words)


# ---- lines


def parsed(text: str, kind: InputKind, schema: Any = None) -> list[Any]:
    return list(read_rows(RowParser("inputs", kind, schema), io.StringIO(text, newline="")))


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@given(st.lists(st.dictionaries(st.text(), JSON, max_size=4)), st.sampled_from(["\n", "\r\n", "\n\n"]))
def test_json_lines_come_as_they_are(rows: list[dict[str, Any]], end: str) -> None:
    """Whatever JSON holds comes out again; empty lines are left out."""
    assert parsed("".join(json.dumps(row) + end for row in rows), "jsonl") == rows


NAMES = st.text(string.ascii_letters, min_size=1, max_size=5)
CELLS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1, max_size=20)


@given(st.data(), st.lists(NAMES, min_size=1, max_size=4, unique=True), st.sampled_from(["\n", "\r\n"]))
def test_csv_comes_as_it_was_written(data: st.DataObject, names: list[str], end: str) -> None:
    """Cells with commas, quotation marks and line breaks come whole, as the texts that the schema wants."""
    rows = data.draw(st.lists(st.tuples(*([CELLS] * len(names))), max_size=5))
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator=end, quoting=csv.QUOTE_ALL)
    writer.writerows([names, *rows])
    schema = {"properties": {name: {"type": "string"} for name in names}}
    assert parsed(text.getvalue(), "csv", schema) == [dict(zip(names, row, strict=True)) for row in rows]


def test_csv_is_typed_and_an_empty_cell_is_no_input() -> None:
    """Numbers are numbers where the schema says so, and a model's default holds where a cell is empty."""
    assert parsed("prompt,seed\n7,7\ncat,\n\n", "csv", SCHEMA) == [{"prompt": "7", "seed": 7}, {"prompt": "cat"}]


@pytest.mark.parametrize(
    ("kind", "text", "said"),
    [
        ("jsonl", '{"a": 1}\n\n{"a": \n', "inputs, line 3: this is no JSON"),
        ("jsonl", "[1]\n", "inputs, line 1: an input is a JSON object"),
        ("jsonl", '{"a": NaN}\n', "inputs, line 1: this is no JSON: NaN"),
        ("csv", "a,b\n1,2\n1\n", "inputs, line 3: 1 values for the 2 columns"),
        ("csv", "a,b\n1,2,3\n", "inputs, line 2: 3 values for the 2 columns"),
        ("csv", "a,a\n", "inputs, line 1: two columns of the header have the same name"),
        ("csv", "a,\n", "inputs, line 1: a column of the header has no name"),
        ("csv", 'a,b\n1,2\n1,"x\ny\n', "inputs, line 4: the quotation mark of line 3 is not closed"),
        ("csv", "prompt,seed\ncat,many\n", "inputs, line 2: the input seed must be of the type integer"),
    ],
)
def test_a_wrong_line_is_named(kind: InputKind, text: str, said: str) -> None:
    """The number of the line is that of an editor."""
    with pytest.raises(UsageError) as caught:
        parsed(text, kind, SCHEMA)
    assert str(caught.value).startswith(said)


def test_a_quotation_mark_that_is_never_closed_does_not_fill_the_memory() -> None:
    """A file of any size is refused after ten million characters."""
    lines = 0

    def endless() -> Any:
        nonlocal lines
        yield "a\n"
        yield '"never closed\n'
        while True:
            lines += 1
            yield "x" * 100_000 + "\n"

    with pytest.raises(UsageError, match="the quotation mark of line 2 is not closed"):
        list(read_rows(RowParser("inputs", "csv"), endless()))
    assert lines <= 101


# ---- files


async def test_a_file_is_counted_before_it_is_read(tmp_path: Path) -> None:
    """It is read once for its errors, before anything is paid for, and again for its inputs."""
    path = tmp_path / "in.jsonl"
    path.write_text('﻿{"a": 1}\n{"a": 2}\n', encoding="utf-8")
    source = input_source(str(path), None)
    assert await source.check() == 2
    assert [row async for row in source.rows()] == [{"a": 1}, {"a": 2}]
    path.write_bytes(b'{"a": "\xff"}\n')
    with pytest.raises(UsageError, match="no UTF-8"):
        await source.check()


@pytest.mark.parametrize(
    ("given_", "kind", "said"),
    [
        ("inputs.txt", None, "must end in .jsonl or .csv, or pass --input-format"),
        (".", "csv", "is no file"),
    ],
)
def test_a_source_that_cannot_be_is_refused(given_: str, kind: InputKind | None, said: str) -> None:
    """The message says what to write instead."""
    with pytest.raises(UsageError, match=said):
        input_source(given_, kind)


async def test_a_missing_file_is_told(tmp_path: Path) -> None:
    """By its name and the reason of the system."""
    with pytest.raises(UsageError, match="none.jsonl: No such file"):
        await input_source(str(tmp_path / "none.jsonl"), None).check()
