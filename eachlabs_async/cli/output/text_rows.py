"""Print rows as JSON Lines, as one JSON array, or as CSV. Each row is written when it comes."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping, Sequence
from typing import Any, Final, TextIO

from ..screen_text import screen_json, screen_text
from .fields import View

_JSON: Final = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), default=str)
_PRETTY: Final = json.JSONEncoder(ensure_ascii=False, indent=2, default=str)


class JSONLines:
    """A JSON object in each line."""

    def __init__(self, stream: TextIO, view: View) -> None:
        self._stream = stream
        self._view = view
        self.rows = 0

    def write(self, row: Mapping[str, Any]) -> None:
        """Write a row."""
        self.rows += 1
        self._stream.write(screen_json(_JSON.encode(self._view.take(row))) + "\n")
        self._stream.flush()

    def end(self) -> None:
        """Write nothing: each line is whole."""


class JSONArray:
    """One JSON array with an object in each line, for the whole command; it is closed even if the command fails."""

    def __init__(self, stream: TextIO, view: View) -> None:
        self._stream = stream
        self._view = view
        self.rows = 0
        self._ended = False

    def write(self, row: Mapping[str, Any]) -> None:
        """Write a row."""
        self._stream.write(("[\n" if not self.rows else ",\n") + screen_json(_JSON.encode(self._view.take(row))))
        self._stream.flush()
        self.rows += 1

    def end(self) -> None:
        """Close the array."""
        if not self._ended:
            self._ended = True
            self._stream.write("\n]\n" if self.rows else "[]\n")
            self._stream.flush()


class CSVRows:
    """Comma-separated values with a header. Texts are left as they are, except on a terminal (`escape`)."""

    def __init__(self, stream: TextIO, view: View, *, header: bool = True, escape: bool = False) -> None:
        self._stream = stream
        self._view = view
        self._escape = escape
        self.rows = 0
        self._header = header

    def write(self, row: Mapping[str, Any]) -> None:
        """Write a row."""
        self._write_header()
        self.rows += 1
        self._write([_csv_value(row.get(name)) for name in self._view.names])

    def end(self) -> None:
        """Write the header if there was no row."""
        self._write_header()

    def _write_header(self) -> None:
        if self._header:
            self._header = False
            self._write(list(self._view.names))

    def _write(self, values: list[Any]) -> None:
        text = io.StringIO(newline="")
        csv.writer(text, lineterminator="\n").writerow(values)
        line = text.getvalue()
        self._stream.write(screen_text(line[:-1]) + "\n" if self._escape else line)
        self._stream.flush()


def _csv_value(value: Any) -> Any:
    if isinstance(value, bool | list | dict):
        return _JSON.encode(value)
    return value


def write_document(stream: TextIO, value: Any, *, pretty: bool, secrets: Sequence[str] = ()) -> None:
    """Write one JSON document, over several lines for people or in one line, without the `secrets` in its texts."""
    text = (_PRETTY if pretty else _JSON).encode(value)
    for secret in secrets:
        text = text.replace(_JSON.encode(secret)[1:-1], "***")
    stream.write(screen_json(text) + "\n")
    stream.flush()
