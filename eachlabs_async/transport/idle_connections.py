"""Look after the idle connections of an aiohttp connector, of which aiohttp checks only that they are open.

aiohttp has no public names for them. With a version that has other private ones, nothing is done here.
"""

from __future__ import annotations

import asyncio
import errno
import os
import socket
from collections.abc import MutableMapping
from contextlib import suppress
from typing import Any

import aiohttp


def drop_unclean(connector: aiohttp.BaseConnector | None, key: object) -> None:
    """Close the idle connections for `key` on which something arrived that nobody asked for.

    It would be taken for the response to the next request, and that one's response for the response to the one after.
    """
    idle = _idle(connector)
    found = idle.get(key)
    if not found or not any(entry[0].should_close for entry in found):
        return
    entries = list(found)
    found.clear()
    for entry in entries:
        if entry[0].should_close:
            entry[0].close()
        else:
            found.append(entry)
    if not found:
        del idle[key]


def close_idle(connector: aiohttp.BaseConnector | None, *, keep: int = 0) -> None:
    """Close idle connections, the longest idle first, until `keep` of them are left."""
    idle = _idle(connector)
    count = sum(map(len, idle.values()))
    while count > keep:
        key = min((each for each in idle if idle[each]), key=lambda each: idle[each][0][1])
        protocol = idle[key].popleft()[0]
        if not idle[key]:
            del idle[key]
        # Without the farewell of TLS, for which the descriptor would stay open.
        protocol.abort() if hasattr(protocol, "abort") else protocol.close()
        count -= 1


def ran_out_of_descriptors(exc: aiohttp.ClientConnectorError) -> bool:
    """Whether a connection could not be opened because the process or the system has no file descriptor left."""
    if exc.os_error.errno in (errno.EMFILE, errno.ENFILE):
        return True
    if not isinstance(exc.os_error, socket.gaierror):
        return False
    try:  # A look-up that cannot open a socket fails like one without a network.
        os.close(os.open(os.devnull, os.O_RDONLY))
    except OSError as found:
        return found.errno in (errno.EMFILE, errno.ENFILE)
    return False


async def make_room(connector: aiohttp.BaseConnector | None) -> None:
    """Close all idle connections and wait until their descriptors are free."""
    close_idle(connector)
    for _ in range(2):  # The loop closes a socket in its next iteration.
        await asyncio.sleep(0)


async def use_clean_connection(
    request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType
) -> aiohttp.ClientResponse:
    """Send a request over a connection on which nothing has arrived, as a middleware for an external session."""
    connector = request.session.connector
    with suppress(AttributeError):
        drop_unclean(connector, request.connection_key)
    try:
        return await handler(request)
    except aiohttp.ClientConnectorError as exc:
        if not ran_out_of_descriptors(exc):
            raise
    await make_room(connector)
    return await handler(request)


def _idle(connector: Any) -> MutableMapping[Any, Any]:
    found: MutableMapping[Any, Any] = getattr(connector, "_conns", {})
    return found
