"""Fixtures of the command line: no settings of this machine, a keyring in memory, and an emulator to ask."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import keyring
import pytest
from attrs import frozen
from command_line import EmulatorThread
from keyring.backend import KeyringBackend

from eachlabs_async.cli import main
from eachlabs_async.emulator import Emulator


class MemoryKeyring(KeyringBackend):
    """A keyring that holds what it is given for the length of a test."""

    priority = 1  # type: ignore[assignment]

    def __init__(self) -> None:
        super().__init__()
        self.kept: dict[tuple[str, str], str] = {}

    def get_password(self, service: str, username: str) -> str | None:
        return self.kept.get((service, username))

    def set_password(self, service: str, username: str, password: str) -> None:
        self.kept[service, username] = password

    def delete_password(self, service: str, username: str) -> None:
        del self.kept[service, username]


@pytest.fixture(autouse=True)
def own_keyring(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[MemoryKeyring]:
    for name in ("EACHLABS_API_KEY", "NOXUS_API_KEY", "EACHLABS_EDITION", "EACHLABS_FORMAT", "EACHLABS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.delenv("EACHLABS_BASE_URL", raising=False)
    monkeypatch.setenv("EACHLABS_CONFIG_DIR", str(tmp_path / "config"))
    before, memory = keyring.get_keyring(), MemoryKeyring()
    keyring.set_keyring(memory)
    yield memory
    keyring.set_keyring(before)


@frozen
class Done:
    """How a command in this process ended."""

    code: int
    out: str
    err: str


@pytest.fixture
def eachlabs(capsys: pytest.CaptureFixture[str]) -> Callable[..., Done]:
    """Run a command in this process, in pipes."""

    def command(*arguments: str) -> Done:
        capsys.readouterr()
        code = main(arguments)
        found = capsys.readouterr()
        return Done(code, found.out, found.err)

    return command


@pytest.fixture(scope="package")
def shared_service() -> Iterator[EmulatorThread]:
    """An emulator that the tests only read from, with 250 rows of each kind."""
    with EmulatorThread(Emulator(250, seed=1)) as running:
        yield running


@pytest.fixture
def service(shared_service: EmulatorThread, monkeypatch: pytest.MonkeyPatch) -> EmulatorThread:
    """The emulator, with its keys in the environment."""
    for name, value in shared_service.keys().items():
        monkeypatch.setenv(name, value)
    return shared_service


@pytest.fixture
def own_service(monkeypatch: pytest.MonkeyPatch) -> Iterator[EmulatorThread]:
    """An emulator that a test may change, with its keys in the environment."""
    with EmulatorThread(Emulator(30, seed=2)) as running:
        for name, value in running.keys().items():
            monkeypatch.setenv(name, value)
        yield running
