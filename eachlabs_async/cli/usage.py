"""The text of `eachlabs --help`, which needs no library, so that it is there at once and without the extra."""

from __future__ import annotations

import shutil
import textwrap
from typing import Final

from .commands import COMMANDS, STANDALONE

_ABOUT: Final = "Each Labs on the command line: listings, exports, costs, workflows, models and files."
EXIT_CODES: Final = (
    ("0", "all of it was done"),
    ("1", "some of it failed"),
    ("2", "wrong usage"),
    ("4", "no key, or one that the service refuses"),
    ("5", "no answer from the service"),
    ("130", "stopped by Ctrl-C; the line that goes on is on standard error"),
    ("141", "the reader of the output went away"),
)
_OPTIONS: Final = (
    ("--format F", "table, json, jsonl or csv (default: table on a terminal, jsonl in a pipe)"),
    ("--fields A,B", "only these fields, in this order"),
    ("--quiet, -q", "neither progress nor notes"),
    ("--debug", "errors with their traceback, without keys"),
    ("--emulator", "ask an emulator that runs for this command: no key, no network"),
    ("--edition E", "compat or unified, the edition of the API"),
    ("--profile P", "a profile of `eachlabs config`"),
    ("--base-url U", "another host: URL, or SERVICE=URL"),
    ("--version", "print the version"),
)
_EXAMPLES: Final = (
    "eachlabs --emulator executions list --status error --since 7d",
    "eachlabs executions export executions.csv --since 2026-09-01",
    "eachlabs executions list --format csv --fields id,status,execution_cost",
)
_LARGEST_WIDTH: Final = 100
_INDENT: Final = 15


def usage(program: str = "eachlabs", width: int | None = None) -> str:
    """Return the help as text, for a terminal of `width` columns (default: this one's)."""
    columns = min(_LARGEST_WIDTH, width or shutil.get_terminal_size().columns)
    commands = [*((name, about) for name, (_, about) in COMMANDS.items()), *STANDALONE.items()]
    return "\n".join(
        [
            f"Usage: {program} COMMAND [OPTIONS]",
            "",
            *textwrap.wrap(_ABOUT, columns),
            "",
            "Commands (each has a --help):",
            *_listed(commands, columns),
            "",
            "Options of all commands, before the command or behind it:",
            *_listed(_OPTIONS, columns),
            "",
            *textwrap.wrap(
                "The key is in EACHLABS_API_KEY (NOXUS_API_KEY for runs) or in the keyring (`eachlabs config set-key`) "
                "and never in an option. Options go before the environment (EACHLABS_EDITION, EACHLABS_FORMAT, "
                "EACHLABS_PROFILE, EACHLABS_BASE_URL), and that before the profile.",
                columns,
            ),
            "",
            "Exit codes:",
            *_listed(EXIT_CODES, columns),
            "",
            "Examples:",
            *(f"  {example}" for example in _EXAMPLES if len(example) + 2 <= columns),
        ]
    )


def _listed(rows: list[tuple[str, str]] | tuple[tuple[str, str], ...], columns: int) -> list[str]:
    lines: list[str] = []
    for name, about in rows:
        first = f"  {name}".ljust(_INDENT)
        lines += textwrap.wrap(about, columns, initial_indent=first, subsequent_indent=" " * _INDENT)
    return lines
