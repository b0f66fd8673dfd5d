"""Tests of commands on a real pseudo-terminal, whose screen is read."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from command_line import EmulatorThread, Terminal, command_after, run

from eachlabs_async.emulator import Emulator, Fault

pytestmark = pytest.mark.skipif(not hasattr(__import__("os"), "openpty"), reason="there are no pseudo-terminals here")
EVIL = "\x1b]0;owned\x07\x1b[2J\x1b[31m[bold]x\u202egnp\u200b\x9b5A 日本語 " + "e" + "\u0301" * 9
COLOR = re.compile(rb"\x1b\[[0-9;]*m")


@pytest.fixture(scope="module")
def terminal_service() -> Iterator[EmulatorThread]:
    """An emulator with hostile texts in its first rows."""
    emulator = Emulator(300, seed=4)
    for row_id in emulator.executions.ids()[:2]:
        emulator.executions.change(row_id, model=EVIL)
    with EmulatorThread(emulator) as running:
        yield running


@pytest.mark.parametrize("columns", [60, 80, 140])
@pytest.mark.parametrize(
    "arguments",
    [
        ["executions", "list"],
        ["executions", "list", "--fields", "id,model,workflow_id,created_at"],
        ["workflows", "executions", "WORKFLOW", "--limit=3"],
        ["runs", "list"],
        ["models", "list"],
        ["config"],
        ["executions", "get", "ID"],
        ["models", "show", "nano-banana-pro"],
        ["costs"],
    ],
    ids=lambda arguments: " ".join(arguments[:2]),
)
def test_nothing_wraps(terminal_service: EmulatorThread, arguments: list[str], columns: int) -> None:
    """No line is longer than the screen, no text of the service acts on it, and notes break between words."""
    emulator = terminal_service.emulator
    names = {"WORKFLOW": emulator.workflow_ids[0], "ID": emulator.executions.ids()[0]}
    given = [names.get(argument, argument) for argument in arguments]
    done = Terminal(columns).run(*terminal_service.flags(), *given, **terminal_service.keys())
    assert done.code == 0, done.text
    assert done.wrapped == 0, done.text
    assert b"\x1b]0" not in done.raw
    assert b"\x1b[2J" not in done.raw
    assert "\u202e" not in done.raw.decode()


def test_a_terminal_gets_a_table_of_some_rows_and_a_note(terminal_service: EmulatorThread) -> None:
    done = Terminal(100).run(*terminal_service.flags(), "executions", "list", **terminal_service.keys())
    head, *rows = done.lines
    assert head.split()[:3] == ["id", "status", "created"]
    assert [line.split()[0] for line in rows[:50]] == terminal_service.emulator.executions.ids()[:50]
    assert "the first 50 rows" in " ".join(rows[50:])
    assert "\\x1b]0;owned" in done.text or "\\x1b]0" in done.text


def test_a_terminal_gets_all_rows_if_it_asks(terminal_service: EmulatorThread) -> None:
    done = Terminal(100).run(
        *terminal_service.flags(), "executions", "list", "--limit=all", "-q", **terminal_service.keys()
    )
    assert [line.split()[0] for line in done.lines[1:]] == terminal_service.emulator.executions.ids()


def test_a_terminal_has_color_unless_it_is_not_wanted(terminal_service: EmulatorThread) -> None:
    """NO_COLOR leaves no color, and `--quiet` no note."""
    arguments = [*terminal_service.flags(), "executions", "list", "--limit=5"]
    assert b"\x1b[32m" in Terminal(80).run(*arguments, **terminal_service.keys()).raw
    plain = Terminal(80).run(*arguments, NO_COLOR="1", **terminal_service.keys()).raw
    assert not [code for code in COLOR.findall(plain) if re.search(rb"[34]\d", code)]
    assert b"no room" not in Terminal(60).run(*arguments, "-q", **terminal_service.keys()).raw


def test_csv_on_a_terminal_is_escaped(terminal_service: EmulatorThread) -> None:
    done = Terminal(200).run(
        *terminal_service.flags(), "executions", "list", "--format=csv", "--fields=model", "--limit=1",
        **terminal_service.keys(),
    )  # fmt: skip
    assert done.lines[0] == "model"
    assert "\\x1b]0;owned\\x07" in done.lines[1]
    assert b"\x1b" not in done.raw


@pytest.mark.parametrize("columns", [60, 80, 140])
def test_an_export_has_a_bar_that_leaves_nothing_behind(
    terminal_service: EmulatorThread, tmp_path: Path, columns: int
) -> None:
    """It fits the screen, counts rows, and is gone at the end."""
    terminal_service.emulator.faults.add(Fault.latency(0.15), endpoint="executions.list")
    path = tmp_path / "rows.csv"
    done = Terminal(columns).run(
        *terminal_service.flags(), "executions", "export", str(path), **terminal_service.keys()
    )
    terminal_service.emulator.faults.clear()
    assert done.code == 0
    assert b"rows" in done.raw
    assert re.search(rb"\d+/300 rows", done.raw)
    assert (b"\xe2\x94\x81" in done.raw) == (columns >= 72)
    assert done.wrapped <= 1  # the path in the last line may be long
    assert "".join(done.lines).replace(" ", "") == f"{path}:300rows"


def test_ctrl_c_on_a_terminal_shows_how_to_go_on(terminal_service: EmulatorThread) -> None:
    """What was printed before and what the printed command prints are all rows, and the cursor is there again."""
    terminal_service.emulator.faults.add(Fault.latency(0.5), endpoint="executions.list", after=1)
    arguments = [*terminal_service.flags(), "executions", "list", "--limit=all", "--format=csv", "--fields=id"]
    last = terminal_service.emulator.executions.ids()[99].encode()
    done = Terminal(400).run(*arguments, interrupt_at=last, **terminal_service.keys())
    terminal_service.emulator.faults.clear()
    assert done.code == 130
    assert done.raw.rfind(b"\x1b[?25l") <= done.raw.rfind(b"\x1b[?25h")
    printed = [line for line in done.lines[1:] if re.fullmatch(r"[0-9a-f-]{36}", line)]
    wide = "\n".join(done.lines)
    checkpoint = wide[wide.index("go on with: ") :].replace("\n", "")
    again = run(*command_after(checkpoint), **terminal_service.keys())
    assert printed + again.stdout.split() == terminal_service.emulator.executions.ids()


def test_help_fits_the_screen() -> None:
    for columns in (60, 80, 140):
        for arguments in (["--help"], ["executions", "list", "--help"], ["workflows", "--help"]):
            done = Terminal(columns).run(*arguments)
            assert done.code == 0
            assert done.wrapped == 0, done.text
