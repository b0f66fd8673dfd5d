"""Tests of the program as a whole: its help, version, exit codes, what it imports, and how fast it starts."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable

import pytest
from command_line import EmulatorThread, environment, run
from conftest import Done

import eachlabs_async
from eachlabs_async.cli.app import new_app
from eachlabs_async.cli.commands import COMMANDS
from eachlabs_async.cli.usage import usage

Command = Callable[..., Done]
HEAVY = ("pyarrow", "pandas", "polars", "matplotlib", "altair", "dask", "numpy")


@pytest.mark.parametrize("flag", ["--help", "-h", "help"])
def test_help_lists_the_commands_and_the_exit_codes(eachlabs: Command, flag: str) -> None:
    done = eachlabs(flag)
    assert (done.code, done.err) == (0, "")
    assert all(f"\n  {name}" in done.out for name in [*COMMANDS, "demo", "emulator", "0  ", "130"])


@pytest.mark.parametrize("width", [60, 80, 200])
def test_help_is_no_wider_than_the_screen(width: int) -> None:
    assert all(len(line) <= width for line in usage(width=width).splitlines() if "eachlabs " not in line)


def test_every_command_has_a_help(eachlabs: Command) -> None:
    """Each command and subcommand says in a sentence what it does."""
    app = new_app()
    for name in COMMANDS:
        done = eachlabs(name, "--help")
        assert done.code == 0
        assert done.out.startswith(f"Usage: eachlabs {name}")
        for inner in app[name]:
            if not inner.startswith("-"):
                help_ = eachlabs(name, inner, "--help").out
                assert f"Usage: eachlabs {name} {inner}" in help_
                assert app[name][inner].help.strip().endswith(".")


def test_version(eachlabs: Command) -> None:
    assert eachlabs("--version").out == f"eachlabs-async {eachlabs_async.__version__}\n"


@pytest.mark.parametrize(
    "arguments",
    [
        ["nope"],
        ["executions", "lst"],
        ["executions", "list", "--statu", "success"],
        ["executions", "list", "--status", "succes"],
        ["executions", "list", "--fields", "idd"],
        ["executions", "list", "--limit", "many"],
        ["executions", "list", "--limit", "-3"],
        ["executions", "list", "--since", "tomorrow"],
        ["executions", "list", "--since", "1d", "--until", "2d"],
        ["executions", "list", "--format", "xml"],
        ["executions", "list", "--resume", "nonsense"],
        ["executions", "list", "extra"],
        ["executions", "follow", "--every", "never"],
        ["models", "show"],
        ["--emulator-faults", "2", "executions", "list"],
    ],
    ids=" ".join,
)
def test_wrong_usage_is_one_line_and_2(eachlabs: Command, arguments: list[str]) -> None:
    done = eachlabs("--emulator", *arguments)
    assert (done.code, done.out) == (2, "")
    assert done.err.startswith("eachlabs: ")
    assert done.err.count("\n") == 1


@pytest.mark.parametrize(
    ("slip", "meant"),
    [
        (["executions", "lst"], "list"),
        (["executions", "list", "--statu", "x"], "--status"),
        (["executions", "list", "--status=succes"], "success"),
        (["executions", "list", "--fields=statu"], "status"),
    ],
    ids=lambda value: "".join(value[-1:]),
)
def test_a_slip_is_told_what_was_meant(eachlabs: Command, slip: list[str], meant: str) -> None:
    err = eachlabs("--emulator", *slip).err.lower().replace('"', "").replace("'", "")
    assert f"did you mean {meant}?" in err


def test_no_key_is_4_with_the_remedies(eachlabs: Command) -> None:
    done = eachlabs("executions", "list")
    assert (done.code, done.out, done.err.count("\n")) == (4, "", 1)
    assert all(word in done.err for word in ("EACHLABS_API_KEY", "config set-key", "--emulator"))
    assert "NOXUS_API_KEY" in eachlabs("runs", "list").err


def test_a_wrong_key_is_4(eachlabs: Command, service: EmulatorThread, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EACHLABS_API_KEY", "wrong")
    for arguments in (["executions", "list"], ["executions", "get", "x"], ["balance"]):
        assert eachlabs(*service.flags(), *arguments).code == 4


def test_no_answer_is_5(monkeypatch: pytest.MonkeyPatch) -> None:
    """A host where nobody listens, after the retries."""
    done = run("--base-url", "http://127.0.0.1:9", "balance", EACHLABS_API_KEY="k" * 20)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (5, "", 1)
    assert "eachlabs config" in done.stderr


def test_debug_adds_the_traceback(eachlabs: Command, service: EmulatorThread) -> None:
    assert "Traceback" not in eachlabs(*service.flags(), "models", "show", "nope").err
    done = eachlabs(*service.flags(), "models", "show", "nope", "--debug")
    assert done.err.startswith("Traceback") or "\nTraceback" in done.err
    assert "NotFoundError" in done.err
    assert done.err.splitlines()[-1].startswith("eachlabs: HTTP 404")


def test_the_emulator_needs_neither_key_nor_network(eachlabs: Command) -> None:
    done = eachlabs("--emulator", "--emulator-executions=30", "executions", "list", "--fields=id")
    assert len(done.out.splitlines()) == 30
    again = eachlabs("executions", "list", "--emulator", "--emulator-executions=30", "--fields=id", "--edition=unified")
    assert done.out == again.out


def test_without_the_extra_it_says_how_to_get_it() -> None:
    """`demo --help`, `emulator --help`, `--help` and `--version` work without it."""
    script = """
