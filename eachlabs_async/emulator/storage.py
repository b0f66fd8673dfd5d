"""The storage service: presigned URLs, uploads, and downloads, whole or in part.

It responds like S3, with errors in XML. The URL is the only credential; a key in one of its requests is a leak, which
the request log records.
"""

from __future__ import annotations

import hashlib
import hmac
import mimetypes
import re
from collections.abc import Mapping
from datetime import datetime, timedelta
from email.utils import format_datetime
from typing import Any, Final

from attrs import define, field

from .clock import Clock
from .collection import Row
from .reply import Reply
from .rows import rfc3339, seeded_id

__all__ = ["LARGEST", "UploadBody", "Storage", "StoredFile"]

LARGEST: Final = 100_000_000
"""The largest upload, in bytes."""

_FILE_ID: Final = "x-amz-meta-file-id"
_RANGE: Final = re.compile(r"bytes=([0-9]{0,18})-([0-9]{0,18})")
_RETENTION_S: Final = (60, 180 * 86400, 365 * 86400)


@define(kw_only=True)
class StoredFile:
    """A presigned file. `uploads` counts the complete PUTs.

    `data` is None before the first PUT, and if the emulator does not keep uploads; `size` and `sha256` are known then
    too.
    """

    id: str
    content_type: str
    name: str
    url_expires_at: datetime
    expires_at: datetime
    uploads: int = 0
    size: int = 0
    sha256: str = ""
    data: bytes | None = None
    stored_at: datetime | None = None

    @property
    def etag(self) -> str:
        """The entity tag of the current bytes."""
        return f'"{self.sha256[:32]}"'

    @property
    def modified(self) -> str:
        """The time of the upload, as an HTTP date."""
        return format_datetime(self.stored_at, usegmt=True) if self.stored_at else ""


@define(kw_only=True)
class UploadBody:
    """The body of an upload while it arrives; its bytes are collected only if the emulator keeps uploads."""

    keep: bool
    size: int = 0
    digest: Any = field(factory=hashlib.sha256)
    chunks: list[bytes] = field(factory=list[bytes])

    def add(self, chunk: bytes) -> bool:
        """Add a chunk. Return False if the upload is too large."""
        self.size += len(chunk)
        self.digest.update(chunk)
        if self.keep:
            self.chunks.append(chunk)
        return self.size <= LARGEST


def _refused(status: int, code: str, message: str, headers: Mapping[str, str] | None = None) -> Reply:
    body = f'<?xml version="1.0" encoding="UTF-8"?>\n<Error><Code>{code}</Code><Message>{message}</Message></Error>'
    return Reply(status, body.encode(), headers or {}, "application/xml")


