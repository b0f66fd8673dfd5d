"""Owns how a field is marked that the services mostly leave out; refuses to know how records are read."""

from __future__ import annotations

from typing import Final

MOSTLY_ABSENT: Final = {"mostly absent": True}
"""The metadata of an optional field that most answers do not even mention, so that who reads can prepare for it."""
