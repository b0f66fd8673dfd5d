"""Show how far a command is, on standard error: a bar on a terminal, a plain line every few seconds elsewhere."""

from __future__ import annotations

import time
from collections.abc import Callable
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, Self, TextIO

from .screen_text import screen_text

if TYPE_CHECKING:
    from rich.progress import Progress as RichProgress

_PLAIN_EVERY_S: Final = 5.0
_BAR_FROM: Final = 72
"""The width from which there is room for the bar beside the figures."""


def progress_text(
    done: int, total: int | None, elapsed_s: float, unit: str = "rows", *, total_is_exact: bool = True
) -> str:
    """Return the figures of a progress: how many of how many, the rate, and the time that is left.

    A total that is a lower bound (`total_is_exact=False`) has a plus sign, and says nothing about the time.
    """
    known = total is not None and total >= done
    plus = "" if total_is_exact else "+"
    rate = done / elapsed_s if elapsed_s > 0 else 0.0
    if unit == "bytes":
        parts = [f"{size(done)} of {size(total or 0)}{plus}" if known else size(done)]
        speed = f"{size(rate)}/s"
    else:
        parts = [f"{done:,}/{total:,}{plus} {unit}" if known else f"{done:,} {unit}"]
        speed = f"{rate:,.0f}/s" if rate >= 10 else f"{rate:.1f}/s"
    if rate:
        parts.append(speed)
    if rate and total is not None and total > done and total_is_exact:
        parts.append(f"{duration((total - done) / rate)} left")
    return "  ".join(parts)


def size(count: float) -> str:
    """Return a number of bytes in the unit that suits it: `900 B`, `1.5 kB`, `20 MB`."""
    for unit in ("B", "kB", "MB"):
        if count < 999.5:
            return f"{count:.0f} {unit}" if unit == "B" or count >= 9.95 else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.1f} GB"


def duration(seconds: float) -> str:
    """Return a duration in its two largest units: `8s`, `4m05s`, `2h13m`, `3d04h`."""
    whole = max(0, round(seconds))
    if whole < 60:
        return f"{whole}s"
    if whole < 3600:
        return f"{whole // 60}m{whole % 60:02d}s"
    if whole < 86_400:
        return f"{whole // 3600}h{whole % 3600 // 60:02d}m"
    return f"{whole // 86_400}d{whole % 86_400 // 3600:02d}h"


class Progress:
    """The progress of one command. Use it as a context manager; `update` may be called as often as wished."""

    def __init__(
        self,
        title: str,
        stream: TextIO,
        *,
        bar: bool,
        plain: bool,
        color: bool = True,
        unit: str = "rows",
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._title = screen_text(title)
        self._stream = stream
        self._wants_bar = bar
        self._plain = plain
        self._color = color
        self._unit = unit
        self._clock = clock
        self._began = self._said = clock()
        self._total = 0
        self._bar: RichProgress | None = None
        self._task: Any = None

    def __enter__(self) -> Self:
        if self._wants_bar:
            self._bar = self._new_bar()
            self._task = self._bar.add_task("", total=None, title=self._title, figures="")
            self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def stop(self) -> None:
        """Remove the bar, so that lines can be printed below."""
        bar, self._bar = self._bar, None
        if bar is not None:
            bar.stop()
        self._plain = False

    def update(self, done: int, total: int | None = None, *, total_is_exact: bool = True, note: str = "") -> None:
        """Show how many are done."""
        now = self._clock()
        if total is not None:
            # By seeking, the service counts the rows that are left, so the first total is the one of all rows.
            total = self._total = max(total, self._total)
        if self._bar is None and (not self._plain or now - self._said < _PLAIN_EVERY_S):
            return
        figures = progress_text(done, total, now - self._began, self._unit, total_is_exact=total_is_exact)
        if note:
            figures += f"  {screen_text(note)}"
        if self._bar is not None:
            known = total if total_is_exact else None
            self._bar.update(self._task, completed=done, total=known, figures=figures)
            return
        self._said = now
        self._stream.write(f"{self._title}: {figures}\n")
        self._stream.flush()

    def say(self, text: str) -> None:
        """Print a line above the progress."""
        if self._bar is not None:
            self._bar.console.print(screen_text(text), soft_wrap=True, markup=False, highlight=False, emoji=False)
        else:
            self._stream.write(screen_text(text) + "\n")
            self._stream.flush()

    def _new_bar(self) -> RichProgress:
        from rich.console import Console
        from rich.progress import BarColumn, ProgressColumn, SpinnerColumn, TextColumn
        from rich.progress import Progress as RichProgress
        from rich.table import Column

        console = Console(file=self._stream, force_terminal=True, no_color=None if self._color else True)
        whole = Column(no_wrap=True, overflow="ellipsis")
        columns: list[ProgressColumn] = [
            SpinnerColumn(),
            TextColumn("{task.fields[title]}", markup=False, table_column=Column(no_wrap=True, overflow="ellipsis")),
        ]
        if console.width >= _BAR_FROM:
            columns.append(BarColumn(bar_width=max(8, min(40, console.width - 64))))
        columns.append(TextColumn("{task.fields[figures]}", markup=False, table_column=whole))
        return RichProgress(*columns, console=console, transient=True, refresh_per_second=8)
