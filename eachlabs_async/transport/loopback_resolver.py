"""Resolve `localhost` to this machine without asking anyone; all other names go to aiohttp's resolver."""

from __future__ import annotations

import socket
from typing import Final

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult

_ADDRESSES: Final = ((socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1"))


class LoopbackResolver(AbstractResolver):
    """A resolver for a client's own connectors. Plain http is allowed to `localhost`, so no DNS server may move it."""

    def __init__(self) -> None:
        self._others = aiohttp.DefaultResolver()

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        """Return the addresses of a host."""
        if host.lower() != "localhost":
            return await self._others.resolve(host, port, family)
        return [
            ResolveResult(
                hostname=host,
                host=address,
                port=port,
                family=kind,
                proto=socket.IPPROTO_TCP,
                flags=socket.AI_NUMERICHOST | socket.AI_NUMERICSERV,
            )
            for kind, address in _ADDRESSES
            if family in (socket.AF_UNSPEC, kind)
        ]

    async def close(self) -> None:
        """Close aiohttp's resolver."""
        await self._others.close()
