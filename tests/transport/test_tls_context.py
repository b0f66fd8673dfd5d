"""Tests for `EachLabs(ssl=...)`: private certificate authorities and client certificates."""

from __future__ import annotations

import asyncio
import ssl
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from raw_server import ONCE, TLS_FILE, RawServer, answer, client_of

from eachlabs_async import EachLabs
from eachlabs_async.errors import APIConnectionError, ConfigurationError


async def test_a_private_authority_is_trusted() -> None:
    """Calls, creating calls and transfers use the context; without it the certificate is refused."""
    context = ssl.create_default_context(cafile=TLS_FILE)
    async with RawServer(then=answer(json=7), tls=True) as server:
        async with client_of(server, retry=ONCE) as client:
            with pytest.raises(APIConnectionError, match="CERTIFICATE_VERIFY_FAILED"):
                await client.request("api", "GET", "/x")
        async with client_of(server, retry=ONCE, ssl=context) as client:
            assert await client.request("api", "GET", "/x") == 7
            assert await client.request("api", "POST", "/x") == 7


async def test_a_download_uses_the_context(tmp_path: Path) -> None:
    """A storage behind a private authority needs it too."""
    async with RawServer(then=answer(body=b"bytes"), tls=True) as server:
        async with client_of(server, retry=ONCE, ssl=ssl.create_default_context(cafile=TLS_FILE)) as client:
            await client.files.download(f"{server.url}/file", tmp_path / "file")
    assert (tmp_path / "file").read_bytes() == b"bytes"


async def test_a_client_certificate_is_shown() -> None:
    """A server that requires one gets the context's."""
    shown: list[Any] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        shown.append(writer.get_extra_info("peercert"))
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answer(json=7, headers={"Connection": "close"}).sent)
        writer.close()
        await writer.wait_closed()

    asking = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=TLS_FILE)
    asking.verify_mode = ssl.CERT_REQUIRED
    asking.load_cert_chain(TLS_FILE)
    context = ssl.create_default_context(cafile=TLS_FILE)
    context.load_cert_chain(TLS_FILE)
    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=asking)
    async with server:
        port = server.sockets[0].getsockname()[1]
        at = RawServer(tls=True)
        at.port = port
        async with client_of(at, retry=ONCE, ssl=context) as client:
            assert await client.request("api", "GET", "/x") == 7
    assert shown[0]["serialNumber"]


async def test_a_context_belongs_to_own_connections() -> None:
    """A passed session has a connector of its own, and anything else than a context is a `TypeError`."""
    async with aiohttp.ClientSession() as session:
        with pytest.raises(ConfigurationError, match="pass it to the connector of your session"):
            EachLabs("k", session=session, ssl=ssl.create_default_context())
    wrong: Any = False
    with pytest.raises(TypeError, match=r"ssl must be an ssl\.SSLContext, not bool"):
        EachLabs("k", ssl=wrong)
