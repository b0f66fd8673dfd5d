"""Tests of how a table shares the width of a screen, and of the figures of a progress."""

from __future__ import annotations

import io
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len
from rich.console import Console

from eachlabs_async.cli.costs import cost_shown
from eachlabs_async.cli.output.cells import bar
from eachlabs_async.cli.output.fields import TableColumn, View
from eachlabs_async.cli.output.table import Table
from eachlabs_async.cli.output.widths import GAP, fit
from eachlabs_async.cli.progress import Progress, duration, progress_text, size

CONTENTS = st.sampled_from(["text", "time", "integer", "number", "cost", "boolean", "json"])


@st.composite
def tables(draw: st.DrawFn) -> tuple[list[TableColumn], list[int]]:
    contents = draw(st.lists(CONTENTS, min_size=1, max_size=9))
    ranks = draw(st.permutations(range(len(contents))))
    columns = [
        TableColumn(f"c{at}", f"c{at}", content, rank, is_id=at == 0)
        for at, (content, rank) in enumerate(zip(contents, ranks, strict=True))
    ]
    natural = [19 if column.content == "time" else draw(st.integers(2, 60)) for column in columns]
    return columns, natural


@given(tables(), st.integers(30, 200), st.booleans())
def test_what_is_shown_fits_the_screen(table: tuple[list[TableColumn], list[int]], width: int, keep_all: bool) -> None:
    """No line is longer than the screen, no column wider than its cells, and none is left out that was asked for."""
    columns, natural = table
    fitted = fit(columns, natural, width, keep_all=keep_all)
    total = sum(one.width for one in fitted) + GAP * (len(fitted) - 1)
    assert total <= max(width, 3 * len(fitted) + GAP * (len(fitted) - 1))
    wanted = dict(zip((column.name for column in columns), natural, strict=True))
    assert all(1 <= one.width <= wanted[one.column.name] for one in fitted)
    assert fitted
    if keep_all:
        assert [one.column for one in fitted] == columns


@given(tables())
def test_on_a_wide_screen_nothing_is_cut(table: tuple[list[TableColumn], list[int]]) -> None:
    columns, natural = table
    assert [one.width for one in fit(columns, natural, 1000, keep_all=False)] == natural


@given(
    st.lists(
        st.dictionaries(st.sampled_from(["id", "name", "at", "n"]), st.text() | st.integers() | st.none()), max_size=8
    ),
    st.integers(20, 160),
)
def test_no_line_of_a_table_is_wider_than_the_screen(rows: list[dict[str, object]], width: int) -> None:
    """Whatever the texts are: wide characters, controls, or rich's markup."""
    out = io.StringIO()
    columns = tuple(
        TableColumn(name, name, content, rank, name == "id")  # type: ignore[arg-type]
        for rank, (name, content) in enumerate([("id", "text"), ("name", "text"), ("at", "time"), ("n", "integer")])
    )
    table = Table(Console(file=out, width=width, no_color=True), View(("id", "name", "at", "n"), {}, columns))
    for row in rows:
        table.write(row)
    table.end()
    lines = out.getvalue().split("\n")
    assert len(lines) == (len(rows) + 2 if rows else 1)
    assert all(cell_len(line) <= width for line in lines)
    assert all(line.isprintable() for line in lines)


def test_what_is_left_out_is_told_and_empty_columns_are_dropped() -> None:
    """A column without any value takes no room from the others."""
    out, told = io.StringIO(), list[str]()
    columns = tuple(TableColumn(name, name, rank=rank, is_id=not rank) for rank, name in enumerate("abc"))
    view = View(("a", "b", "c"), {}, columns)
    table = Table(Console(file=out, width=16, no_color=True), view, on_left_out=told.extend)
    for row in ({"a": "1234567890", "c": "xyz"}, {"a": "1", "b": None, "c": "12"}):
        table.write(row)
    table.end()
    assert out.getvalue() == "a           c\n1234567890  xyz\n1           12\n"
    assert not told
    narrow = Table(Console(file=io.StringIO(), width=12, no_color=True), view, on_left_out=told.extend)
    narrow.write({"a": "1234567890", "b": "x", "c": "y"})
    narrow.end()
    narrow.end()
    assert told == ["b", "c"]


