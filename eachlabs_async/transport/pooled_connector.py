"""Open and keep the connections of a client's own sessions."""

from __future__ import annotations

import ssl
from contextlib import suppress
from typing import Any
from weakref import WeakSet

import aiohttp
from aiohttp.abc import AbstractResolver

from .idle_connections import close_idle, drop_unclean, make_room, ran_out_of_descriptors
from .loop_binding import layers_of


class PooledConnector(aiohttp.TCPConnector):
    """A connector that hands out clean connections only and keeps `max_connections` of them at most.

    A connection is clean if nothing has arrived on it that nobody asked for. With `pool`, another connector, no
    connection is kept at all, and one that cannot be opened for want of descriptors closes the idle ones of `pool`.
    `transports` are those of all open connections, also of those that are being closed.
    """

    def __init__(
        self,
        *,
        max_connections: int,
        resolver: AbstractResolver,
        context: ssl.SSLContext | None,
        pool: aiohttp.TCPConnector | None = None,
    ) -> None:
        # The semaphore of the client limits the requests in flight. A limit here would add a second queue.
        super().__init__(
            limit=0, resolver=resolver, ssl=True if context is None else context, force_close=pool is not None
        )
        self.transports: WeakSet[Any] = WeakSet()
        self._max_connections = max_connections
        self._pool = self if pool is None else pool

    async def connect(self, req: Any, traces: Any, timeout: Any) -> Any:
        """Return a clean connection, from the pool or new."""
        connection = await super().connect(req, traces, timeout)
        protocol = connection.protocol
        if protocol is None or not protocol.should_close:
            return connection
        connection.close()
        drop_unclean(self, req.connection_key)
        connection = await super().connect(req, traces, timeout)
        protocol = connection.protocol
        if protocol is not None and protocol.should_close:
            connection.close()
            raise aiohttp.ClientConnectionError("the server sent data before any request")
        return connection

    async def _create_connection(self, req: Any, traces: Any, timeout: Any) -> Any:
        """Open a connection. aiohttp's own connectors override this method of their base class too."""
        # The connection to be opened counts as acquired already.
        close_idle(self, keep=max(0, self._max_connections - len(getattr(self, "_acquired", ()))))
        protocol: Any = None
        try:
            protocol = await super()._create_connection(req, traces, timeout)
        except aiohttp.ClientConnectorError as exc:
            if not ran_out_of_descriptors(exc):
                raise
        if protocol is None:
            await make_room(self._pool)
            protocol = await super()._create_connection(req, traces, timeout)
        with suppress(TypeError):  # Those of other loops than asyncio's may have no weak references.
            self.transports.update(layers_of(protocol.transport))
        return protocol
