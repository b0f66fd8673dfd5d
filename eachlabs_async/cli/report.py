"""The output of the demo: progress while it runs, and the report at its end, as a table or as JSON."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Any, TextIO

from attrs import asdict, define, field

__all__ = ["ReportLine", "Progress", "Report"]

_TERMINAL_EVERY_S = 0.1
_PLAIN_EVERY_S = 2.0


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

    def as_text(self) -> str:
        """Return the report as a table with notes."""
        total = self.total()
        cells = [
            ("", "rows", "requests", "retries", "seconds", "rows/s", "no faults", "one by one"),
            *(_cells(line) for line in [*self.lines, total]),
        ]
        widths = [max(len(row[column]) for row in cells) for column in range(len(cells[0]))]
        table = [
            "  ".join(
                text.ljust(width) if column == 0 else text.rjust(width)
                for column, (text, width) in enumerate(zip(row, widths, strict=True))
            ).rstrip()
            for row in cells
        ]
        rule = "-" * max(map(len, table))
        faults = ", ".join(f"{count} {kind}" for kind, count in sorted(self.faults.items())) or "none"
        text = [
            *table[:1],
            rule,
            *table[1:-1],
            rule,
            table[-1],
            "",
            f"Faults while this ran: {faults}.",
            "No faults: the same again with the faults switched off.",
            "One by one: one page or id at a time, also without faults.",
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
        return "\n".join(text)

    def _sampled(self) -> list[str]:
        sampled = [line for line in self.lines if line.extrapolated]
        if not sampled:
            return []
        counts = " and ".join(f"{line.plain_rows} of {line.rows:,}" for line in sampled)
        return [f"~ is extrapolated from a sample ({counts} ids); all other figures were measured in full."]


def _line_fields(line: ReportLine) -> dict[str, Any]:
    fields = asdict(line)
    fields["seconds"] = round(line.seconds, 3)
    fields["calm_s"] = round(line.calm_s, 3)
    fields["plain_s"] = round(line.plain_s, 3)
    fields["plain_is_extrapolated"] = line.extrapolated
    fields["rows_per_s"] = round(line.rows / line.seconds, 1) if line.seconds else None
    return fields


def _cells(line: ReportLine) -> tuple[str, ...]:
    return (
        line.title,
        f"{line.rows:,}",
        f"{line.requests:,}",
        f"{line.retries:,}",
        f"{line.seconds:.2f}",
        f"{line.rows / line.seconds:,.0f}" if line.seconds else "-",
        f"{line.calm_s:.2f}",
        f"{'~' if line.extrapolated else ''}{line.plain_s:.2f}",
    )


class Progress:
    """Shows how far the demo is: one line rewritten in place on a terminal, and separate lines elsewhere.

    `retries` returns the number of retries so far; it is called for each line.
    """

    def __init__(self, stream: TextIO, retries: Callable[[], int]) -> None:
        self._stream = stream
        self._retries = retries
        self._terminal = stream.isatty()
        self._width = 0
        self._title = ""
        self._rows = 0
        self._began = self._shown_at = time.monotonic()

    def say(self, text: str) -> None:
        """Write a permanent line."""
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
            f"  {self._title}: {done:,} of {self._rows:,} rows, {rate} rows/s, "
            f"{retries} {'retry' if retries == 1 else 'retries'}"
        )

    def _write(self, text: str, *, permanent: bool) -> None:
        if self._terminal:
            text = "\r" + text.ljust(self._width)
            self._width = 0 if permanent else len(text) - 1
        self._stream.write(text + "\n" if permanent else text)
        self._stream.flush()
