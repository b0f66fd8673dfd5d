"""Write a download to a temporary file, and replace the target with it when it is complete.

All methods block, so `downloads` calls them in threads.
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
    """Return the path to download to. Does not access the file system."""
    wrong = TypeError(f"path must be a str or a path of str, not {type(path).__name__}")
    if not isinstance(path, str | os.PathLike):
        raise wrong
    text = os.fspath(cast("str | os.PathLike[str]", path))
    if not isinstance(text, str):
        raise wrong
    if not text or "\0" in text:
        raise ValueError("path must not contain a NUL" if text else "path must not be empty")
    return Path(text)


def check_target(target: Path) -> None:
    """Raise `OSError` or `ValueError` if no regular file can be written at a path. Accesses the file system."""
    if target.is_dir():
        raise IsADirectoryError(errno.EISDIR, "path is a directory: it must name a file", str(target))
    if target.exists() and not target.is_file():
        raise ValueError(f"path must name a regular file or none: {str(target)!r} is neither")
    if not target.parent.is_dir():
        if target.parent.exists():
            raise NotADirectoryError(errno.ENOTDIR, "path is in something that is not a directory", str(target.parent))
        raise FileNotFoundError(
            errno.ENOENT, "path is in a directory that does not exist: create it", str(target.parent)
        )


class PartialFile:
    """The file beside the target that holds the bytes received so far.

    The methods lock each other out, so that a write of a cancelled download ends before the file is discarded.
    """

    def __init__(self, target: Path) -> None:
        self._target = target
        self._path = target.with_name(f".eachlabs-{secrets.token_hex(8)}.part")
        self._lock = threading.Lock()
        self._file: BinaryIO | None = None
        self._is_discarded = False

    def open(self) -> None:
        """Create the file. A target that cannot be written raises an `OSError` here, before anything is sent."""
        check_target(self._target)
        with self._lock:
            if not self._is_discarded:
                self._file = self._path.open("xb")

    def write(self, offset: int, chunks: list[bytes]) -> None:
        """Write bytes at an offset."""
        with self._lock:
            if self._file is not None:
                self._file.seek(offset)
                self._file.writelines(chunks)

    def finish(self, size: int) -> None:
        """Replace the target with the first `size` bytes. An earlier attempt may have written more."""
        with self._lock:
            if self._file is not None:
                self._file.truncate(size)
                self._file.close()
                self._path.replace(self._target)

    def discard(self) -> None:
        """Remove the file, unless it has replaced the target."""
        with self._lock:
            self._is_discarded = True
            file, self._file = self._file, None
            if file is None:
                return
            with suppress(OSError):  # The buffered bytes may not fit on the disk, but are not needed any more.
                file.close()
            with suppress(OSError):
                self._path.unlink(missing_ok=True)
