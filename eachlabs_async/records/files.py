"""The records of uploaded and downloaded files."""

from __future__ import annotations

from datetime import datetime

from attrs import field, frozen


@frozen(kw_only=True)
class PresignedUpload:
    """A place to upload one file to: the answer of `POST /upload/presign`.

    Whoever knows `presigned_url` and `required_headers` can upload, for 15 minutes. `expires_at` is when the file
    will be deleted.
    """

    id: str
    presigned_url: str = field(repr=False)
    public_url: str
    expires_at: datetime | None = None
    required_headers: dict[str, str] | None = field(default=None, repr=False)


@frozen(kw_only=True)
class UploadedFile:
    """A file that lies at the service: `public_url` is what a model takes as input; `size` is in bytes."""

    id: str
    public_url: str
    content_type: str
    size: int
    expires_at: datetime | None = None


@frozen(kw_only=True)
class DownloadedFile:
    """A file that was downloaded: it lies at `path`, with `size` bytes, and took `attempts` requests.

    `content_type` and `content_encoding` are the storage's words. The bytes are as they came: where there is an
    encoding (`gzip`), the file is still encoded.
    """

    path: str
    size: int
    content_type: str | None = None
    content_encoding: str | None = None
    attempts: int | None = None
