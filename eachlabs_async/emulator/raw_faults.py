"""Faults below HTTP, made on the raw connection: resets, truncated and stalled responses."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import Mapping
from typing import Any

from .reply import Reply, reason_phrase

__all__ = ["close_after", "head_of", "hold", "reset"]


def head_of(reply: Reply, headers: Mapping[str, str]) -> bytes:
    """Return the status line and the headers of a reply, which declare its whole body."""
    lines = [
        f"HTTP/1.1 {reply.status} {reason_phrase(reply.status)}",
        f"Content-Length: {len(reply.body)}",
        *(f"{name}: {value}" for name, value in headers.items()),
    ]
    return "\r\n".join(lines).encode() + b"\r\n\r\n"


def reset(transport: asyncio.Transport) -> None:
    """Reset the connection (RST)."""
    # With a linger time of 0, closing discards what is unsent and sends an RST instead of a FIN.
    connection: Any = transport.get_extra_info("socket")
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    transport.abort()


def close_after(transport: asyncio.Transport, data: bytes) -> None:
    """Send `data` and close the connection."""
    transport.write(data)
    transport.close()


async def hold(transport: asyncio.Transport, data: bytes) -> None:
    """Send `data` and keep the connection open until the client leaves, which cancels this call."""
    transport.write(data)
    await asyncio.get_running_loop().create_future()
