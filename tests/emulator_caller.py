"""Requests to the emulator over a plain aiohttp session, with the right key of each service."""

from __future__ import annotations

from typing import Any

import aiohttp

from eachlabs_async.emulator import Emulator


class Caller:
    """Sends requests with the right key of each service."""

    def __init__(self, emulator: Emulator, session: aiohttp.ClientSession) -> None:
        self.emulator, self.session = emulator, session

    async def ask(
        self,
        service: str,
        path: str,
        *,
        edition: str = "compat",
        method: str = "GET",
        json: Any = None,
        keyless: bool = False,
        version: int = 1,
        **query: Any,
    ) -> tuple[int, Any]:
        hosts = self.emulator.hosts if edition == "compat" else self.emulator.unified_hosts
        host = hosts.service(service)
        key = self.emulator.runs_api_key if service == "runs" else self.emulator.api_key
        headers = {"X-API-Key": key} if host.auth == "x-api-key" else {"Authorization": f"Bearer {key}"}
        if keyless:
            headers = {}
        base = host.base_url if version == 1 else f"{host.base_url.removesuffix('/v1')}/v{version}"
        async with self.session.request(method, base + path, params=query, headers=headers, json=json) as answer:
            return answer.status, await answer.json() if answer.content_length else None

    async def good(self, service: str, path: str, **options: Any) -> Any:
        status, body = await self.ask(service, path, **options)
        assert status in (200, 201, 202, 204), body
        return body
