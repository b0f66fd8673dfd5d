"""Tests of what holds for a command: flags before the environment before the profile, and keys that never show."""

from __future__ import annotations

import io
import json
import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from command_line import EmulatorThread
from conftest import Done, MemoryKeyring
from hypothesis import given
from hypothesis import strategies as st

from eachlabs_async.cli.failures import CommandError, UsageError
from eachlabs_async.cli.profiles import Profile, Profiles, config_path, load, save, to_toml
from eachlabs_async.cli.settings import read_base_urls, settings_of

Command = Callable[..., Done]
KEY = "sk-" + "very-secret-0123456789"


def shown(done: Done) -> dict[str, tuple[str, str]]:
    """Return what `config` shows, by setting."""
    assert done.code == 0, done.err
    return {row["setting"]: (row["value"], row["source"]) for row in map(json.loads, done.out.splitlines())}


PROFILES = Profiles("mine", {"mine": Profile(edition="unified", format="csv", base_urls={"api": "https://p.example"})})


@pytest.mark.parametrize(
    ("flags", "environment", "profiles", "edition", "source"),
    [
        ({}, {}, Profiles(), "compat", "default"),
        ({}, {}, PROFILES, "unified", "profile mine"),
        ({}, {"EACHLABS_EDITION": "compat"}, PROFILES, "compat", "environment EACHLABS_EDITION"),
        ({"edition": "unified"}, {"EACHLABS_EDITION": "compat"}, PROFILES, "unified", "--edition"),
        ({}, {"EACHLABS_EDITION": " "}, PROFILES, "unified", "profile mine"),
        ({"profile": "mine"}, {"EACHLABS_PROFILE": "other"}, PROFILES, "unified", "profile mine"),
    ],
)
def test_a_flag_goes_before_the_environment_before_the_profile(
    flags: dict[str, str | None], environment: dict[str, str], profiles: Profiles, edition: str, source: str
) -> None:
    found = settings_of(flags, environment, profiles)
    assert (found.edition.value, found.edition.source) == (edition, source)


def test_base_urls_are_set_service_by_service() -> None:
    found = settings_of({"base_url": "api=https://f.example,runs=https://r.example"}, {}, PROFILES)
    assert {name: setting.source for name, setting in found.base_urls.items()} == {
        "api": "--base-url",
        "runs": "--base-url",
    }
    assert found.hosts().api.base_url == "https://f.example"
    assert found.hosts().workflows.base_url == "https://api.eachlabs.ai/v1"
    assert read_base_urls("https://one.example/v1") == dict.fromkeys(("api", "workflows"), "https://one.example/v1")


@pytest.mark.parametrize(
    ("flags", "environment", "part"),
    [
        ({"profile": "nope"}, {}, "--profile"),
        ({}, {"EACHLABS_PROFILE": "nope"}, "environment EACHLABS_PROFILE"),
        ({}, {"EACHLABS_EDITION": "old"}, "environment EACHLABS_EDITION"),
        ({}, {"EACHLABS_FORMAT": "xml"}, "environment EACHLABS_FORMAT"),
        ({"base_url": "x=https://y"}, {}, "base URL"),
    ],
)
def test_a_wrong_setting_is_named_with_its_source(
    flags: dict[str, str | None], environment: dict[str, str], part: str
) -> None:
    with pytest.raises(UsageError, match=part):
        settings_of(flags, environment, PROFILES)


NAMES = st.text(st.characters(exclude_categories=["Cs"]), min_size=1)


@given(
    st.dictionaries(
        NAMES,
        st.builds(
            Profile,
            edition=st.none() | NAMES,
            format=st.none() | NAMES,
            base_urls=st.dictionaries(st.sampled_from(["api", "runs"]), NAMES),
            keys=st.sampled_from([(), ("api_key",), ("api_key", "runs_api_key")]),
        ),
    ),
    NAMES,
)
def test_profiles_read_back_as_they_were_written(by_name: dict[str, Profile], default: str) -> None:
    """Whatever the names and values are, the file is TOML and has them."""
    import tomllib

    from eachlabs_async.cli.profiles import _profiles  # its pure half

    profiles = Profiles(default, by_name)
    assert _profiles(tomllib.loads(to_toml(profiles))) == profiles


