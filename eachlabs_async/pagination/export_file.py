"""The file that a listing is exported to: appended to in a partial file, and renamed when it is whole.

Beside the target `NAME` there are, until then, `NAME.part` with what was appended, `NAME.part.checkpoint` with its
length and the checkpoint of the walk, and `NAME.unreadable.jsonl.part` with the rows that cannot be read. A later
export to the same target continues there. All methods block.
"""

from __future__ import annotations

import json
import logging
import os
import time
import zlib
from collections.abc import Sequence
from contextlib import suppress
from hashlib import blake2b
from pathlib import Path
from typing import Any, BinaryIO, Final, cast

from attrs import asdict, frozen

from ..codec.columns import columns_of, json_text
from ..codec.row_formats import RowFormat, without_secrets
from ..codec.strict import to_dict
from ..transport.partial_file import check_target

log: Final = logging.getLogger("eachlabs_async")

_VERSION: Final = 1
RECORD_EVERY_S: Final = 0.25
"""Seconds between two checkpoints on the disk, at least: renaming a file takes as long as encoding a hundred rows."""
_BLOCK: Final = 1 << 20


@frozen(kw_only=True)
class ExportedFile:
    """An exported file at `path` with `rows` rows.

    `resumed_rows` of them were written by an earlier export, which did not end. The `unreadable` rows are in
    `unreadable_path`, which is None if there are none.
    """

    path: Path
    rows: int
    resumed_rows: int = 0
    unreadable: int = 0
    unreadable_path: Path | None = None


@frozen(kw_only=True)
class Progress:
    """What was written and how the walk goes on after it. `size` is in bytes, and `crc` is that of these bytes."""

    v: int = _VERSION
    format: str
    columns: list[str]
    size: int
    crc: int
    rows: int
    unreadable: int
    checkpoint: str


