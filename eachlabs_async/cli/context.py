"""What every command gets: the global options, a client of the right hosts and keys, the output and the progress."""

from __future__ import annotations

import os
import sys
import textwrap
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from functools import cached_property
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal, Protocol, TextIO

from attrs import define, field, frozen
from cyclopts import Group, Parameter

from . import times
from .continuing import continued
from .failures import UsageError
from .output.fields import View
from .progress import Progress
from .screen_text import screen_text
from .settings import Settings, current_settings

if TYPE_CHECKING:
    from rich.console import Console

    from ..client import EachLabs
    from ..emulator import Emulator

_OUTPUT: Final = Group("Output", sort_key=90)
_CONNECTION: Final = Group("Connection", sort_key=91)
_EMULATOR: Final = Group("Emulator", sort_key=92)
SCREEN_ROWS: Final = 50
"""The rows of a listing that a terminal gets if no number is asked for."""


@Parameter(name="*")
@frozen(kw_only=True)
class GlobalOptions:
    """The options of every command; they may stand before it or behind it."""

    format: Annotated[
        Literal["table", "json", "jsonl", "csv"] | None,
        Parameter(group=_OUTPUT, help="Default: table on a terminal, jsonl in a pipe."),
    ] = None
    fields: Annotated[
        str | None, Parameter(group=_OUTPUT, help="Only these fields, joined with commas, in this order.")
    ] = None
    quiet: Annotated[
        bool, Parameter(name=["--quiet", "-q"], group=_OUTPUT, help="Neither progress nor notes.", show_default=False)
    ] = False
    debug: Annotated[
        bool, Parameter(group=_OUTPUT, help="Errors with their traceback, without keys.", show_default=False)
    ] = False
    profile: Annotated[str | None, Parameter(group=_CONNECTION, help="A profile of `eachlabs config`.")] = None
    edition: Annotated[
        Literal["compat", "unified"] | None, Parameter(group=_CONNECTION, help="The edition of the API.")
    ] = None
    base_url: Annotated[
        list[str] | None,
        Parameter(group=_CONNECTION, help="Another host: URL, or SERVICE=URL (api, workflows, flows, runs)."),
    ] = None
    emulator: Annotated[
        bool,
        Parameter(
            group=_EMULATOR,
            help="Ask an emulator that runs for this command: no key, no network.",
            show_default=False,
        ),
    ] = False
    emulator_executions: Annotated[int, Parameter(group=_EMULATOR, help="Its rows of each kind.")] = 1000
    emulator_latency_ms: Annotated[
        float, Parameter(group=_EMULATOR, help="Milliseconds before each response.", show_default=False)
    ] = 0.0
    emulator_faults: Annotated[
        float, Parameter(group=_EMULATOR, help="Share of requests that fail, 0 to 1.", show_default=False)
    ] = 0.0


class Rows(Protocol):
    """Where rows are written to, in the format that was asked for."""

    rows: int

    def write(self, row: Any) -> None:
        """Write a row: a dict of plain JSON values."""

    def end(self) -> None:
        """Write what is left."""


