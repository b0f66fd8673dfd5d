"""The address that the emulator listens on: this machine alone, unless its user says otherwise."""

from __future__ import annotations

from typing import Final

from ..hosts import is_loopback

__all__ = ["checked_host", "checked_port", "url_at"]

_ANY: Final = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # nothing listens here
"""What a caller on this machine connects to if the emulator listens on all addresses."""


def checked_host(host: str, *, beyond_loopback: bool) -> str:
    """Return the host if the emulator may listen on it. Its keys are public, and so are its rows."""
    if not beyond_loopback and not is_loopback(host):
        raise ValueError(
            f"host {host!r} is more than this machine: others could reach the emulator, whose keys are no secret; "
            "pass beyond_loopback=True (--beyond-loopback) if that is what you want"
        )
    return host


def checked_port(port: int) -> int:
    """Return the port if there is such a port."""
    if not 0 <= port <= 65535:
        raise ValueError(f"port must be 0..65535, not {port}")
    return port


def url_at(host: str, port: int) -> str:
    """Return the origin of an emulator that listens on an address."""
    host = _ANY.get(host, host)
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
