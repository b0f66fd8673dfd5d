"""Tests for the names and URLs of this machine: who resolves them, and how a base URL is read."""

from __future__ import annotations

import socket
from typing import Any

import attrs
import pytest
from raw_server import ONCE, RawServer, answer, client_of, hosts_at

from eachlabs_async import COMPAT, EachLabs, Service
from eachlabs_async.errors import ConfigurationError


@pytest.mark.parametrize("name", ["localhost", "LOCALHOST"])
async def test_localhost_is_resolved_without_asking(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """A resolver that sends `localhost` elsewhere is not asked, so no key goes there in plain text."""
    asked: list[Any] = []
    original = socket.getaddrinfo

    def elsewhere(host: Any, *more: Any, **options: Any) -> Any:
        if host != "127.0.0.1":
            asked.append(host)
        return original(host, *more, **options)

    async with RawServer(then=answer(json=7)) as server:
        monkeypatch.setattr(socket, "getaddrinfo", elsewhere)
        async with client_of(server, hosts=hosts_at(f"http://{name}:{server.port}"), retry=ONCE) as client:
            assert await client.request("api", "GET", "/x") == 7
            assert await client.request("api", "POST", "/x") == 7
    assert asked == []


@pytest.mark.parametrize(
    "url",
    [
        "https://api.example.com\\@h/v1",
        "https://api.example.com\\.h/v1",
        "https://api.example.com/a/../v1",
        "https://api.example.com/./v1",
        "https://\uff41pi.example.com/v1",
        "https://xn--/v1",
    ],
)
def test_a_base_url_has_one_reading(url: str) -> None:
    """What yarl reads otherwise than `urllib`, which checked it, or not at all, is a `ConfigurationError`."""
    with pytest.raises(ConfigurationError, match="base_url"):
        EachLabs("k", hosts=attrs.evolve(COMPAT, api=Service(url)))


@pytest.mark.parametrize(
    "url",
    [
        "https://h",
        "HTTPS://API.Example.com:8443/V1/",
        "https://b\u00fccher.example/v1",
        "https://h/a%20b/%C3%A9",
        "https://h/caf\u00e9",
        "http://[::1]:8080/v1",
        "http://127.0.0.1:1/v1",
    ],
)
def test_a_plain_base_url_is_accepted(url: str) -> None:
    """Ports, capitals, escapes and names beyond ASCII are no ambiguity."""
    EachLabs("k", hosts=attrs.evolve(COMPAT, api=Service(url)))
