"""Owns the calls about files; refuses to know how their bytes travel, as `uploads` and `downloads` do."""

from __future__ import annotations

from collections.abc import AsyncIterable, Callable
from os import PathLike
from typing import Final, Literal

from attrs import evolve

from ..records import DownloadedFile, PresignedUpload, UploadedFile
from ..transport import downloads, uploads
from ..transport.arguments import checked_count, checked_text
from ..transport.endpoints import DELETE_FILE, PRESIGN_UPLOAD
from ..transport.keys import Key
from ..transport.requests import encoded
from ..transport.transport import Transport

FileType = Literal["image", "video", "audio", "other"]
FILE_TYPES: Final = ("image", "video", "audio", "other")


class Files:
    """Files that models take as input, and those that they make; only `download` is there in the compat edition."""

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
        """Download a result, or any file at an http(s) URL, to `path`; give where it lies, its size and its type.

        `url` is one of a record's `urls`, or any other. Plain http is for loopback alone, and a URL must not carry a
        user or a password. `path` names the file; its directory must exist. The bytes go to a temporary file beside
        it, which takes the place of `path` in one step when they are all there; a file that was there is replaced.
        However the call ends, it leaves no temporary file. A file of more than `max_bytes` (from 1; 2,147,483,648,
        which is 2 GiB, unless you say otherwise) is refused, also where it does not declare its size. `on_progress` is
        called with the bytes that are on the disk and the size of the file (None where unknown).

        What fails is tried again as the retry policy says. A new try asks for the missing part only, where the storage
        can tell that the file has not changed (a strong `ETag`, or a `Last-Modified`); else it starts from the first
        byte. Where no length is declared, the end of the answer is the end of the file. The time in which bytes come
        does not count towards `RetryPolicy.max_elapsed_s`, and the deadline of a call does not bound the download: a
        try ends where for the length of the read time-out nothing comes.

        No key and no cookie is sent, whatever the host. Up to 5 redirects are followed, none from https to http. The
        bytes are saved as they come: a storage is asked for no encoding, and `content_encoding` says if it used one.

        Raises `ValueError` or `TypeError` for a wrong argument and `OSError` for a path that cannot be written, both
        before anything is sent; `APIStatusError` for an answer that is an error; `APIConnectionError` for a download
        that broke off, was too large or was redirected where it must not go. There is no endpoint behind it.
        """
        if not isinstance(url, str):
            raise TypeError(f"url must be a str, not {type(url).__name__}")
        url = where = Key(url)  # It may be a secret, and a traceback shows the locals of this frame.
        return await downloads.Download(self._transport, where, path, max_bytes, on_progress).run()

    async def delete(self, file_id: str) -> None:
        """Delete an uploaded file (`DELETE /files/{id}`); one that is gone already is no error."""
        path = DELETE_FILE.expand(self._transport.session.hosts.edition, file_id=file_id)
        await self._transport.send(self._transport.call(DELETE_FILE, path))
