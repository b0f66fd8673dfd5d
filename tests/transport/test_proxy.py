"""Tests for the environment's proxies: which variable counts, and what a URL of one may leave out."""

from __future__ import annotations

from typing import Any

import pytest
from raw_server import ONCE, RawServer, answer, hosts_at, trust, tunnel

from eachlabs_async import EachLabs
from eachlabs_async.errors import ConfigurationError

VARIABLES = ("http_proxy", "https_proxy", "all_proxy", "no_proxy", "request_method")


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    return monkeypatch


@pytest.mark.parametrize(
    "variables",
    [
        {"HTTPS_PROXY": "{at}"},
        {"https_proxy": "user:pa55word@{at}"},
        {"ALL_PROXY": "http://{at}"},
        {"all_proxy": "{at}"},
        {"ALL_PROXY": "socks5://127.0.0.1:1", "HTTPS_PROXY": "http://{at}"},
        {"ALL_PROXY": "http://{at}", "HTTPS_PROXY": "", "HTTP_PROXY": "http://127.0.0.1:1"},
    ],
)
async def test_the_proxy_of_the_environment_is_used(environment: pytest.MonkeyPatch, variables: dict[str, str]) -> None:
    """A proxy without a scheme is an http proxy, and `ALL_PROXY` counts where the scheme has none of its own."""
    trust(environment)
    async with RawServer(then=answer(json=7), tls=True) as service, RawServer(then=tunnel()) as proxy:
        proxy.tunnel_to = service.port
        for name, value in variables.items():
            environment.setenv(name, value.format(at=f"127.0.0.1:{proxy.port}"))
        async with EachLabs("labs-key", hosts=hosts_at("https://api.example.test"), retry=ONCE) as client:
            assert await client.request("api", "GET", "/x") == 7
    assert [seen.target for seen in proxy.requests] == ["api.example.test:443"]


@pytest.mark.parametrize(
    ("variables", "named"),
    [
        ({"HTTPS_PROXY": "socks5://h:1"}, "HTTPS_PROXY"),
        ({"https_proxy": "socks5://h:1"}, "https_proxy"),
        ({"ALL_PROXY": "socks5://h:1"}, "ALL_PROXY"),
        ({"all_proxy": "h:port"}, "all_proxy"),
    ],
)
async def test_an_error_names_the_variable(
    environment: pytest.MonkeyPatch, variables: dict[str, Any], named: str
) -> None:
    """The error says which variable to correct."""
    for name, value in variables.items():
        environment.setenv(name, value)
    async with EachLabs("labs-key", hosts=hosts_at("https://api.example.test"), retry=ONCE) as client:
        with pytest.raises(ConfigurationError, match=f"^{named} is not an http.s. URL: correct it"):
            await client.request("api", "GET", "/x")
