"""Remember the event loop and the process in which a client is used, and let go of what belongs to former ones."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterable
from typing import Any, Final, Literal

import aiohttp

from ..errors import ConfigurationError

_inherited: Final[list[object]] = []
"""Loops of a parent process. Collecting one would change the selector that the parent still uses."""

Change = Literal["first", "closed", "forked"]


class LoopBinding:
    """The event loop and the process of a client's first use; `loop` is None before that."""

    __slots__ = ("_process", "loop")

    def __init__(self) -> None:
        self.loop: asyncio.AbstractEventLoop | None = None
        self._process = 0

    def bind(self, loop: asyncio.AbstractEventLoop) -> Change:
        """Bind to another loop, and return what became of the former one.

        Raises `ConfigurationError` if that is still open in this process.
        """
        change: Change = "first"
        if self.loop is not None:
            if self._process != os.getpid():
                change = "forked"
                _inherited.append(self.loop)
            elif self.loop.is_closed():
                change = "closed"
            else:
                raise ConfigurationError(
                    "the client is in use in another event loop, which is still open: make one client per loop"
                )
        self.loop, self._process = loop, os.getpid()
        return change


def check_passed(session: aiohttp.ClientSession, loop: asyncio.AbstractEventLoop) -> None:
    """Raise `ConfigurationError` if a passed session belongs to another loop than the running one."""
    own: Any = getattr(session, "_loop", loop)
    if own is not loop:
        state = "a closed" if own.is_closed() else "another"
        raise ConfigurationError(
            f"the session that was passed in belongs to {state} event loop: "
            "make one client per loop, with a session that is opened in that loop"
        )


def let_go(connector: aiohttp.BaseConnector, transports: Iterable[object]) -> None:
    """Let go of a connector whose loop is closed or belongs to a parent process, and of what it opened.

    The loop can close nothing any more. In a forked process it must not: its selector and, with TLS, the bytes of a
    farewell would reach the parent. So only this process's descriptors are closed.
    """
    for name in ("_conns", "_acquired"):  # The connector would close, or warn of, what it keeps.
        if hasattr(connector, name):
            getattr(connector, name).clear()
    for transport in transports:
        _close_descriptor(transport)


def layers_of(transport: Any) -> list[Any]:
    """Return a transport and, with TLS, the one below it, which outlives it until the farewell is over."""
    secured = getattr(transport, "_ssl_protocol", None)
    below = getattr(secured, "_transport", None)
    return [transport] if below is None else [transport, below]


def _close_descriptor(transport: Any) -> None:
    """Close the socket of a transport of asyncio, and nothing else. Other loops close theirs with themselves."""
    if getattr(transport, "_ssl_protocol", None) is not None:
        transport._closed = True  # Collecting the transport would warn that nobody closed it.
    sock = getattr(transport, "_sock", None)
    if sock is not None and hasattr(transport, "_call_connection_lost"):
        sock.close()
        transport._sock = None
        transport._closing = True