class Storage:
    """The files of one emulator. `files` has those that were not deleted, by id.

    `url_lifetime` is for how many seconds of the clock a presigned URL is valid. `keep` says whether the bytes of
    uploads are kept. `chunked` says whether an upload of undeclared length is accepted; S3 itself refuses it.
    """

    def __init__(self, clock: Clock, seed: int, *, url_lifetime: float, keep: bool, chunked: bool) -> None:
        self.files: dict[str, StoredFile] = {}
        self.url_lifetime = url_lifetime
        self.keep = keep
        self.chunked = chunked
        self._clock = clock
        self._seed = seed
        self._made = 0

    def presign(self, origin: str, content_type: str, retention_s: int | None) -> Row:
        """Return the URLs and headers for an upload; `retention_s` is for how many seconds the file is to be kept."""
        file_id = seeded_id(self._seed, "file", self._made)
        self._made += 1
        least, usual, most = _RETENTION_S
        kept = usual if retention_s is None else min(max(retention_s, least), most)
        now = self._clock.now()
        file = StoredFile(
            id=file_id,
            content_type=content_type,
            name=file_id + (mimetypes.guess_extension(content_type.partition(";")[0].strip()) or ""),
            url_expires_at=now + timedelta(seconds=self.url_lifetime),
            expires_at=now + timedelta(seconds=kept),
        )
        self.files[file_id] = file
        query = (
            f"X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Expires={self.url_lifetime:g}"
            f"&X-Amz-SignedHeaders=content-type%3Bhost%3B{_FILE_ID}&X-Amz-Signature={self._signature(file)}"
        )
        return {
            "id": file_id,
            "presigned_url": f"{origin}/storage/uploads/{file.name}?{query}",
            "public_url": f"{origin}/storage/public/{file.name}",
            "expires_at": rfc3339(file.expires_at),
            "required_headers": {_FILE_ID: file_id},
        }

    def refuses(self, name: str, query: Mapping[str, str], headers: Mapping[str, str]) -> Reply | None:
        """Return the refusal of a PUT before its body is read, or None. The names of `headers` are in lower case."""
        file = self._named(name)
        if file is None or not hmac.compare_digest(query.get("X-Amz-Signature", ""), self._signature(file)):
            return _refused(403, "SignatureDoesNotMatch", "The request signature does not match.")
        if self._clock.now() > file.url_expires_at:
            return _refused(403, "AccessDenied", "Request has expired")
        if headers.get("content-type") != file.content_type or headers.get(_FILE_ID) != file.id:
            return _refused(403, "SignatureDoesNotMatch", "The signed headers are not those that were sent.")
        if any(header.startswith("x-amz-") and header != _FILE_ID for header in headers):
            return _refused(403, "AccessDenied", "There were headers present in the request which were not signed")
        length = headers.get("content-length")
        if length is None and not self.chunked:
            return _refused(411, "MissingContentLength", "You must provide the Content-Length HTTP header.")
        return self.too_large() if int(length or 0) > LARGEST else None

    def too_large(self) -> Reply:
        """Return the refusal of an upload with too many bytes."""
        return _refused(400, "EntityTooLarge", "Your proposed upload exceeds the maximum allowed size")

    def put(self, name: str, upload: UploadBody) -> Reply:
        """Store the body of an upload that `refuses` has let pass."""
        file = self._named(name)
        if file is None:
            return _refused(404, "NoSuchKey", "The specified key does not exist.")
        file.uploads += 1
        file.size, file.sha256 = upload.size, upload.digest.hexdigest()
        file.data = b"".join(upload.chunks) if self.keep else None
        file.stored_at = self._clock.now()
        return Reply(200, b"", {"ETag": file.etag}, "application/xml")

    def incoming(self) -> UploadBody:
        """Return the collector of an upload's body."""
        return UploadBody(keep=self.keep)

    def get(self, name: str, headers: Mapping[str, str]) -> Reply:
        """Return a public file, or the requested part of it. The names of `headers` are in lower case.

        Like S3, this serves a single range if the file is still the one that `If-Range` names, and else the whole file.
        """
        file = self._named(name)
        if file is None or file.data is None or self._clock.now() > file.expires_at:
            return _refused(404, "NoSuchKey", "The specified key does not exist.")
        about = {"ETag": file.etag, "Last-Modified": file.modified, "Accept-Ranges": "bytes"}
        wanted = _RANGE.fullmatch(headers.get("range", ""))
        if wanted is None or headers.get("if-range", file.etag) not in (file.etag, file.modified):
            return Reply(200, file.data, about, file.content_type)
        first, last = wanted.groups()
        if first:
            begin, end = int(first), min(int(last or file.size) + 1, file.size)
        else:
            begin, end = max(file.size - int(last or 0), 0), file.size
        if begin >= end:
            size = {"Content-Range": f"bytes */{file.size}"}
            return _refused(416, "InvalidRange", "The requested range is not satisfiable", size)
        about["Content-Range"] = f"bytes {begin}-{end - 1}/{file.size}"
        return Reply(206, file.data[begin:end], about, file.content_type)

    def delete(self, file_id: str) -> None:
        """Delete a file; does nothing if there is none."""
        self.files.pop(file_id, None)

    def _named(self, name: str) -> StoredFile | None:
        file = self.files.get(name.partition(".")[0])
        return file if file is not None and file.name == name else None

    def _signature(self, file: StoredFile) -> str:
        signed = f"{file.id}\n{file.content_type}\n{file.url_expires_at.isoformat()}"
        return hmac.new(f"emulator/{self._seed}".encode(), signed.encode(), hashlib.sha256).hexdigest()
