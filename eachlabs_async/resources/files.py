"""Uploading and downloading files. `transport.uploads` and `transport.downloads` transfer the bytes."""

from __future__ import annotations

from collections.abc import AsyncIterable, Callable
from os import PathLike
from typing import Final, Literal

from attrs import evolve

from ..errors import APIStatusError
from ..hosts import not_in_edition
from ..records import DownloadedFile, PresignedUpload, UploadedFile
from ..transport import downloads, uploads
from ..transport.arguments import checked_count, checked_text
from ..transport.endpoints import DELETE_FILE, PRESIGN_UPLOAD
from ..transport.guidance import NamesGuide
from ..transport.keys import Key
from ..transport.requests import encoded
from ..transport.transport import Transport

FileType = Literal["image", "video", "audio", "other"]
FILE_TYPES: Final = ("image", "video", "audio", "other")


class Files(NamesGuide):
    """The files that models take as input and produce. The compat edition has `download` only."""

    __slots__ = ("_transport",)

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    async def presign(
        self, content_type: str, file_type: FileType | None = None, *, expires_in_seconds: int | None = None
    ) -> PresignedUpload:
        """Return a URL to upload one file to (`POST /upload/presign`). `upload` calls this and sends the file too.

        Send the bytes to `presigned_url` within 15 minutes, by PUT, with `required_headers` and the same
        `content_type`, and without a key. `file_type` is `"image"`, `"video"`, `"audio"` or `"other"`.
        `expires_in_seconds`, 60 to 31,536,000, is how long the file is kept; None for 180 days. The URL is a secret,
        and its `repr` is masked.

        Raises `ValueError` or `TypeError` before anything is sent, and the errors of a call.
        """
        path = PRESIGN_UPLOAD.expand(self._transport.edition)
        if checked_text("content_type", content_type) is None:
            raise TypeError("content_type must be a str, not NoneType")
        if not content_type.isascii() or not content_type.isprintable():
            raise ValueError("content_type must be text that an HTTP header can carry")
        if file_type not in (None, *FILE_TYPES):
            raise ValueError(f"file_type must be one of {', '.join(FILE_TYPES)}, not {file_type!r}")
        if expires_in_seconds is not None:
            checked_count("expires_in_seconds", expires_in_seconds, least=60, most=31_536_000)
        fields = {"content_type": content_type, "file_type": file_type, "expires_in_seconds": expires_in_seconds}
        call = self._transport.call(PRESIGN_UPLOAD, path, body=encoded("content_type", fields))
        presigned = await self._transport.get(call, PresignedUpload)
        return evolve(presigned, presigned_url=Key(presigned.presigned_url))

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
        """Upload one file of up to 100 MB (100,000,000 bytes) and return it with its `public_url`.

        `source` is the path of a regular file, bytes, or an async iterable of bytes; a large file is never in memory as
        a whole. `content_type` defaults to a guess from the name of the path, else `application/octet-stream`. `size`,
        in bytes, is for an iterable only; without it the bytes are sent in chunks, which some storages refuse.
        `file_type` and `expires_in_seconds` are those of `presign`. `on_progress` is called with the number of bytes
        sent so far, which starts at 0 in each attempt, and the total number (None if unknown).

        A path or bytes are sent again under the retry policy, and to a new URL if the old one has expired. An iterable
        can be read only once: after its first bytes nothing is sent again. The storage never sees a key, and a redirect
        by it is refused. The deadline of a call does not limit the transfer; an attempt ends when nothing moves for the
        length of the read timeout.

        Raises `ValueError` or `TypeError` before anything is sent for arguments that the service would refuse,
        `OSError` for a file that cannot be read, and the errors of a call.
        """
        if PRESIGN_UPLOAD.path(self._transport.edition) is None:
            raise not_in_edition("files.upload", self._transport.edition)
        opened = await uploads.opened(source, size)
        try:
            guessed = content_type if content_type is not None else opened.content_type

            async def presign() -> PresignedUpload:
                return await self.presign(guessed, file_type, expires_in_seconds=expires_in_seconds)

            return await uploads.Upload(self._transport, opened, guessed, presign, on_progress).run()
        finally:
            opened.close()

    async def download(
        self,
        url: str,
        path: str | PathLike[str],
        *,
        max_bytes: int = downloads.MAX_BYTES,
        on_progress: Callable[[int, int | None], object] | None = None,
    ) -> DownloadedFile:
        """Download a result, or any file at an http(s) URL, to `path`; returns its path, size and type.

        `url` is one of a record's `urls`, or any other. Plain http is accepted for loopback only, and a URL must not
        contain a user or a password. `path` names the file; its directory must exist. The bytes are written to a
        temporary file beside it, which replaces `path` in one step when it is complete, together with a file that was
        there. No temporary file is left behind, however the call ends. A file of more than `max_bytes` (from 1; the
        default is 2 GiB) is refused, even if it does not declare its size. `on_progress` is called with the number of
        bytes on the disk and the size of the file (None if unknown).

        A failed attempt is repeated under the retry policy. A new attempt requests the missing part only, if the
        storage can tell that the file has not changed (a strong `ETag`, or a `Last-Modified`); otherwise it starts from
        the first byte. If no length is declared, the end of the answer is the end of the file. The time in which bytes
        arrive does not count towards `RetryPolicy.max_elapsed_s`, and the deadline of a call does not limit the
        download; an attempt ends when nothing arrives for the length of the read timeout.

        No key and no cookie is sent to any host. Up to 5 redirects are followed, none from https to http or from
        another machine to this one. The bytes are saved as they arrive: no content encoding is requested, and
        `content_encoding` names one that was used anyway.

        Raises `ValueError` or `TypeError` for a wrong argument and `OSError` for a path that cannot be written, both
        before anything is sent; `APIStatusError` for an error response; `APIConnectionError` for a download that broke
        off, was too large, or was redirected to a target that is not allowed. The URL is the only source; no endpoint
        of the service is called.
        """
        if not isinstance(url, str):
            raise TypeError(f"url must be a str, not {type(url).__name__}")
        url = masked = Key(url)  # It may be a secret, and a traceback shows the locals of this frame.
        return await downloads.Download(self._transport, masked, path, max_bytes, on_progress).run()

    async def delete(self, file_id: str) -> None:
        """Delete an uploaded file (`DELETE /files/{id}`). It is no error if the file does not exist any more.

        Raises the errors of a call.
        """
        path = DELETE_FILE.expand(self._transport.edition, file_id=file_id)
        try:
            await self._transport.send(self._transport.call(DELETE_FILE, path))
        except APIStatusError as exc:
            if exc.status not in (404, 410):
                raise
