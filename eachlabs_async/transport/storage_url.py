"""Hold the URL of a file in a storage, which may be a secret, and the parts of it that may be shown."""

from __future__ import annotations

from urllib.parse import parse_qsl, urlsplit

from ..hosts import is_loopback
from .keys import Key
from .redaction import line


class StorageUrl:
    """The URL of a file in a storage, such as a presigned URL, whose query is a secret.

    `is_plain` is True for an absolute http(s) URL without a user or a password. `has_odd_characters` is True if it
    contains a space or a character that is not printable. `without_query` may be shown.
    """

    def __init__(self, url: Key) -> None:
        try:
            parts = urlsplit(str.__str__(url))
            _ = parts.port
        except ValueError:
            parts = urlsplit("")
        self.url = url
        odd_host = {"@", "%", "\\"} & {*parts.netloc}
        self.is_plain = parts.scheme in ("http", "https") and bool(parts.hostname) and not odd_host
        self.has_odd_characters = not url.isprintable() or " " in url
        self.scheme, self._host = parts.scheme, parts.hostname or ""
        self.origin = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"
        self.without_query = f"{self.origin}{parts.path}"
        values = [value for _, value in parse_qsl(parts.query) if len(value) >= 16]
        self.secrets = tuple(Key(text) for text in sorted({parts.query, *values} - {""}, key=len, reverse=True))

    def redact(self, text: str) -> str:
        """Return a text of the storage in one line, with asterisks for the query and its long values."""
        return line(text, self.secrets)

    @property
    def is_safe(self) -> bool:
        """Whether it is an https URL, or a plain http URL of this machine."""
        return bool(self._host) and (self.scheme == "https" or (self.scheme == "http" and self.is_loopback))

    @property
    def is_loopback(self) -> bool:
        """Whether its host can only be this machine."""
        return is_loopback(self._host)
