"""Bytes to records and back: `strict` with cattrs, `fast` with msgspec, and `times` for the times of both."""