import sys
class Missing:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("cyclopts", "rich", "platformdirs", "keyring"):
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
sys.meta_path.insert(0, Missing())
from eachlabs_async.cli import main
for arguments in (["--help"], ["--version"], ["demo", "--help"], ["emulator", "--help"]):
    try:
        assert main(arguments) == 0
    except SystemExit as done:
        assert done.code == 0
sys.exit(main(["executions", "list"]))
"""
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=False, env=environment()
    )
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert 'pip install "eachlabs-async[cli]"' in done.stderr


def test_the_module_is_the_same_program() -> None:
    done = run("executions", "lst")
    assert done.returncode == 2
    assert done.stderr.startswith("eachlabs: ")


@pytest.mark.parametrize(
    ("arguments", "unwanted"),
    [
        (["--help"], ("cyclopts", "rich", "aiohttp", "asyncio", "attrs")),
        (["--version"], ("cyclopts", "rich", "aiohttp", "asyncio", "attrs")),
        (["executions", "list", "--help"], ("aiohttp", "cattrs", "msgspec", "keyring", "platformdirs")),
        (["config", "--format=csv"], ("aiohttp", "keyring", "rich.progress")),
        (["--emulator", "executions", "list", "--format=csv"], ("keyring", "rich.progress")),
        (["--emulator", "executions", "export", "ROWS.jsonl"], ("keyring", "rich.progress")),
        (["--emulator", "executions", "export", "ROWS.csv"], ("keyring", "rich.progress")),
    ],
    ids=lambda value: " ".join(value[:3]),
)
def test_a_command_imports_only_what_it_uses(arguments: list[str], unwanted: tuple[str, ...], tmp_path: object) -> None:
    given = [argument.replace("ROWS", f"{tmp_path}/rows") for argument in arguments]
    script = f"""
import json, sys
from eachlabs_async.cli import main
code = main({given!r})
print(json.dumps(sorted(sys.modules)), file=sys.stderr)
sys.exit(code)
"""
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=False, env=environment(), timeout=60
    )
    assert done.returncode == 0, done.stderr
    loaded = set(json.loads(done.stderr.splitlines()[-1]))
    assert not loaded & {*HEAVY, *unwanted}


def cpu_of(*command: str) -> float:
    """Return the least CPU time of a few runs of a process, in seconds."""
    import resource

    best = 1e9
    for _ in range(5):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run([sys.executable, *command], stdout=subprocess.DEVNULL, check=True, env=environment())
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        best = min(best, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    return best


@pytest.mark.skipif(os.name != "posix", reason="the CPU time of a child is known on POSIX only")
def test_help_starts_fast() -> None:
    """`eachlabs --help` takes at most one and a half times as long as Python itself and the library for commands."""
    library = cpu_of("-c", "import cyclopts.core") - cpu_of("-c", "pass")
    assert cpu_of("-m", "eachlabs_async", "--help") <= 1.5 * cpu_of("-c", "pass") + library


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_scripts_name_the_commands(eachlabs: Command, shell: str) -> None:
    done = eachlabs("completion", shell)
    assert done.code == 0
    assert all(word in done.out for word in ("executions", "export", "--status", "balance"))
