"""Owns the calls about files: a place, the bytes, the end; refuses to know how bytes travel, as `_uploads` does."""

from __future__ import annotations

from collections.abc import AsyncIterable, Callable
from os import PathLike
from typing import Final, Literal

from attrs import evolve

from .. import _requests, _uploads
from .._arguments import checked_count, checked_text
from .._keys import Key
from .._session import Transport
from ..endpoints import DELETE_FILE, PRESIGN_UPLOAD
from ..records import PresignedUpload, UploadedFile

FileType = Literal["image", "video", "audio", "other"]
FILE_TYPES: Final = ("image", "video", "audio", "other")


class Files:
    """Files that models take as input; unified edition only."""

    __slots__ = ("_transport",)

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    async def presign(
        self, content_type: str, file_type: FileType | None = None, *, expires_in_seconds: int | None = None
    ) -> PresignedUpload:
        """Get a place to upload one file to (`POST /upload/presign`); `upload` does this and the rest.

        Send the bytes to `presigned_url` within 15 minutes, by PUT, with `required_headers` and the same
        `content_type`, and without a key. `expires_in_seconds`, 60 to 31,536,000, is how long the file is kept (None:
        180 days). The URL is a secret, and its `repr` is masked.
        """
        path = PRESIGN_UPLOAD.expand(self._transport.session.hosts.edition)
        if checked_text("content_type", content_type) is None:
            raise TypeError("content_type must be a str, not NoneType")
        if not content_type.isascii() or not content_type.isprintable():
            raise ValueError("content_type must be text that an HTTP header can carry")
        if file_type not in (None, *FILE_TYPES):
            raise ValueError(f"file_type must be one of {', '.join(FILE_TYPES)}, not {file_type!r}")
        if expires_in_seconds is not None:
            checked_count("expires_in_seconds", expires_in_seconds, least=60, most=31_536_000)
        fields = {"content_type": content_type, "file_type": file_type, "expires_in_seconds": expires_in_seconds}
        call = self._transport.call(PRESIGN_UPLOAD, path, body=_requests.encoded("content_type", fields))
        place = await self._transport.get(call, PresignedUpload)
        return evolve(place, presigned_url=Key(place.presigned_url))

    async def upload(
        self,
        source: str | PathLike[str] | bytes | bytearray | memoryview | AsyncIterable[bytes],
        content_type: str | None = None,
        file_type: FileType | None = None,
        *,
        size: int | None = None,
        expires_in_seconds: int | None = None,
        on_progress: Callable[[int, int | None], object] | None = None,
    ) -> UploadedFile:
        """Upload one file, 100 MB (100,000,000 bytes) at most, and give its `public_url`.

        `source` is a path, bytes, or an async iterable of bytes; a large file never lies in memory whole. Without
        `content_type` it is guessed from the path's name, else `application/octet-stream`. `size`, in bytes, is for
        an iterable alone: without it the bytes go in chunks, which some storages refuse. `expires_in_seconds` is that
        of `presign`. `on_progress` is called with the bytes sent so far, from 0 again in each try, and all of them
        (None where unknown).

        A path or bytes are sent again as the retry policy says, and to a new place where the old one has lapsed. An
        iterable can be read once: after its first bytes nothing is sent again. No key is shown to the storage, and a
        redirect of it is refused. The deadline of a call does not bound the sending: that ends where for the length of
        the read time-out nothing moves.

        Raises `ValueError` or `TypeError` before anything is sent for what the service would refuse, `OSError` for a
        file that cannot be read, and the errors of a call.
        """
        opened = await _uploads.opened(source, size)
        try:
            guessed = content_type if content_type is not None else opened.content_type

            async def presign() -> PresignedUpload:
                return await self.presign(guessed, file_type, expires_in_seconds=expires_in_seconds)

            return await _uploads.Upload(self._transport, opened, guessed, presign, on_progress).run()
        finally:
            opened.close()

    async def delete(self, file_id: str) -> None:
        """Delete an uploaded file (`DELETE /files/{id}`); one that is gone already is no error."""
        path = DELETE_FILE.expand(self._transport.session.hosts.edition, file_id=file_id)
        await self._transport.send(self._transport.call(DELETE_FILE, path))
