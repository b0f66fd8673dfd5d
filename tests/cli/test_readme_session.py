"""Tests that README's session is what the commands print, and that it lists what there is."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from command_line import ROOT, Terminal, environment

from eachlabs_async.cli.commands import COMMANDS, STANDALONE
from eachlabs_async.cli.usage import EXIT_CODES

README = (ROOT / "README.md").read_text(encoding="utf-8")
SECTION = README[README.index("## Command line") :].split("\n## ")[0]
CHANGING = re.compile(r"\b\d\d-\d\d \d\d:\d\d\b")
"""The rows of the emulator move with the day, so their dates do too."""


def steps() -> list[tuple[str, list[str]]]:
    """Return the commands of the session with what they print."""
    found: list[tuple[str, list[str]]] = []
    for block in re.findall(r"^```console\n(.*?)^```$", SECTION, re.MULTILINE | re.DOTALL):
        for line in block.splitlines():
            if line.startswith("$ "):
                found.append((line[2:], []))
            else:
                found[-1][1].append(line)
    return found


@pytest.mark.parametrize(
    ("command", "printed"), steps(), ids=lambda value: value[:60] if isinstance(value, str) else ""
)
def test_the_session_is_what_a_terminal_shows(command: str, printed: list[str], tmp_path: Path) -> None:
    """Each command runs in a shell on a terminal with 80 columns; long lines of errors are wrapped there."""
    shown = Terminal(80).run_shell(command, tmp_path, environment(NO_COLOR="1"))
    text = [CHANGING.sub("MM-DD hh:mm", line) for line in shown.lines]
    wanted = [CHANGING.sub("MM-DD hh:mm", line) for line in printed]
    assert "".join(text) == "".join(wanted) if "eachlabs: " in printed[0] else text == wanted


def test_readme_lists_all_commands_and_exit_codes() -> None:
    assert all(f"`{name}" in SECTION for name in (*COMMANDS, *STANDALONE))
    assert all(f"| {code} |" in SECTION for code, _ in EXIT_CODES)