def test_only_the_owner_can_read_the_file(tmp_path: Path) -> None:
    path = tmp_path / "new" / "config.toml"
    save(path, PROFILES)
    assert load(path) == PROFILES
    if os.name == "posix":
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [entry.name for entry in path.parent.iterdir()] == ["config.toml"]


@pytest.mark.parametrize("text", ["profiles = 3", "x", "[profiles.a]\nedition = 3", "default = 1"])
def test_a_file_that_is_no_file_of_profiles_is_said(tmp_path: Path, text: str) -> None:
    path = tmp_path / "config.toml"
    path.write_text(text)
    with pytest.raises(CommandError, match=r"config\.toml"):
        load(path)


# ---- the command


def test_config_shows_hosts_and_sources(eachlabs: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EACHLABS_EDITION", "unified")
    found = shown(eachlabs("config", "--base-url", "api=https://x.example/v1"))
    assert found["edition"] == ("unified", "environment EACHLABS_EDITION")
    assert found["host api"] == ("https://x.example/v1", "--base-url")
    assert found["host workflows"] == ("https://api.eachlabs.ai/v1", "edition")
    assert found["api_key"][0] == "not set"


def test_a_profile_is_made_used_and_removed(eachlabs: Command) -> None:
    assert eachlabs("config", "set", "edition", "unified", "--profile", "work").code == 0
    assert eachlabs("config", "set", "base-url", "runs=https://r.example", "--profile", "work").code == 0
    assert shown(eachlabs("config"))["edition"] == ("compat", "default")
    assert shown(eachlabs("config", "--profile", "work"))["edition"] == ("unified", "profile work")
    assert eachlabs("config", "set", "default", "work").code == 0
    assert shown(eachlabs("config"))["host runs"] == ("https://r.example", "profile work")
    assert shown(eachlabs("config", "--edition", "compat"))["edition"] == ("compat", "--edition")
    assert eachlabs("config", "unset", "base-url").code == 0
    assert shown(eachlabs("config"))["host runs"][1] == "edition"
    assert eachlabs("config", "unset", "profile").code == 0
    assert shown(eachlabs("config"))["profiles"][0] == "none"


def test_a_profile_decides_about_the_format(eachlabs: Command, service: EmulatorThread) -> None:
    assert eachlabs("config", "set", "format", "csv").code == 0
    assert eachlabs(*service.flags(), "executions", "list", "--fields=id", "--limit=1").out.startswith("id\n")
    assert eachlabs(*service.flags(), "executions", "list", "--fields=id", "--limit=1", "--format=jsonl").out[0] == "{"


@pytest.mark.parametrize(
    "arguments",
    [
        ["set", "edition", "old"],
        ["set", "colour", "red"],
        ["set", "base-url", "http://plain.example"],
        ["set", "base-url", "x=https://y"],
        ["set", "default", "nobody"],
        ["unset", "edition", "--profile", "nobody"],
        ["set", "api-key", KEY],
        ["set", "api_key", KEY],
        ["set"],
    ],
)
def test_config_refuses_what_cannot_be(eachlabs: Command, arguments: list[str]) -> None:
    done = eachlabs("config", *arguments)
    assert (done.code, done.out) == (2, "")
    assert done.err.count("\n") == 1
    assert KEY not in done.err
    assert not config_path().exists()


# ---- keys


def test_a_key_goes_into_the_keyring_and_nowhere_else(
    eachlabs: Command, monkeypatch: pytest.MonkeyPatch, own_keyring: MemoryKeyring, service: EmulatorThread
) -> None:
    """A command then uses it, the environment goes before it, and deleting it ends that."""
    monkeypatch.delenv("EACHLABS_API_KEY")
    monkeypatch.setattr("sys.stdin", io.StringIO(f"{service.emulator.api_key}\n"))
    done = eachlabs("config", "set-key")
    assert done.code == 0
    assert list(own_keyring.kept.values()) == [service.emulator.api_key]
    assert service.emulator.api_key not in config_path().read_text() + done.out + done.err
    assert shown(eachlabs("config"))["api_key"] == ("set", "keyring, profile default")
    assert eachlabs(*service.flags(), "balance").code == 0
    monkeypatch.setenv("EACHLABS_API_KEY", "another-key")
    assert shown(eachlabs("config"))["api_key"] == ("set", "environment EACHLABS_API_KEY")
    assert eachlabs(*service.flags(), "balance").code == 4
    monkeypatch.delenv("EACHLABS_API_KEY")
    assert eachlabs("config", "unset-key").code == 0
    assert not own_keyring.kept
    assert eachlabs(*service.flags(), "balance").code == 4


def test_a_keyring_that_fails_names_the_variable(
    eachlabs: Command, monkeypatch: pytest.MonkeyPatch, own_keyring: MemoryKeyring
) -> None:
    def fail(*_: Any) -> None:
        raise RuntimeError(f"locked {KEY}")

    monkeypatch.setattr(own_keyring, "set_password", fail)
    monkeypatch.setattr("sys.stdin", io.StringIO(KEY))
    done = eachlabs("config", "set-key", "--runs", "--debug")
    assert done.code == 1
    assert "NOXUS_API_KEY" in done.err
    assert KEY not in done.err + done.out


@pytest.mark.parametrize("text", ["", "\n", "ä\n", "a b\x00\n"])
def test_what_is_no_key_is_refused(eachlabs: Command, monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO(text))
    assert eachlabs("config", "set-key").code == 2


@pytest.mark.parametrize("flag", [["--api-key", KEY], [f"--api-key={KEY}"], ["--runs-api-key", KEY], [f"--key={KEY}"]])
def test_a_key_is_no_value_of_a_flag(eachlabs: Command, flag: list[str]) -> None:
    for place in ([*flag, "balance"], ["balance", *flag]):
        done = eachlabs(*place)
        assert done.code == 2
        assert "EACHLABS_API_KEY" in done.err
        assert KEY not in done.err


@pytest.mark.parametrize("arguments", [["balance"], ["config"], ["executions", "list"], ["request", "GET", "/echo"]])
@pytest.mark.parametrize("debug", [[], ["--debug"]], ids=["plain", "debug"])
def test_no_output_has_a_key(
    eachlabs: Command,
    monkeypatch: pytest.MonkeyPatch,
    own_service: EmulatorThread,
    arguments: list[str],
    debug: list[str],
) -> None:
    """Not even where the service repeats it, and not in a traceback."""
    from eachlabs_async.emulator import Fault

    for name in ("EACHLABS_API_KEY", "NOXUS_API_KEY"):
        monkeypatch.setenv(name, KEY)
    body = json.dumps({"error": f"the key {KEY} is wrong"}).encode()
    own_service.emulator.faults.add(Fault.status(401, body=body))
    done = eachlabs(*own_service.flags(), *arguments, *debug)
    assert KEY not in done.out + done.err
    assert done.code == (0 if arguments == ["config"] else 4)


def test_request_hides_a_key_in_an_answer(
    eachlabs: Command, monkeypatch: pytest.MonkeyPatch, own_service: EmulatorThread
) -> None:
    """The service's own rows of flows have the key that started them."""
    flow = next(iter(own_service.emulator.flow_executions))
    path = f"/{flow['flow_id']}/executions/{flow['execution_id']}"
    own_service.emulator.flow_executions.change(flow["execution_id"], api_key=own_service.emulator.api_key)
    done = eachlabs(*own_service.flags(), "request", "GET", path, "--service=flows")
    assert done.code == 0
    assert json.loads(done.out)["api_key"] == "***"
