"""Open and keep the connections of a client's own sessions."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable
from functools import partial
from typing import Any

import aiohttp
from aiohttp.abc import AbstractResolver
from aiohttp.client_proto import ResponseHandler

from .idle_connections import close_idle, make_room, ran_out_of_descriptors
from .loop_binding import layers_of


class PooledProtocol(ResponseHandler):
    """A connection that counts as lost once something has arrived on it that nobody asked for."""

    on_lost: Callable[[], object] | None = None

    def connection_lost(self, exc: BaseException | None) -> None:
        """End the connection: its socket is closed."""
        super().connection_lost(exc)
        if self.on_lost is not None:
            self.on_lost()

    def is_connected(self) -> bool:
        """Whether the connection may carry a request. The connector asks before it hands out an idle one."""
        transport = self.transport
        return transport is not None and not transport.is_closing() and not self.should_close


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
        super().__init__(  # pyright: ignore[reportUnknownMemberType]  # aiohttp leaves one of the arguments open
            limit=0, resolver=resolver, ssl=True if context is None else context, force_close=pool is not None
        )
        # There is no public name for it. Overriding `connect` instead would cost each request another coroutine.
        self._factory: Any = partial(PooledProtocol, loop=asyncio.get_running_loop())
        self.transports: set[Any] = set()
        self._max_connections = max_connections
        self._pool = self if pool is None else pool

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
        if protocol.should_close:
            protocol.close()
            raise aiohttp.ClientConnectionError("the server sent data before any request")
        if isinstance(protocol, PooledProtocol):
            layers = layers_of(protocol.transport)
            self.transports.update(layers)
            protocol.on_lost = partial(self.transports.difference_update, layers)
        return protocol
