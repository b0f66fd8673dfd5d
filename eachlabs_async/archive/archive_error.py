"""The error about the file of an archive."""

from __future__ import annotations

from ..errors import EachLabsError


class ArchiveError(EachLabsError, ValueError):
    """An archive cannot be used: it is being synced, belongs to another account or program, or cannot be written.

    - `path`: the archive's file.
    """

    def __init__(
        self, message: str = "", *, path: str = "", method: str | None = None, url: str | None = None, attempts: int = 0
    ) -> None:
        super().__init__(message, method=method, url=url, attempts=attempts)
        self.path = path
