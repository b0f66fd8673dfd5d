"""The profiles of a user: hosts, edition and format by name, in one TOML file in the platform's folder for settings.

Keys are never in that file: a profile only says that the keyring of the system has one.
"""

from __future__ import annotations

import json
import os
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, cast

from attrs import evolve, field, frozen

from .failures import CommandError

FILE: Final = "config.toml"
KEYRING_SERVICE: Final = "eachlabs-async"
KEY_NAMES: Final = {"api_key": "EACHLABS_API_KEY", "runs_api_key": "NOXUS_API_KEY"}
"""The keys and their environment variables."""
PLAIN_SETTINGS: Final = ("edition", "format")
SERVICES: Final = ("api", "workflows", "flows", "runs")


@frozen
class Profile:
    """One profile. `base_urls` are by service; `keys` are the names of the keys that the keyring has for it."""

    edition: str | None = None
    format: str | None = None
    base_urls: Mapping[str, str] = field(factory=dict[str, str])
    keys: tuple[str, ...] = ()


@frozen
class Profiles:
    """All profiles of the file, and the name of the one that is used if none is named."""

    default: str = "default"
    by_name: Mapping[str, Profile] = field(factory=dict[str, Profile])

    def with_profile(self, name: str, profile: Profile) -> Profiles:
        """Return the profiles with one of them set."""
        return evolve(self, by_name={**self.by_name, name: profile})


def config_path() -> Path:
    """Return the path of the file: in the folder `EACHLABS_CONFIG_DIR`, or the platform's for settings."""
    folder = os.environ.get("EACHLABS_CONFIG_DIR")
    if folder:
        return Path(folder) / FILE
    import platformdirs  # only here: most commands of most users need no file

    return platformdirs.user_config_path("eachlabs") / FILE


def load(path: Path) -> Profiles:
    """Return the profiles of a file, none if there is no file. Raises `CommandError` for one that cannot be read."""
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return Profiles()
    except (OSError, UnicodeDecodeError) as error:
        raise CommandError(f"cannot read {path}: {error}") from None
    try:
        return _profiles(tomllib.loads(text))
    except (tomllib.TOMLDecodeError, ValueError) as error:
        raise CommandError(f"{path} is no file of profiles: {error}; mend it, or delete it") from None


def _profiles(data: dict[str, Any]) -> Profiles:
    found: dict[str, Profile] = {}
    for name, values in _table(data.get("profiles", {}), "profiles").items():
        table = _table(values, f"profiles.{name}")
        found[name] = Profile(
            edition=_text(table.get("edition"), "edition"),
            format=_text(table.get("format"), "format"),
            base_urls={
                service: str(_text(url, service))
                for service, url in _table(table.get("base_urls", {}), "base_urls").items()
                if service in SERVICES
            },
            keys=tuple(key for key in KEY_NAMES if table.get(key) == "keyring"),
        )
    return Profiles(_text(data.get("default"), "default") or "default", found)


def _table(value: object, name: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise ValueError(f"{name} must be a table")  # noqa: TRY004  # the file is wrong, not the program
    return cast("dict[str, Any]", value)


def _text(value: object, name: str) -> str | None:
    if value is not None and not isinstance(value, str):
        raise ValueError(f"{name} must be a text")
    return value


def save(path: Path, profiles: Profiles) -> None:
    """Write the profiles to a file that only its owner can read, all or nothing."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f"{path.name}.{os.getpid()}.part")
    with os.fdopen(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as file:
        file.write(to_toml(profiles))
    partial.replace(path)


def to_toml(profiles: Profiles) -> str:
    """Return the profiles as TOML."""
    lines = [f"default = {_quoted(profiles.default)}"]
    for name, profile in profiles.by_name.items():
        lines += ["", f"[profiles.{_quoted(name)}]"]
        lines += [
            f"{setting} = {_quoted(value)}"
            for setting in PLAIN_SETTINGS
            if (value := getattr(profile, setting)) is not None
        ]
        lines += [f'{key} = "keyring"' for key in profile.keys]
        if profile.base_urls:
            lines.append(f"[profiles.{_quoted(name)}.base_urls]")
            lines += [f"{service} = {_quoted(url)}" for service, url in profile.base_urls.items()]
    return "\n".join(lines) + "\n"


def _quoted(text: str) -> str:
    # A TOML string has the escapes of JSON; U+007F is the one character that only TOML wants escaped.
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")


def key_from_keyring(profile: str, name: str) -> str | None:
    """Return a key of a profile that the system's keyring has. Raises `CommandError` if the keyring cannot be asked."""
    try:
        import keyring

        return keyring.get_password(KEYRING_SERVICE, f"{profile}/{name}")
    except Exception as error:  # whatever a backend raises
        raise CommandError(_keyring_problem(error, name)) from None


def key_to_keyring(profile: str, name: str, key: str | None) -> None:
    """Store a key of a profile in the system's keyring, or delete it (None). Raises `CommandError` if it cannot be."""
    try:
        import keyring

        if key is not None:
            keyring.set_password(KEYRING_SERVICE, f"{profile}/{name}", key)
        elif keyring.get_password(KEYRING_SERVICE, f"{profile}/{name}") is not None:
            keyring.delete_password(KEYRING_SERVICE, f"{profile}/{name}")
    except Exception as error:
        raise CommandError(_keyring_problem(error, name)) from None


def _keyring_problem(error: Exception, name: str) -> str:
    # Its text is left out: what a backend says may have the key in it.
    return f"the keyring of this system cannot be used ({type(error).__name__}): set {KEY_NAMES[name]} instead"