@define(eq=False)
class Context:
    """What a command gets besides its own options.

    `arguments` is the command line without the program. `replaced` collects options that a continued command line has
    other values of, such as times that were relative.
    """

    options: GlobalOptions
    arguments: Sequence[str] = ()
    replaced: dict[str, str | None] = field(factory=dict[str, str | None])
    secrets: list[str] = field(factory=list[str])
    now: datetime = field(factory=lambda: datetime.now(UTC))
    failed: int = 0

    # ---- settings

    @cached_property
    def settings(self) -> Settings:
        """What holds for this command."""
        options = self.options
        if options.emulator and options.base_url:
            raise UsageError("--emulator and --base-url exclude each other")
        return current_settings(
            profile=options.profile,
            edition=options.edition,
            output_format=options.format,
            base_urls=options.base_url or [],
        )

    @cached_property
    def format(self) -> str:
        """The format of the output."""
        return self.settings.format.value or ("table" if sys.stdout.isatty() else "jsonl")

    # ---- the client

    @asynccontextmanager
    async def client(self) -> AsyncGenerator[EachLabs]:
        """Give a client of the service, or of an emulator that runs as long as the block."""
        from ..client import EachLabs  # it loads aiohttp

        if self.options.emulator:
            async with self.emulator() as emulator:
                hosts = emulator.unified_hosts if self.settings.edition.value == "unified" else emulator.hosts
                async with EachLabs(emulator.api_key, hosts=hosts, runs_api_key=emulator.runs_api_key) as client:
                    yield client
            return
        hosts = self.settings.hosts()
        keys = [self.settings.key(name) for name in ("api_key", "runs_api_key")]
        self.secrets += [key for key in keys if key]
        client = EachLabs(keys[0], hosts=hosts, runs_api_key=keys[1])
        async with client:
            yield client

    @asynccontextmanager
    async def emulator(self) -> AsyncGenerator[Emulator]:
        """Run the emulator of `--emulator`."""
        from ..emulator import Emulator, Fault

        options = self.options
        if options.emulator_executions < 1 or not 0 <= options.emulator_faults <= 1 or options.emulator_latency_ms < 0:
            raise UsageError("--emulator-executions is from 1, --emulator-faults 0 to 1, --emulator-latency-ms from 0")
        emulator = Emulator(options.emulator_executions, log_size=1)
        if options.emulator_latency_ms:
            emulator.faults.add(Fault.latency(options.emulator_latency_ms / 1000))
        emulator.faults.random(options.emulator_faults)
        async with emulator:
            yield emulator

    # ---- arguments

    def moment(self, name: str, text: str | None) -> datetime | None:
        """Return the time that the option `name` means; a continued command gets it as it is now."""
        found = times.read_time(f"--{name}", text, self.now)
        if found is not None:
            self.replaced[f"--{name}"] = found.isoformat().replace("+00:00", "Z")
        return found

    def continued(self, **replaced: str | None) -> str:
        """Return the command line that goes on, with these options replaced."""
        options = {f"--{name.replace('_', '-')}": value for name, value in replaced.items()}
        return continued(self.arguments, {**self.replaced, **options})

    # ---- output

    def view(self, whole: View) -> View:
        """Return the fields of `whole` that were asked for."""
        fields = self.options.fields
        return whole.selected([name.strip() for name in fields.split(",") if name.strip()] if fields else None)

    def rows(self, whole: View, *, live: bool = False, header: bool = True) -> Rows:
        """Return where to write rows with these fields. Raises `UsageError` for a field that there is not.

        With `live`, rows are far apart: a table prints each at once. `header` is whether CSV has one.
        """
        from .output import text_rows

        view = self.view(whole)
        if self.format == "json":
            return text_rows.JSONArray(sys.stdout, view)
        if self.format == "csv":
            return text_rows.CSVRows(sys.stdout, view, header=header, escape=sys.stdout.isatty())
        if self.format == "table":
            from .output.table import Table

            return Table(self.console, view, live=live, on_left_out=self._note_left_out)
        return text_rows.JSONLines(sys.stdout, view)

    def _note_left_out(self, fields: Sequence[str]) -> None:
        self.note(f"no room for {', '.join(fields)}: a wider terminal, --fields or --format csv")

    def record(self, values: dict[str, Any], whole: View) -> None:
        """Print one thing: its fields below each other, one JSON object, or one line."""
        from .output import table, text_rows

        view = self.view(whole)
        if self.format == "table":
            table.print_record(self.console, values, view)
        elif self.format == "csv":
            rows = self.rows(whole)
            rows.write(values)
            rows.end()
        else:
            text_rows.write_document(sys.stdout, view.take(values), pretty=self.format == "json")

    def document(self, value: Any) -> None:
        """Print JSON as it came, without the keys of this command."""
        from .output.text_rows import write_document

        write_document(sys.stdout, value, pretty=self.format in ("table", "json"), secrets=self.secrets)

    @cached_property
    def console(self) -> Console:
        """Standard output as a screen; in a pipe it has 140 columns unless `COLUMNS` says otherwise."""
        from .output.screen import Screen

        return Screen(file=sys.stdout, width=None if sys.stdout.isatty() else columns_of_pipe(), highlight=False)

    def note(self, text: str) -> None:
        """Print a sentence for people to standard error, unless `--quiet`; on a terminal no word is broken."""
        if not self.options.quiet:
            shown = screen_text(text)
            self.warn(textwrap.fill(shown, width_of(sys.stderr)) if sys.stderr.isatty() else shown)

    def warn(self, text: str) -> None:
        """Print a line to standard error."""
        sys.stdout.flush()
        sys.stderr.write("\n".join(screen_text(line) for line in text.split("\n")) + "\n")
        sys.stderr.flush()

    def progress(self, title: str, unit: str = "rows", *, prints_rows: bool = False) -> Progress:
        """Return the progress of the command. With `prints_rows`, rows on the same terminal are progress enough."""
        on_terminal = sys.stderr.isatty()
        hidden = self.options.quiet or (prints_rows and on_terminal and sys.stdout.isatty())
        return Progress(
            title,
            sys.stderr,
            bar=on_terminal and not hidden,
            plain=not on_terminal and not hidden,
            color=not os.environ.get("NO_COLOR"),
            unit=unit,
        )


def width_of(stream: TextIO) -> int:
    """Return the columns of the terminal that a stream writes to."""
    try:
        return max(20, os.get_terminal_size(stream.fileno()).columns)
    except (OSError, ValueError):
        return 80


def columns_of_pipe() -> int:
    """Return how wide a table in a pipe is."""
    try:
        return max(20, int(os.environ.get("COLUMNS", "")))
    except ValueError:
        return 140
