"""`eachlabs config`: which hosts and keys hold and from where, and the profiles. It never shows a key."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Annotated, Final, Literal

from attrs import evolve
from cyclopts import App, Parameter

from ..context import Context
from ..failures import UsageError
from ..output.fields import view_of_names
from ..profiles import KEY_NAMES, SERVICES, Profile, config_path, key_to_keyring, load, save
from ..settings import EDITIONS, FORMATS, read_base_urls
from .options import Injected

app: Final = App(name="config", help="Hosts, profiles, and which keys are set.")

_NAMES: Final = ("edition", "format", "base-url", "default")
_COLUMNS: Final = ("setting", "value", "source")

Runs = Annotated[bool, Parameter(help="The key for runs (NOXUS_API_KEY).", show_default=False)]


@app.default
def show(*, context: Injected) -> None:
    """Show what holds and where it comes from: a flag, the environment, a profile or the default."""
    given: Context = context
    rows = given.rows(view_of_names(_COLUMNS))
    for setting, value, source in _settings(given):
        rows.write({"setting": setting, "value": value, "source": source})
    rows.end()


def _settings(context: Context) -> Iterator[tuple[str, str, str]]:
    settings = context.settings
    hosts = settings.hosts()
    yield "profile", str(settings.profile.value), settings.profile.source
    yield "edition", str(settings.edition.value), settings.edition.source
    yield "format", context.format, settings.format.source
    for name in SERVICES:
        source = settings.base_urls[name].source if name in settings.base_urls else "edition"
        yield f"host {name}", hosts.service(name).base_url, source
    for name in KEY_NAMES:
        found = settings.key_source(name)
        yield name, "not set" if found is None else "set", found or f"set {KEY_NAMES[name]}"
    profiles = load(config_path())
    yield "profiles", ", ".join(profiles.by_name) or "none", str(config_path())


@app.command(name="set")
def set_(
    name: Annotated[str, Parameter(help="edition, format, base-url, or default (the profile that is used).")],
    value: Annotated[str, Parameter(help="Its value; of base-url: URL, or SERVICE=URL.")],
    /,
    *,
    context: Injected,
) -> None:
    """Set what a profile says. `--profile NAME` names the profile, which is made if it does not exist."""
    given: Context = context
    word = name.lower().replace("_", "-")
    if "key" in word:
        raise UsageError("a key is never an argument, which other users of this machine can see: `config set-key`")
    if word not in _NAMES:
        raise UsageError(f"NAME must be one of {', '.join(_NAMES)}, not {name!r}")
    path = config_path()
    profiles = load(path)
    if word == "default":
        if value not in profiles.by_name:
            raise UsageError(f"there is no profile {value!r} yet: set something in it first, with --profile {value}")
        save(path, evolve(profiles, default=value))
        given.note(f"the profile {value} is used from now on")
        return
    chosen = given.options.profile or profiles.default
    save(path, profiles.with_profile(chosen, _changed(profiles.by_name.get(chosen, Profile()), word, value)))
    given.note(f"profile {chosen}: {word} = {value}")


def _changed(profile: Profile, word: str, value: str) -> Profile:
    from ...hosts import Service

    if word == "base-url":
        urls = read_base_urls(value)
        for url in urls.values():
            Service(url)  # It refuses what cannot be used.
        return evolve(profile, base_urls={**profile.base_urls, **urls})
    words = EDITIONS if word == "edition" else FORMATS
    if value not in words:
        raise UsageError(f"{word} must be one of {', '.join(words)}, not {value!r}")
    return evolve(profile, edition=value) if word == "edition" else evolve(profile, format=value)


@app.command
def unset(
    name: Annotated[Literal["edition", "format", "base-url", "profile"], Parameter(help="profile: all of it.")],
    /,
    *,
    context: Injected,
) -> None:
    """Remove what a profile says, or the profile with its keys."""
    given: Context = context
    path = config_path()
    profiles = load(path)
    chosen = given.options.profile or profiles.default
    profile = profiles.by_name.get(chosen)
    if profile is None:
        raise UsageError(f"there is no profile {chosen!r}; profiles: {', '.join(profiles.by_name) or 'none'}")
    if name == "profile":
        for key in profile.keys:
            key_to_keyring(chosen, key, None)
        others = {other: found for other, found in profiles.by_name.items() if other != chosen}
        default = "default" if profiles.default == chosen else profiles.default
        save(path, evolve(profiles, default=default, by_name=others))
    else:
        cleared = evolve(
            profile,
            edition=None if name == "edition" else profile.edition,
            format=None if name == "format" else profile.format,
            base_urls={} if name == "base-url" else profile.base_urls,
        )
        save(path, profiles.with_profile(chosen, cleared))
    given.note(f"profile {chosen}: removed {'it' if name == 'profile' else name}")


@app.command(name="set-key")
def set_key(*, runs: Runs = False, context: Injected) -> None:
    """Store a key in the system's keyring for a profile. It is asked for, or read from standard input."""
    given: Context = context
    name = "runs_api_key" if runs else "api_key"
    path = config_path()
    profiles = load(path)
    chosen = given.options.profile or profiles.default
    key = _asked_for_key(f"Key for the profile {chosen} ({KEY_NAMES[name]}): ")
    given.secrets.append(key)
    key_to_keyring(chosen, name, key)
    profile = profiles.by_name.get(chosen, Profile())
    save(path, profiles.with_profile(chosen, evolve(profile, keys=tuple(dict.fromkeys((*profile.keys, name))))))
    given.note(f"profile {chosen}: the key is in the keyring")


@app.command(name="unset-key")
def unset_key(*, runs: Runs = False, context: Injected) -> None:
    """Delete a profile's key from the system's keyring."""
    given: Context = context
    name = "runs_api_key" if runs else "api_key"
    path = config_path()
    profiles = load(path)
    chosen = given.options.profile or profiles.default
    key_to_keyring(chosen, name, None)
    if (profile := profiles.by_name.get(chosen)) is not None:
        kept = tuple(key for key in profile.keys if key != name)
        save(path, profiles.with_profile(chosen, evolve(profile, keys=kept)))
    given.note(f"profile {chosen}: the keyring has no such key any more")


def _asked_for_key(prompt: str) -> str:
    if sys.stdin.isatty():
        from getpass import getpass

        key = getpass(prompt)
    else:
        key = sys.stdin.readline()
    stripped = key.strip()
    if not stripped or not stripped.isascii() or not stripped.isprintable():
        raise UsageError("that is no key: it is empty, or has characters that no header can carry")
    return stripped
