"""The records of uploaded and downloaded files."""

from __future__ import annotations

from datetime import datetime

from attrs import field, frozen


@frozen(kw_only=True)
class PresignedUpload:
    """A presigned upload of one file, the response of `POST /upload/presign`.

    With `presigned_url` and `required_headers` anyone can upload, for 15 minutes. The file is deleted at `expires_at`.
    """

    id: str
    presigned_url: str = field(repr=False)
    public_url: str
    expires_at: datetime | None = None
    required_headers: dict[str, str] | None = field(default=None, repr=False)


@frozen(kw_only=True)
class UploadedFile:
    """An uploaded file. `public_url` is what a model takes as input; `size` is in bytes."""

    id: str
    public_url: str
    content_type: str
    size: int
    expires_at: datetime | None = None


@frozen(kw_only=True)
class DownloadedFile:
    """A downloaded file at `path`, with `size` bytes. The download took `attempts` requests.

    `content_type` and `content_encoding` are those of the response. The bytes are not decoded: with a
    `content_encoding`, such as `gzip`, the file is still encoded.
    """

    path: str
    size: int
    content_type: str | None = None
    content_encoding: str | None = None
    attempts: int | None = None
