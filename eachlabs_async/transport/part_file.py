"""Owns the file that bytes are written to until all are there, and how it then takes the place of the target.

It refuses to know where bytes come from, and to run on the loop: each of its methods is for a thread.
"""

from __future__ import annotations

import errno
import os
import secrets
import threading
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO, cast


def checked_path(path: object) -> Path:
    """Take where to download to; looks at no disk."""
    wrong = TypeError(f"path must be a str or a path of str, not {type(path).__name__}")
    if not isinstance(path, str | os.PathLike):
        raise wrong
    text = os.fspath(cast("str | os.PathLike[str]", path))
    if not isinstance(text, str):
        raise wrong
    if not text or "\0" in text:
        raise ValueError("path must not hold a NUL" if text else "path must not be empty")
    return Path(text)


class PartFile:
    """The file beside the target that holds what has come so far; used in threads.

    Its methods exclude each other: a thread whose download was given up ends before the file is dropped.
    """

    def __init__(self, target: Path) -> None:
        self._target = target
        self._path = target.with_name(f".eachlabs-{secrets.token_hex(8)}.part")
        self._lock = threading.Lock()
        self._file: BinaryIO | None = None
        self._dropped = False

    def open(self) -> None:
        """Create the file, so that a place nobody can write to is an error before anything is sent."""
        target = self._target
        if target.is_dir():
            raise IsADirectoryError(errno.EISDIR, "path is a directory: name a file in it", str(target))
        if target.exists() and not target.is_file():
            raise ValueError(f"path must be a regular file, or none yet: {str(target)!r} is neither")
        if not target.parent.is_dir():
            if target.parent.exists():
                raise NotADirectoryError(errno.ENOTDIR, "path lies in what is no directory", str(target.parent))
            raise FileNotFoundError(
                errno.ENOENT, "path lies in a directory that does not exist: create it", str(target.parent)
            )
        with self._lock:
            if not self._dropped:
                self._file = self._path.open("xb")

    def write(self, at: int, chunks: list[bytes]) -> None:
        """Write some bytes from the place `at` on."""
        with self._lock:
            if self._file is not None:
                self._file.seek(at)
                self._file.writelines(chunks)

    def finish(self, size: int) -> None:
        """Put the first `size` bytes in the place of the target; what an earlier try left behind them is cut off."""
        with self._lock:
            if self._file is not None:
                self._file.truncate(size)
                self._file.close()
                self._path.replace(self._target)

    def drop(self) -> None:
        """Remove the file, unless it was put in place."""
        with self._lock:
            self._dropped = True
            file, self._file = self._file, None
            if file is None:
                return
            with suppress(OSError):  # What it still held may not fit on the disk: it is not wanted any more.
                file.close()
            with suppress(OSError):
                self._path.unlink(missing_ok=True)