def test_rows_after_the_first_keep_the_widths() -> None:
    """A live table prints the first row at once, with room for usual texts, and cuts longer ones."""
    out = io.StringIO()
    columns = (TableColumn("a", "a", rank=0), TableColumn("b", "b", rank=1))
    table = Table(Console(file=out, width=30, no_color=True), View(("a", "b"), {}, columns), live=True)
    table.write({"a": "1234567890", "b": "x"})
    assert out.getvalue() == "a                   b\n1234567890          x\n"
    table.write({"a": "1234567890123456789012345", "b": "12345678901"})
    assert out.getvalue().endswith("12345678901234567…  123456789…\n")


@pytest.mark.parametrize(
    ("figures", "text"),
    [
        ((0, None, 0.0), "0 rows"),
        ((1200, 5000, 5.0), "1,200/5,000 rows  240/s  16s left"),
        ((5000, 5000, 5.0), "5,000/5,000 rows  1,000/s"),
        ((10, None, 4.0), "10 rows  2.5/s"),
        ((10, 5, 1.0), "10 rows  10/s"),
    ],
)
def test_the_figures_of_a_progress(figures: tuple[int, int | None, float], text: str) -> None:
    assert progress_text(*figures) == text


@pytest.mark.parametrize(
    ("count", "text"),
    [(0, "0 B"), (999, "999 B"), (1000, "1.0 kB"), (15_400, "15 kB"), (999_700, "1.0 MB"), (2.5e9, "2.5 GB")],
)
def test_a_size_has_the_unit_that_suits_it(count: float, text: str) -> None:
    assert size(count) == text


def test_bytes_have_sizes_and_a_speed() -> None:
    assert progress_text(2_000_000, 8_000_000, 2.0, "bytes") == "2.0 MB of 8.0 MB  1.0 MB/s  6s left"
    assert progress_text(500, None, 0.0, "bytes") == "500 B"


def test_a_lower_bound_says_nothing_about_the_time() -> None:
    assert progress_text(100, 1000, 1.0, total_is_exact=False) == "100/1,000+ rows  100/s"


@pytest.mark.parametrize(
    ("seconds", "text"), [(0, "0s"), (59.4, "59s"), (60, "1m00s"), (3700, "1h01m"), (90000, "1d01h")]
)
def test_a_duration_has_its_two_largest_units(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_plain_progress_is_a_line_every_few_seconds() -> None:
    """Nothing before five seconds, then a line, and a text of the service in it is escaped."""
    now, out = [0.0], io.StringIO()
    with Progress("a\x1bb", out, bar=False, plain=True, clock=lambda: now[0]) as progress:
        for now[0] in (1.0, 4.0, 6.0, 8.0, 12.0):
            progress.update(int(now[0] * 10), 1000)
    assert out.getvalue().splitlines() == [
        "a\\x1bb: 60/1,000 rows  10/s  1m34s left",
        "a\\x1bb: 120/1,000 rows  10/s  1m28s left",
    ]


def test_a_quiet_progress_says_nothing() -> None:
    now, out = [0.0], io.StringIO()
    with Progress("x", out, bar=False, plain=False, clock=lambda: now[0]) as progress:
        now[0] = 100.0
        progress.update(5)
    assert not out.getvalue()


@given(st.floats(0, 1), st.integers(1, 40))
def test_a_bar_is_as_long_as_its_share(share: float, width: int) -> None:
    """It fills the column for the whole, and what is not nothing can be seen."""
    assert len(bar(share, width)) <= width
    assert bar(1.0, width) == "█" * width
    assert bool(bar(share, width)) == (share > 0)


@pytest.mark.parametrize(
    ("cost", "shown"),
    [("0", "0.0000"), ("0.00001", "<0.0001"), ("7.782338", "7.7823"), ("12345.5", "12,345.5000"), ("-1", "-1.0000")],
)
def test_costs_of_a_column_stand_below_each_other(cost: str, shown: str) -> None:
    assert cost_shown(Decimal(cost)) == shown
