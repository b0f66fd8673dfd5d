"""Where the inputs of a map come from: a file, which is checked before anything is sent, or standard input."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

from attrs import frozen

from .failures import UsageError
from .ids import lines_of_stdin
from .inputs import InputKind, RowParser, Schema, read_rows

__all__ = ["InputSource", "input_source"]


@frozen
class InputSource:
    """The inputs of one map; `path` is None for standard input."""

    path: Path | None
    kind: InputKind
    schema: Schema | None = None

    async def check(self) -> int | None:
        """Read a file once, and return how many inputs it has; None for standard input, which can be read only once.

        Raises `UsageError` for the first line that is no input, so that nothing was paid for when it is found.
        """
        if self.path is None:
            return None
        return await asyncio.to_thread(lambda: sum(1 for _ in self._rows_of_file()))

    async def rows(self) -> AsyncIterator[dict[str, Any]]:
        """Yield the inputs, one at a time as they are needed."""
        if self.path is not None:
            for row in self._rows_of_file():
                yield row
            return
        parser = RowParser("standard input", self.kind, self.schema)
        async for line in lines_of_stdin():
            if (parsed := parser.feed(line)) is not None:
                yield parsed
        parser.end()

    def _rows_of_file(self) -> Iterator[dict[str, Any]]:
        assert self.path is not None
        parser = RowParser(str(self.path), self.kind, self.schema)
        try:
            with self.path.open(encoding="utf-8-sig", newline="") as file:
                yield from read_rows(parser, file)
        except OSError as error:
            raise UsageError(f"cannot read {self.path}: {error.strerror or error}") from None
        except UnicodeDecodeError:
            raise UsageError(f"cannot read {self.path}: it is no UTF-8 text") from None


def input_source(given: str, kind: InputKind | None, schema: Schema | None = None) -> InputSource:
    """Return the source that an argument names: a path, or `-` for standard input (JSONL unless `kind` says CSV).

    Raises `UsageError` for a file that cannot be read twice or whose name does not tell what it has.
    """
    if given == "-":
        return InputSource(None, kind or "jsonl", schema)
    path = Path(given)
    if kind is None:
        suffix = path.suffix.lower()
        if suffix not in (".jsonl", ".ndjson", ".csv"):
            raise UsageError(f"INPUTS must end in .jsonl or .csv, or pass --input-format: {given}")
        kind = "csv" if suffix == ".csv" else "jsonl"
    if path.exists() and not path.is_file():
        raise UsageError(f"{given} is no file: pass - and redirect it to standard input")
    return InputSource(path, kind, schema)
