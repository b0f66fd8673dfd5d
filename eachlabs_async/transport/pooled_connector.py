"""Open and keep the connections of a client's own sessions."""

from __future__ import annotations

import ssl
from typing import Any

import aiohttp
from aiohttp.abc import AbstractResolver

from .idle_connections import close_idle, drop_unclean, make_room, ran_out_of_descriptors


class PooledConnector(aiohttp.TCPConnector):
    """A connector that hands out clean connections only and keeps `max_connections` of them at most.

    A connection is clean if nothing has arrived on it that nobody asked for. With `pool`, another connector, no
    connection is kept at all, and one that cannot be opened for want of descriptors closes the idle ones of `pool`.
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
        try:
            return await super()._create_connection(req, traces, timeout)
        except aiohttp.ClientConnectorError as exc:
            if not ran_out_of_descriptors(exc):
                raise
        await make_room(self._pool)
        return await super()._create_connection(req, traces, timeout)
