"""Read ids from the command line, a file (`@file`) or standard input (`-`), one at a time as they are needed.

A line has an id, or a JSON object with one, so that `eachlabs executions list | eachlabs executions get -` works. Empty
lines and lines that begin with `#` are left out.
"""

from __future__ import annotations

import asyncio
import json
import sys
import threading
from collections.abc import AsyncIterator, Iterable, Sequence
from pathlib import Path
from typing import Any, Final, TextIO

from .failures import UsageError

_NAMES: Final = ("execution_id", "id", "prediction_id", "exec_id")
_ENDED: Final = object()
_AHEAD: Final = 1000
"""Lines that are read ahead of what is used."""


async def read_ids(given: Sequence[str], fields: Sequence[str] = _NAMES) -> AsyncIterator[str]:
    """Yield the ids that arguments stand for. `fields` are the fields of a JSON object that may have the id.

    Raises `UsageError` for no argument, a file that cannot be read, and a line without an id.
    """
    if not given:
        raise UsageError("give at least one id, - to read them from standard input, or @FILE")
    for argument in given:
        if argument == "-":
            async for line in lines_of_stdin():
                if found := id_in(line, fields):
                    yield found
        elif argument.startswith("@"):
            for line in _lines_of_file(Path(argument[1:])):
                if found := id_in(line, fields):
                    yield found
        else:
            yield argument


def id_in(line: str, fields: Sequence[str] = _NAMES) -> str | None:
    """Return the id in a line, None if the line is empty or a comment. Raises `UsageError` for an object without."""
    text = line.strip()
    if not text or text.startswith("#"):
        return None
    if not text.startswith("{"):
        return text
    try:
        row: Any = json.loads(text)
    except ValueError:
        raise UsageError("a line of the ids begins with { and is no JSON") from None
    for name in fields:
        if isinstance(row.get(name), str) and row[name]:
            return str(row[name])
    raise UsageError(f"a line of the ids has no field {' or '.join(fields[:2])}")


def _lines_of_file(path: Path) -> Iterable[str]:
    try:
        with path.open(encoding="utf-8-sig") as file:
            yield from file
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is no UTF-8 text"
        raise UsageError(f"cannot read the ids in {path}: {reason}") from None


async def lines_of_stdin() -> AsyncIterator[str]:
    """Yield the lines of standard input, which a thread of its own reads, so that requests go on meanwhile."""
    lines: asyncio.Queue[Any] = asyncio.Queue(_AHEAD)
    loop = asyncio.get_running_loop()
    # A daemon: a read that never ends must not keep the process after Ctrl-C.
    threading.Thread(target=_read_into, args=(sys.stdin, lines, loop), daemon=True).start()
    while (line := await lines.get()) is not _ENDED:
        if isinstance(line, Exception):
            raise UsageError(f"cannot read standard input: {line}")
        yield line


def _read_into(stream: TextIO, lines: asyncio.Queue[Any], loop: asyncio.AbstractEventLoop) -> None:
    def put(item: object) -> None:
        asyncio.run_coroutine_threadsafe(lines.put(item), loop).result()

    try:
        try:
            for line in stream:
                put(line)
        except (OSError, ValueError) as error:
            put(error)
        put(_ENDED)
    except (RuntimeError, asyncio.CancelledError):
        return  # The loop is closed: the command has ended.
