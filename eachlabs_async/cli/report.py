"""The output of the demo: progress while it runs, and the report at its end, as a table or as JSON."""

from __future__ import annotations

import json
import shutil
import textwrap
import time
from collections.abc import Callable, Mapping
from typing import Any, Final, TextIO

from attrs import asdict, define, field, frozen

__all__ = ["ReportLine", "Progress", "Report", "width_of"]

_TERMINAL_EVERY_S = 0.1
_PLAIN_EVERY_S = 2.0
_WIDTH: Final = 80
"""The columns that are used where the output is no terminal."""
_LEAST_WIDTH: Final = 60

_FAULTS: Final[Mapping[str, tuple[str, str]]] = {
    "status": ("error response", "error responses (429, 500, 503)"),
    "html": ("error page in HTML (502)", "error pages in HTML (502)"),
    "reset": ("connection reset", "connections reset"),
    "cut_body": ("response cut short", "responses cut short"),
}
"""The faults of the emulator in words, for one and for several."""


def width_of(stream: TextIO) -> int:
    """Return the number of columns to fill: those of a terminal, at least 60 and at most 100, else 80."""
    if not stream.isatty():
        return _WIDTH
    return min(max(shutil.get_terminal_size((_WIDTH, 24)).columns, _LEAST_WIDTH), 100)


@define(kw_only=True)
class ReportLine:
    """The figures of one scenario.

    `requests` is the number that the server counted, `retries` the number that the client logged. `seconds` is the time
    with faults, `calm_s` the time without. `plain_s` is the time for all rows without faults, one request after
    another; it is measured on `plain_rows` rows, and extrapolated if those are fewer.
    """

    title: str
    rows: int
    requests: int
    retries: int
    seconds: float
    calm_s: float = 0.0
    plain_rows: int = 0
    plain_s: float = 0.0
    problems: list[str] = field(factory=list[str])

    @property
    def extrapolated(self) -> bool:
        """Whether `plain_s` is extrapolated from a sample."""
        return self.plain_rows < self.rows


@define(kw_only=True)
class Report:
    """The figures of all scenarios. The run is good if neither a line nor the report itself has `problems`."""

    settings: dict[str, Any]
    lines: list[ReportLine] = field(factory=list[ReportLine])
    faults: dict[str, int] = field(factory=dict[str, int])
    problems: list[str] = field(factory=list[str])
    elapsed_s: float = 0.0

    @property
    def all_problems(self) -> list[str]:
        """All problems, each with the title of its line."""
        return [
            *(f"{line.title}: {problem}" for line in self.lines for problem in line.problems),
            *self.problems,
        ]

    def total(self) -> ReportLine:
        """Return the sums over the lines."""
        return ReportLine(
            title="all",
            rows=sum(line.rows for line in self.lines),
            requests=sum(line.requests for line in self.lines),
            retries=sum(line.retries for line in self.lines),
            seconds=sum(line.seconds for line in self.lines),
            calm_s=sum(line.calm_s for line in self.lines),
            plain_rows=sum(line.plain_rows for line in self.lines),
            plain_s=sum(line.plain_s for line in self.lines),
        )

    def as_json(self) -> str:
        """Return the report as JSON."""
        return json.dumps(
            {
                "ok": not self.all_problems,
                "problems": self.all_problems,
                "settings": self.settings,
                "lines": [_line_fields(line) for line in self.lines],
                "total": _line_fields(self.total()),
                "faults": self.faults,
                "elapsed_s": round(self.elapsed_s, 3),
            },
            indent=2,
        )

    def as_text(self, width: int = _WIDTH) -> str:
        """Return the report as a table with notes, in lines of at most `width` columns (from 60)."""
        total = self.total()
        text = [
            *_table([*self.lines, total], width),
            "",
            f"The faults: {_fault_words(self.faults)}.",
            "One by one: without faults, and one page or id after another. "
            "One workflow: the listing of its executions, in each edition of the API.",
            *self._sampled(),
            "",
        ]
        if self.all_problems:
            text += ["Something is off:", *(f"  {problem}" for problem in self.all_problems)]
        else:
            text.append(
                f"Checked against the emulator's own rows: all {total.rows:,} are there, once, in order, "
                "with every field equal."
            )
        return "\n".join(_wrapped(line, width) for line in text)

    def _sampled(self) -> list[str]:
        sampled = [line for line in self.lines if line.extrapolated]
        if not sampled:
            return []
        counts = " and ".join(f"{line.plain_rows} of {line.rows:,}" for line in sampled)
        return [f"~ is extrapolated from a sample ({counts} ids); all other figures were measured in full."]


def _fault_words(faults: Mapping[str, int]) -> str:
    """Return what went wrong, in words: `3 connections reset`."""
    words = [f"{count} {_FAULTS.get(kind, (kind, kind))[count != 1]}" for kind, count in sorted(faults.items())]
    return ", ".join(words) or "none"


