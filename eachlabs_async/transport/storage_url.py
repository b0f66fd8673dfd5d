"""Owns what may be said of a URL that is a secret, and where it may lead; refuses to send anything."""

from __future__ import annotations

from urllib.parse import parse_qsl, urlsplit

from ..hosts import is_loopback
from .keys import Key
from .wire import redact


class StorageUrl:
    """What may be said of the URL of a storage, such as a presigned one, and what may not."""

    def __init__(self, where: Key) -> None:
        try:
            parts = urlsplit(str.__str__(where))
            _ = parts.port
        except ValueError:
            parts = urlsplit("")
        self.where = where
        self.is_plain = parts.scheme in ("http", "https") and bool(parts.hostname) and not {"@", "%"} & {*parts.netloc}
        self.scheme, self._host = parts.scheme, parts.hostname or ""
        self.origin = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"
        self.shown = f"{self.origin}{parts.path}"
        values = [value for _, value in parse_qsl(parts.query) if len(value) >= 16]
        self.secrets = tuple(Key(text) for text in sorted({parts.query, *values} - {""}, key=len, reverse=True))

    def redact(self, text: str) -> str:
        """Strike the query, and what it says, out of a text."""
        return redact(text, self.secrets)

    @property
    def is_safe(self) -> bool:
        """Say whether it is an https URL; plain http is for this machine alone."""
        return bool(self._host) and (self.scheme == "https" or (self.scheme == "http" and is_loopback(self._host)))
