"""Owns the bytes below HTTP's good manners: half answers, resets, silence.

It refuses to decide: it does to one connection what a fault asks for.
"""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import Mapping
from typing import Any

from .answers import Answer, phrase

__all__ = ["close_after", "head_of", "hold", "reset"]


def head_of(answer: Answer, headers: Mapping[str, str]) -> bytes:
    """Give the status line and the headers that promise the whole body of an answer."""
    lines = [
        f"HTTP/1.1 {answer.status} {phrase(answer.status)}",
        f"Content-Length: {len(answer.body)}",
        *(f"{name}: {value}" for name, value in headers.items()),
    ]
    return "\r\n".join(lines).encode() + b"\r\n\r\n"


def reset(transport: asyncio.Transport) -> None:
    """Break the connection with an RST."""
    # With no linger, close() throws away what is unsent and resets instead of saying goodbye.
    connection: Any = transport.get_extra_info("socket")
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    transport.abort()


def close_after(transport: asyncio.Transport, data: bytes) -> None:
    """Send `data` and close the connection."""
    transport.write(data)
    transport.close()


async def hold(transport: asyncio.Transport, data: bytes) -> None:
    """Send `data`, then keep the connection open until the client leaves (this call is cancelled then)."""
    transport.write(data)
    await asyncio.get_running_loop().create_future()