class UnreadableRows:
    """The file with the rows that cannot be read, each once; it exists once there is one. `count` is their number."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._part = path.with_name(path.name + ".part")
        self._file: BinaryIO | None = None
        self._known: set[bytes] = set()

    @property
    def count(self) -> int:
        """The number of rows."""
        return len(self._known)

    def open(self, *, resume: bool) -> None:
        """Remove the rows of an earlier export, or with `resume` read them, so that none is written twice."""
        if not resume:
            self._part.unlink(missing_ok=True)
            return
        if not self._part.exists():
            return
        self._file = self._part.open("r+b")
        end = 0
        for line in self._file:
            if not line.endswith(b"\n"):
                break  # The earlier export was killed while it wrote this line.
            values: dict[str, Any] = json.loads(line)
            self._known.add(_digest(values))
            end += len(line)
        self._file.truncate(end)
        self._file.seek(end)

    def add(self, row_id: str | None, raw: Any, error: Exception) -> None:
        """Add a row. It is in the file when this returns, so before the walk counts it as delivered."""
        if isinstance(raw, dict):
            raw = without_secrets(cast("dict[str, Any]", raw))
        try:
            row = json.loads(json_text(raw))
        except (ValueError, RecursionError):
            row = None
        values = {"id": row_id, "error": str(error), "row": row}
        digest = _digest(values)
        if digest in self._known:
            return
        if self._file is None:
            self._file = self._part.open("wb")
        self._file.write(f"{json_text(values)}\n".encode())
        self._file.flush()
        self._known.add(digest)

    def finish(self) -> Path | None:
        """Rename the file, and return its path, or None if there are no such rows."""
        self.close()
        if not self._known:
            self._part.unlink(missing_ok=True)
            self.path.unlink(missing_ok=True)
            return None
        self._part.replace(self.path)
        return self.path

    def close(self) -> None:
        """Close the file."""
        if self._file is not None:
            self._file.close()


def _digest(values: dict[str, Any]) -> bytes:
    # Without the error's text, which has the row's position in its answer.
    identity = json.dumps([values["id"], values["row"]], sort_keys=True)
    return blake2b(identity.encode(), digest_size=16).digest()


class ExportFile:
    """A file under way in one format."""

    def __init__(self, target: Path, rows: RowFormat) -> None:
        self._target = target
        self._rows = rows
        self._part = target.with_name(f"{target.name}.part")
        self._sidecar = target.with_name(f"{target.name}.part.checkpoint")
        self._file: BinaryIO | None = None
        self._crc = self._size = self._written = 0
        self._recorded_at = float("-inf")
        self._resumed: Progress | None = None
        self.unreadable = UnreadableRows(target.with_name(f"{target.name}.unreadable.jsonl"))

    @property
    def remedy(self) -> str:
        """What to do about a partial file that the export cannot continue."""
        return f"to start anew, remove {str(self._part)!r} and {str(self._sidecar)!r}"

    def open(self) -> Progress | None:
        """Open the partial file, and return what it holds, or None if the export starts anew.

        Raises `ValueError` if it is a partial file of another format or of other columns, and `OSError` if no file can
        be written there.
        """
        check_target(self._target)
        resumed = self._resumed = self._read_progress()
        self.unreadable.open(resume=resumed is not None)
        if resumed is not None:
            self._file = self._part.open("r+b")
            self._file.truncate(resumed.size)
            self._file.seek(resumed.size)
            self._size, self._crc, self._written = resumed.size, resumed.crc, resumed.rows
            return resumed
        self._sidecar.unlink(missing_ok=True)
        self._file = self._part.open("wb")
        self._append(self._rows.header())
        return None

    def _read_progress(self) -> Progress | None:
        try:
            values = json.loads(self._sidecar.read_bytes())
            found = Progress(**values)
            size = self._part.stat().st_size
        except FileNotFoundError:
            return None
        except (ValueError, TypeError):
            raise ValueError(f"{str(self._sidecar)!r} is no checkpoint of an export: {self.remedy}") from None
        mine = (_VERSION, self._rows.name, self._columns())
        if (found.v, found.format, found.columns) != mine:
            raise ValueError(f"{str(self._part)!r} has another format or other columns: {self.remedy}")
        if size < found.size or self._crc_of_part(found.size) != found.crc:
            facts = {"event": "export restarted", "path": str(self._part)}
            log.warning("%s is damaged: the export starts anew", self._part, extra=facts)
            return None
        return found

    def _columns(self) -> list[str]:
        return [f"{column.name}: {column.content}" for column in columns_of(self._rows.kind)]

    def _crc_of_part(self, size: int) -> int:
        """Return the checksum of the start of the file, which may have lost bytes in a power failure."""
        crc = 0
        with self._part.open("rb") as file:
            while size and (block := file.read(min(size, _BLOCK))):
                crc = zlib.crc32(block, crc)
                size -= len(block)
        return crc

    def write(self, rows: Sequence[Any], checkpoint: str, *, last: bool = False) -> None:
        """Append rows, then record the checkpoint of the walk after them, unless that was done a moment ago."""
        if rows:
            self._append(self._encode(rows))
        if not last and time.monotonic() < self._recorded_at + RECORD_EVERY_S:
            return
        self._recorded_at = time.monotonic()
        progress = Progress(
            format=self._rows.name,
            columns=self._columns(),
            size=self._size,
            crc=self._crc,
            rows=self._written,
            unreadable=self.unreadable.count,
            checkpoint=checkpoint,
        )
        new = self._sidecar.with_name(self._sidecar.name + ".new")
        new.write_text(json.dumps(asdict(progress)), encoding="utf-8")
        new.replace(self._sidecar)

    def _encode(self, rows: Sequence[Any]) -> bytes:
        """Return rows as bytes. A row that the format cannot hold is added to the unreadable ones."""
        try:
            encoded = self._rows.encode(rows)
        except ValueError as error:
            if len(rows) == 1:
                identity = columns_of(self._rows.kind)[0].attribute  # The first field of every listed record.
                self.unreadable.add(getattr(rows[0], identity), to_dict(rows[0]), error)
                return b""
            half = len(rows) // 2
            return self._encode(rows[:half]) + self._encode(rows[half:])
        self._written += len(rows)
        return encoded

    def _append(self, data: bytes) -> None:
        assert self._file is not None
        self._file.write(data)
        self._file.flush()
        self._size += len(data)
        self._crc = zlib.crc32(data, self._crc)

    def finish(self) -> ExportedFile:
        """Complete the file, give it its name, and remove what is only needed to continue."""
        assert self._file is not None
        self._file.close()
        done = self._rows.complete(self._part)
        with done.open("r+b") as file:
            os.fsync(file.fileno())
        done.replace(self._target)
        # In this order: if the process dies in between, the next export starts anew, and all its files fit together.
        self._sidecar.unlink(missing_ok=True)
        self._part.unlink(missing_ok=True)
        unreadable_path = self.unreadable.finish()
        resumed = 0 if self._resumed is None else self._resumed.rows
        return ExportedFile(
            path=self._target,
            rows=self._written,
            resumed_rows=resumed,
            unreadable=self.unreadable.count,
            unreadable_path=unreadable_path,
        )

    def close(self) -> None:
        """Close the files. What was not finished stays, so that a later export continues it."""
        self.unreadable.close()
        if self._file is not None:
            with suppress(OSError):  # The bytes that may not fit on the disk are written again by the next export.
                self._file.close()
