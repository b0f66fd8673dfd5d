"""Decide what holds for a command: a flag goes before the environment, and that before the profile."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any, Final, Literal, cast

from attrs import evolve, frozen

from ..hosts import COMPAT, UNIFIED, Hosts, Service
from .failures import UsageError
from .profiles import KEY_NAMES, SERVICES, Profile, Profiles, config_path, key_from_keyring, load

OutputFormat = Literal["table", "json", "jsonl", "csv"]
FORMATS: Final[tuple[OutputFormat, ...]] = ("table", "json", "jsonl", "csv")
EDITIONS: Final = ("compat", "unified")


@frozen
class Setting:
    """A value and where it comes from."""

    value: str | None
    source: str


@frozen(kw_only=True)
class Settings:
    """What holds for a command."""

    profile: Setting
    edition: Setting
    format: Setting
    base_urls: Mapping[str, Setting]
    stored_keys: tuple[str, ...] = ()

    def hosts(self) -> Hosts:
        """Return the hosts of the edition, with the base URLs that were set. Raises `ConfigurationError` for a URL."""
        hosts = UNIFIED if self.edition.value == "unified" else COMPAT
        changed: dict[str, Any] = {
            name: Service(setting.value, hosts.service(cast(Any, name)).auth)
            for name, setting in self.base_urls.items()
            if setting.value is not None
        }
        return evolve(hosts, **changed)

    def key_source(self, name: str) -> str | None:
        """Return where a key comes from, None if it is not set."""
        variable = KEY_NAMES[name]
        if os.environ.get(variable, "").strip():
            return f"environment {variable}"
        return f"keyring, profile {self.profile.value}" if name in self.stored_keys else None

    def key(self, name: str) -> str | None:
        """Return a key of the environment or the keyring, None if neither has one."""
        found = os.environ.get(KEY_NAMES[name], "").strip()
        if found or name not in self.stored_keys:
            return found or None
        return key_from_keyring(str(self.profile.value), name)


def current_settings(
    *, profile: str | None, edition: str | None, output_format: str | None, base_urls: Sequence[str]
) -> Settings:
    """Return what holds for these flags, the environment and the user's file of profiles.

    Raises `UsageError` for a profile that does not exist, and for a word that a setting does not have.
    """
    return settings_of(
        {"profile": profile, "edition": edition, "format": output_format, "base_url": ",".join(base_urls) or None},
        os.environ,
        load(config_path()),
    )


def settings_of(flags: Mapping[str, str | None], environment: Mapping[str, str], profiles: Profiles) -> Settings:
    """Return what holds, as `current_settings` does; this one is pure."""

    def first(name: str, stored: str | None, fallback: str | None, words: Sequence[str] = ()) -> Setting:
        variable = f"EACHLABS_{name.upper()}"
        given = (
            (flags.get(name), f"--{name.replace('_', '-')}"),
            (environment.get(variable, "").strip() or None, f"environment {variable}"),
            (stored, f"profile {chosen}"),
        )
        value, source = next(((value, source) for value, source in given if value), (fallback, "default"))
        if words and value is not None and value not in words:
            raise UsageError(f"{source}: {name} must be one of {', '.join(words)}, not {value!r}")
        return Setting(value, source)

    chosen = profiles.default
    named = first("profile", None, profiles.default)
    chosen = str(named.value)
    if chosen not in profiles.by_name and named.source != "default":
        known = ", ".join(profiles.by_name) or "there is none yet"
        raise UsageError(
            f"no profile {chosen!r} ({named.source}; profiles: {known}): make one with `eachlabs config set`"
        )
    profile = profiles.by_name.get(chosen, Profile())
    urls: dict[str, Setting] = {
        service: Setting(url, f"profile {chosen}") for service, url in profile.base_urls.items()
    }
    given = first("base_url", None, None)
    if given.value is not None:
        urls.update({service: Setting(url, given.source) for service, url in read_base_urls(given.value).items()})
    return Settings(
        profile=named,
        edition=first("edition", profile.edition, "compat", EDITIONS),
        format=first("format", profile.format, None, FORMATS),
        base_urls=urls,
        stored_keys=profile.keys,
    )


def read_base_urls(text: str) -> dict[str, str]:
    """Return the base URLs in `URL` (of the services `api` and `workflows`), or `SERVICE=URL`, joined with commas."""
    urls: dict[str, str] = {}
    for part in text.split(","):
        name, separator, url = part.partition("=")
        if not separator:
            urls.update(dict.fromkeys(("api", "workflows"), part))
        elif name in SERVICES:
            urls[name] = url
        else:
            raise UsageError(f"a base URL is URL, or SERVICE=URL with one of {', '.join(SERVICES)}, not {part!r}")
    return urls
