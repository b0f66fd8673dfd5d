"""Tests for the hosts of the services: their URLs, which of them are allowed, and the selected edition."""

from __future__ import annotations

import attrs
import pytest

from eachlabs_async import COMPAT, UNIFIED, Hosts, Service
from eachlabs_async.errors import ConfigurationError
from eachlabs_async.hosts import SERVICE_NAMES, default_hosts, is_loopback


def test_the_presets_are_the_documented_hosts() -> None:
    """Each service has the documented base URL and header style in both editions."""
    assert [attrs.astuple(COMPAT.service(name)) for name in SERVICE_NAMES] == [
        ("https://api.eachlabs.ai/v1", "x-api-key"),
        ("https://workflows.eachlabs.run/api/v1", "x-api-key"),
        ("https://flows.eachlabs.ai/api/v1", "x-api-key"),
        ("https://backend.noxus.ai/v1", "x-api-key"),
    ]
    assert [attrs.astuple(UNIFIED.service(name)) for name in SERVICE_NAMES] == [
        ("https://api.eachlabs.ai/v1", "bearer"),
        ("https://api.eachlabs.ai/v1", "bearer"),
        ("https://flows.eachlabs.ai/api/v1", "x-api-key"),
        ("https://backend.noxus.ai/v1", "x-api-key"),
    ]
    assert (COMPAT.edition, UNIFIED.edition) == ("compat", "unified")


@pytest.mark.parametrize(
    ("url", "kept"),
    [
        ("https://h", "https://h"),
        ("https://h/v1/", "https://h/v1"),
        ("https://h//", "https://h"),
        ("https://h:8443/v1", "https://h:8443/v1"),
        ("HTTPS://h", "HTTPS://h"),
        ("http://localhost:1", "http://localhost:1"),
        ("http://127.0.0.1:1/v1", "http://127.0.0.1:1/v1"),
        ("http://127.9.9.9", "http://127.9.9.9"),
        ("http://[::1]:1", "http://[::1]:1"),
    ],
)
def test_https_and_loopback_are_let_through(url: str, kept: str) -> None:
    """A base URL is https, or http to loopback; a trailing slash is dropped."""
    assert Service(url).base_url == kept


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("http://example.com", "plain http and 'example.com' is not a loopback host"),
        ("http://192.168.0.1", "is not a loopback host"),
        ("http://api.localhost", "is not a loopback host"),
        ("http://localhost.", "is not a loopback host"),
        ("http://[::ffff:127.0.0.1]", "is not a loopback host"),
        ("http://localhost.example.com", "is not a loopback host"),
        ("http://127.0.0.1.example.com", "is not a loopback host"),
        ("http://127.0.0.1\\.example.com", "is not a loopback host"),
        ("http://0.0.0.0", "is not a loopback host"),
        ("http://[::2]", "is not a loopback host"),
        ("ftp://h", "absolute https"),
        ("h/v1", "absolute https"),
        ("//h", "absolute https"),
        ("https://", "absolute https"),
        ("https:///v1", "absolute https"),
        ("", "absolute https"),
        ("https://user@h", "must not carry a user"),
        ("https://:password@h", "must not carry a user"),
        ("https://h?a=1", "must not carry"),
        ("https://h#a", "must not carry"),
        ("https://h:99999", "host or port cannot be read"),
        ("https://h:port", "host or port cannot be read"),
        ("https://[::1", "host or port cannot be read"),
        ("https://exa mple.com", "must not contain white space"),
        ("https://example.com/v 1", "must not contain white space"),
        ("https://example.com\n", "must not contain white space"),
        (" https://example.com", "must not contain white space"),
        ("https://exa\u2028mple.com", "must not contain white space"),
        ("https://example.com/\x00", "must not contain white space"),
    ],
)
def test_any_other_base_url_is_refused(url: str, says: str) -> None:
    """The error is a `ConfigurationError` and never shows a password."""
    with pytest.raises(ConfigurationError, match=says) as caught:
        Service(url)
    assert "password@" not in str(caught.value)


def test_only_text_is_a_base_url() -> None:
    """Anything else is a `TypeError` that names the argument."""
    with pytest.raises(TypeError, match="base_url must be a str, not int"):
        Service(7)


def test_styles_and_editions_are_closed_sets() -> None:
    """Another word is a `ConfigurationError` that lists the allowed ones."""
    with pytest.raises(ConfigurationError, match="auth must be 'x-api-key' or 'bearer', not 'basic'"):
        Service("https://h", "basic")
    with pytest.raises(ConfigurationError, match="edition must be 'compat' or 'unified', not 'new'"):
        attrs.evolve(COMPAT, edition="new")


def test_evolve_moves_one_service() -> None:
    """The others stay, and the checks apply there too."""
    moved = attrs.evolve(COMPAT, api=Service("http://localhost:1"))
    assert moved.api.base_url == "http://localhost:1"
    assert moved.runs is COMPAT.runs
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        moved.api = COMPAT.api


def test_a_service_is_no_url() -> None:
    """A bare URL instead of a `Service` is refused, since it would bypass the checks."""
    with pytest.raises(TypeError, match="flows must be a Service, not str"):
        attrs.evolve(COMPAT, flows="http://flows.example.com")


@pytest.mark.parametrize("name", ["nope", "edition", "", "__class__", None])
def test_an_unknown_service_is_refused(name: str) -> None:
    """The name of another attribute is not a service."""
    with pytest.raises(ValueError, match="service must be one of api, workflows, flows, runs"):
        COMPAT.service(name)


@pytest.mark.parametrize(
    ("value", "hosts"),
    [
        (None, COMPAT),
        ("", COMPAT),
        (" ", COMPAT),
        ("compat", COMPAT),
        ("unified", UNIFIED),
        (" Unified ", UNIFIED),
    ],
)
def test_the_environment_names_the_edition(monkeypatch: pytest.MonkeyPatch, value: str | None, hosts: Hosts) -> None:
    """Unset and blank mean compat; the case does not matter."""
    monkeypatch.delenv("EACHLABS_EDITION", raising=False)
    if value is not None:
        monkeypatch.setenv("EACHLABS_EDITION", value)
    assert default_hosts() is hosts


def test_another_word_in_the_environment_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """A typing error must not silently select an edition."""
    monkeypatch.setenv("EACHLABS_EDITION", "unifed")
    with pytest.raises(ConfigurationError, match="EACHLABS_EDITION must be 'compat' or 'unified', not 'unifed'"):
        default_hosts()


@pytest.mark.parametrize(
    ("host", "loopback"),
    [
        ("localhost", True),
        ("127.0.0.1", True),
        ("127.255.255.254", True),
        ("::1", True),
        ("a.localhost", False),
        ("::ffff:127.0.0.1", False),
        ("::1%eth0", False),
        ("127.1", False),
        ("10.0.0.1", False),
        ("", False),
    ],
)
def test_loopback_is_this_machine_alone(host: str, loopback: bool) -> None:
    """One name and two ranges count; a name under localhost may be asked of a DNS server."""
    assert is_loopback(host) == loopback
