"""Inputs of models and workflows: `NAME=VALUE` words, and the lines of JSONL and CSV files, as pure functions.

A value is read as the schema says: a text stays as it is where a text is wanted, and is JSON where a number, a boolean,
an object or an array is. Without a schema it is JSON if it can be read as such, else text.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, Literal, NoReturn, cast

from attrs import define, field, frozen

from .failures import UsageError

__all__ = ["Assignments", "InputKind", "RowParser", "read_assignments", "read_rows", "typed_value"]

InputKind = Literal["jsonl", "csv"]
Schema = Mapping[str, Any]
"""The JSON Schema of an input: `properties` has that of each value."""

_LONGEST_RECORD: Final = 10_000_000
"""Characters of one CSV row; beyond it, a quotation mark was not closed."""
_KINDS: Final[Mapping[str, tuple[type, ...]]] = {
    "string": (str,),
    "number": (int, float),
    "integer": (int,),
    "boolean": (bool,),
    "object": (dict,),
    "array": (list,),
    "null": (type(None),),
}
_EXAMPLES: Final = {"object": '{"a": 1}', "array": '["a", "b"]', "boolean": "true", "number": "0.5"}


@frozen
class Assignments:
    """What `NAME=VALUE` words say: values, and files whose URL is to be the value once they are uploaded."""

    values: dict[str, Any] = field(factory=dict[str, Any])
    files: dict[str, Path] = field(factory=dict[str, Path])


def read_assignments(words: Sequence[str], schema: Schema | None = None) -> Assignments:
    """Return what the words say. `NAME=@FILE` is a file; `NAME=@@TEXT` is a text that begins with one @.

    Raises `UsageError` for a word without a name or a value, for a name that comes twice, and for a value that is not
    of the kind that the schema asks for.
    """
    found = Assignments()
    for word in words:
        name, separator, text = word.partition("=")
        if not separator or not name:
            raise UsageError(f"inputs are NAME=VALUE (a file: NAME=@FILE), not {word!r}")
        if name in found.values or name in found.files:
            raise UsageError(f"the input {name} is given twice")
        if text.startswith("@") and not text.startswith("@@"):
            if len(text) == 1:
                raise UsageError(f"{name}=@ names no file")
            found.files[name] = Path(text[1:])
        else:
            found.values[name] = typed_value(name, text.removeprefix("@"), schema)
    return found


def typed_value(name: str, text: str, schema: Schema | None = None) -> Any:
    """Return the value that a text stands for. Raises `UsageError` if the schema asks for another kind."""
    kinds = _kinds_of(_property(name, schema))
    if kinds and kinds <= {"string", "null"}:
        return text
    try:
        value = json.loads(text, parse_constant=_no_constant)
    except (ValueError, RecursionError):
        value = text
    if not kinds or any(_is_of(value, kind) for kind in kinds):
        return value
    if "string" in kinds:
        return text
    wanted = " or ".join(sorted(kinds))
    example = next((f", such as {_EXAMPLES[kind]}" for kind in sorted(kinds) if kind in _EXAMPLES), "")
    raise UsageError(f"the input {name} must be of the type {wanted}{example}, not {text[:80]!r}")


def _property(name: str, schema: Schema | None) -> object:
    properties = (schema or {}).get("properties")
    return cast("dict[str, object]", properties).get(name) if isinstance(properties, dict) else None


def _kinds_of(schema: object) -> set[str]:
    """Return the types that a schema allows; empty if it does not say, or says it in a way that is not understood."""
    if not isinstance(schema, dict):
        return set()
    said = cast("dict[str, object]", schema)
    stated = said.get("type")
    kinds = {str(kind) for kind in cast("list[object]", stated if isinstance(stated, list) else [stated])} - {"None"}
    for word in ("anyOf", "oneOf"):
        options = said.get(word)
        if isinstance(options, list):
            inner = [_kinds_of(option) for option in cast("list[object]", options)]
            if not all(inner):
                return set()
            kinds = kinds.union(*inner)
    return kinds if kinds <= _KINDS.keys() else set()


def _is_of(value: Any, kind: str) -> bool:
    return isinstance(value, _KINDS[kind]) and (isinstance(value, bool) == (kind == "boolean"))


def _no_constant(word: str) -> NoReturn:
    raise ValueError(f"{word} is no JSON")


# ---- files


@define
class RowParser:
    """Makes inputs of the lines of a file. `name` is what errors call the file."""

    name: str
    kind: InputKind
    schema: Schema | None = None
    _number: int = field(default=0, init=False)
    _header: list[str] | None = field(default=None, init=False)
    _pending: list[str] = field(factory=list[str], init=False)
    _pending_size: int = field(default=0, init=False)
    _quotes: int = field(default=0, init=False)

    def feed(self, line: str) -> dict[str, Any] | None:
        """Return the input that ends with this line; None for an empty line, a header, and within a quoted cell."""
        self._number += 1
        return self._json(line) if self.kind == "jsonl" else self._csv(line)

    def end(self) -> None:
        """Raise `UsageError` if the file ends within a row."""
        if self._pending:
            raise self._error(f"the quotation mark of line {self._first_line()} is not closed")

    def _json(self, line: str) -> dict[str, Any] | None:
        if not line.strip():
            return None
        try:
            value = json.loads(line, parse_constant=_no_constant)
        except (ValueError, RecursionError) as error:
            raise self._error(f"this is no JSON: {error}") from None
        if not isinstance(value, dict):
            raise self._error(f"an input is a JSON object, such as {_EXAMPLES['object']}, not {line.strip()[:40]!r}")
        return cast("dict[str, Any]", value)

    def _csv(self, line: str) -> dict[str, Any] | None:
        if not self._pending and not line.strip():
            return None
        self._pending.append(line)
        self._pending_size += len(line)
        self._quotes += line.count('"')
        # A quotation mark within a cell is doubled, so that within a row their number is odd.
        if self._quotes % 2:
            if self._pending_size > _LONGEST_RECORD:
                self.end()
            return None
        lines, self._pending, self._pending_size, self._quotes = self._pending, [], 0, 0
        try:
            cells = next(csv.reader(lines, strict=True))
        except csv.Error as error:
            raise self._error(f"this is no CSV: {error}") from None
        if self._header is None:
            self._header = self._checked_header(cells)
            return None
        if len(cells) != len(self._header):
            raise self._error(f"{len(cells)} values for the {len(self._header)} columns of the header")
        try:
            return {
                name: typed_value(name, text, self.schema)
                for name, text in zip(self._header, cells, strict=True)
                if text
            }
        except UsageError as error:
            raise self._error(str(error)) from None

    def _checked_header(self, cells: list[str]) -> list[str]:
        names = [cell.strip() for cell in cells]
        if not all(names):
            raise self._error("a column of the header has no name")
        if len(set(names)) < len(names):
            raise self._error("two columns of the header have the same name")
        return names

    def _first_line(self) -> int:
        return self._number - len(self._pending) + 1

    def _error(self, text: str) -> UsageError:
        return UsageError(f"{self.name}, line {self._number}: {text}")


def read_rows(parser: RowParser, lines: Iterable[str]) -> Iterator[dict[str, Any]]:
    """Yield the inputs in some lines, one at a time. Raises `UsageError` with the number of a line that is wrong."""
    for line in lines:
        if (row := parser.feed(line)) is not None:
            yield row
    parser.end()
