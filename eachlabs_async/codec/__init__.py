"""Bytes to records and back: strict (cattrs, the authority), fast (msgspec), and the times of both."""