def _wrapped(line: str, width: int) -> str:
    """Return a line in lines of at most `width` columns, unless a word is longer; an indented one stays indented."""
    if len(line) <= width:
        return line  # The spaces in a line of the table stay.
    return textwrap.fill(
        line, width, subsequent_indent="    " * line.startswith(" "), break_long_words=False, break_on_hyphens=False
    )


def _line_fields(line: ReportLine) -> dict[str, Any]:
    fields = asdict(line)
    fields["seconds"] = round(line.seconds, 3)
    fields["calm_s"] = round(line.calm_s, 3)
    fields["plain_s"] = round(line.plain_s, 3)
    fields["plain_is_extrapolated"] = line.extrapolated
    fields["rows_per_s"] = round(line.rows / line.seconds, 1) if line.seconds else None
    return fields


@frozen
class _Column:
    """A column of the table: its heading in two lines, the text of a cell, and the width from which it is shown."""

    heading: tuple[str, str]
    cell: Callable[[ReportLine], str]
    from_width: int = 0


def _seconds(value: float) -> str:
    return f"{value:.1f} s" if value >= 10 else f"{value:.2f} s"


_COLUMNS: Final = (
    _Column(("", ""), lambda line: line.title),
    _Column(("", "rows"), lambda line: f"{line.rows:,}"),
    _Column(("", "requests"), lambda line: f"{line.requests:,}", from_width=75),
    _Column(("", "retries"), lambda line: f"{line.retries:,}"),
    _Column(("", "rows/s"), lambda line: f"{line.rows / line.seconds:,.0f}" if line.seconds else "-", from_width=90),
    _Column(("with", "faults"), lambda line: _seconds(line.seconds)),
    _Column(("without", "faults"), lambda line: _seconds(line.calm_s)),
    _Column(("one by", "one"), lambda line: "~" * line.extrapolated + _seconds(line.plain_s)),
)


def _table(lines: list[ReportLine], width: int) -> list[str]:
    """Return the lines of the table, the last of which is the total; a narrow table has fewer columns."""
    columns = [column for column in _COLUMNS if column.from_width <= width]
    cells = [
        *([column.heading[number] for column in columns] for number in (0, 1)),
        *([column.cell(line) for column in columns] for line in lines),
    ]
    widths = [max(len(row[number]) for row in cells) for number in range(len(columns))]
    gap = "  " if sum(widths) + 2 * len(widths) - 2 <= width else " "
    table = [
        gap.join(
            text.ljust(wide) if number == 0 else text.rjust(wide)
            for number, (text, wide) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in cells
    ]
    rule = "-" * max(map(len, table))
    return [*table[:2], rule, *table[2:-1], rule, table[-1]]


class Progress:
    """Shows how far the demo is: one line rewritten in place on a terminal, and separate lines elsewhere.

    `retries` returns the number of retries so far; it is called for each line.
    """

    def __init__(self, stream: TextIO, retries: Callable[[], int]) -> None:
        self._stream = stream
        self._retries = retries
        self._terminal = stream.isatty()
        self._shown_width = 0
        self._title = ""
        self._rows = 0
        self._began = self._shown_at = time.monotonic()

    def say(self, text: str) -> None:
        """Write a permanent line; a long one becomes several."""
        self._write(text, permanent=True)

    def begin(self, title: str, rows: int) -> None:
        """Start a scenario that fetches `rows` rows."""
        self._title, self._rows = title, rows
        self._began = self._shown_at = time.monotonic()
        if self._terminal:
            self._write(self._status(0), permanent=False)

    def update(self, done: int) -> None:
        """Show that `done` rows were fetched, at most once per interval."""
        now = time.monotonic()
        if done < self._rows and now - self._shown_at >= (_TERMINAL_EVERY_S if self._terminal else _PLAIN_EVERY_S):
            self._shown_at = now
            self._write(self._status(done), permanent=not self._terminal)

    def end(self, done: int) -> None:
        """Write the final line of the scenario."""
        self._write(self._status(done), permanent=True)

    def _status(self, done: int) -> str:
        seconds = time.monotonic() - self._began
        rate = f"{done / seconds:,.0f}" if seconds > 0 else "-"
        retries = self._retries()
        return (
            f"  {self._title}: {done:,} of {self._rows:,} rows, {rate}/s, "
            f"{retries} {'retry' if retries == 1 else 'retries'}"
        )

    def _write(self, text: str, *, permanent: bool) -> None:
        width = width_of(self._stream)
        # A line that wraps could not be rewritten in place.
        text = _wrapped(text, width) if permanent else text[: width - 1]
        if self._terminal:
            shown, self._shown_width = self._shown_width, 0 if permanent else len(text)
            first, *more = text.split("\n")
            text = "\n".join(["\r" + first.ljust(shown), *more])
        self._stream.write(text + "\n" if permanent else text)
        self._stream.flush()
