"""Tests of the live view: what the board holds, and that its lines fit every screen and show nothing but text."""

from __future__ import annotations

import asyncio
import io
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pyte
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len
from rich.console import Console

from eachlabs_async.cli.live.board import Board, Counts, Money, Snapshot
from eachlabs_async.cli.live.facts import Facts, StepFacts, facts_of, reason_of
from eachlabs_async.cli.live.layout import board_lines, counts_text, dollars, money_text
from eachlabs_async.cli.live.live_view import LiveView
from eachlabs_async.codec.strict import to_dict
from eachlabs_async.errors import ExecutionFailedError
from eachlabs_async.records import Prediction, PredictionMetrics, State, StepOutput, WorkflowExecution

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


def step(name: str, status: str, began_s: float | None = None, ended_s: float | None = None) -> StepOutput:
    def at(seconds: float | None) -> datetime | None:
        return None if seconds is None else NOON + timedelta(seconds=seconds)

    return StepOutput(
        step_id=name, status=status, started_at=at(began_s), completed_at=at(ended_s), metadata={"model": f"m-{name}"}
    )


def execution(status: str = "running", *steps: StepOutput, cost: float | None = None) -> WorkflowExecution:
    return WorkflowExecution(
        execution_id="0b5e2c4e-1111-2222-3333-444455556666",
        status=status,
        started_at=NOON,
        step_outputs={one.step_id: one for one in steps},
        total_cost=cost,
    )


TWO_STEPS = execution("running", step("draw", "completed", 0, 4), step("grow", "running", 4))


def shown(view: Snapshot, width: int = 80, height: int = 24, **options: Any) -> list[str]:
    return [line.plain for line in board_lines(view, width, height, **options)]


# ---- the board


def test_what_runs_is_shown_with_its_steps_and_times() -> None:
    """Each step has a line with its status, its model, and how long it took or has been running."""
    board = Board("executions", total=2)
    board.started("a" * 36, 0.0)
    board.updated("a" * 36, facts_of(TWO_STEPS), 1.0)
    lines = shown(board.snapshot(8.0))
    assert lines[0].split() == ["executions", "8s"]
    assert lines[1] == "0 done  1 running  1 waiting"
    assert lines[2].split() == ["▶", "aaaaaaaaaaaa…", "running", "8s"]
    assert lines[3].split() == ["✓", "draw", "completed", "m-draw", "4s"]
    assert lines[4].split() == ["▶", "grow", "running", "m-grow", "7s"]


def test_what_began_before_it_was_watched_has_run_since_then() -> None:
    """A clock of the service that is ahead of this one is no negative time."""
    board = Board("executions")
    board.updated("a", facts_of(TWO_STEPS), 100.0, NOON + timedelta(seconds=30))
    (item,) = board.snapshot(100.0).open
    assert item.elapsed_s(100.0) == 30
    assert item.step_elapsed_s(item.facts.steps[1], 100.0) == 26
    board.updated("b", facts_of(TWO_STEPS), 100.0, NOON - timedelta(hours=1))
    assert board.snapshot(101.0).open[1].elapsed_s(101.0) == 1


def test_what_ended_is_counted_with_its_cost() -> None:
    """Costs are added as decimals, and failures are counted among what is done."""
    board = Board("executions", total=20, budget=Decimal(1), shows_recent=True)
    for number in range(10):
        board.started(str(number), 0.0)
        board.ended(
            str(number),
            facts_of(execution("completed", cost=0.1)),
            5.0,
            failed=number == 3,
            note="no luck",
            elapsed_s=99,
        )
    board.ended("unseen", None, 5.0, elapsed_s=2.5)
    view = board.snapshot(6.0)
    assert (view.counts.done, view.counts.failed, view.counts.running, view.counts.waiting) == (11, 1, 0, 9)
    assert (view.money.spent, view.money.left) == (Decimal("1.0"), 0)
    assert [item.key for item in view.recent] == ["6", "7", "8", "9", "unseen"]
    assert [item.elapsed_s(9.0) for item in view.recent[-2:]] == [5.0, 2.5]
    assert board.open_keys() == []


def test_memory_is_bounded_by_what_runs() -> None:
    """Of a hundred thousand executions that ended, five are kept."""
    board = Board("executions")
    for number in range(100_000):
        board.ended(str(number), None, 0.0)
    assert sum(len(vars_of) for vars_of in (board._open, board._recent)) == 5  # pyright: ignore[reportPrivateUsage]


@pytest.mark.parametrize(
    ("record", "cost"),
    [
        (Prediction(id="p", status="success", metrics=PredictionMetrics(cost=0.1)), Decimal("0.1")),
        (Prediction(id="p", status="processing", metrics=PredictionMetrics(cost=0)), None),
        (Prediction(id="p", status="starting"), None),
        (execution("completed", cost=0.0), Decimal(0)),
        (execution("running", cost=0.0), None),
    ],
)
def test_a_cost_is_what_the_record_says(record: Prediction | WorkflowExecution, cost: Decimal | None) -> None:
    """A cost of 0 before the end means that nobody knows yet."""
    facts = facts_of(record)
    assert facts.cost == cost
    assert to_dict(record)["status"] == facts.status


def test_a_reason_has_no_id() -> None:
    """The id stands beside it, and the line is short."""
    error = ExecutionFailedError("prediction p failed: no: luck", execution_id="p", error="no", cause="luck")
    assert reason_of(error) == "no: luck"
    assert reason_of(ExecutionFailedError("p was cancelled", state="cancelled")) == "cancelled"
    assert reason_of(TimeoutError()) == "TimeoutError"


@pytest.mark.parametrize(
    ("amount", "text"),
    [("0", "$0.00"), ("20", "$20.00"), ("0.0125", "$0.0125"), ("1234.5", "$1,234.50"), ("0.0000001", "$0.00")],
)
def test_amounts_have_two_to_six_decimals(amount: str, text: str) -> None:
    """Costs are often fractions of a cent."""
    assert dollars(Decimal(amount)) == text


def test_the_money_says_what_is_left_of_the_budget() -> None:
    """What runs may cost as much as an estimate says, so that is not left."""
    assert money_text(Money(Decimal("1.5"), Decimal("0.5"), Decimal(20))) == (
        "$1.50 spent, about $0.50 running, $18.00 of $20.00 left"
    )
    assert money_text(Money()) == ""
    assert counts_text(Counts(3, 1, 2, 0)) == "3 done, 1 of them failed, 2 running"


# ---- its lines

TEXTS = st.text(max_size=60) | st.sampled_from(
    ["[bold red]x[/]", "[link=file:///etc]x[/link]", "\x1b[2J", "a\nb", "‮evil", "界" * 50, ":smile:", ""]
)
STEPS = st.lists(
    st.builds(
        StepFacts,
        name=TEXTS,
        status=TEXTS,
        state=st.sampled_from(State),
        model=TEXTS,
        seconds=st.none() | st.floats(0, 1e7),
    ),
    max_size=6,
    unique_by=lambda one: one.name,
)
FACTS = st.builds(
    Facts,
    status=TEXTS,
    state=st.sampled_from(State),
    steps=STEPS.map(tuple),
    cost=st.none() | st.decimals(0, 10**9, allow_nan=False, places=6),
)


@st.composite
def snapshots(draw: st.DrawFn) -> Snapshot:
    board = Board(
        draw(TEXTS), total=draw(st.none() | st.integers(0, 10**9)), budget=draw(st.none() | st.just(Decimal(5)))
    )
    board.shows_recent = draw(st.booleans())
    board.note = draw(TEXTS)
    for number, facts in enumerate(draw(st.lists(FACTS, max_size=12))):
        board.updated(f"{number}{draw(TEXTS)}", facts, draw(st.floats(0, 1e6)))
    for facts in draw(st.lists(FACTS, max_size=6)):
        board.ended(draw(TEXTS), facts, 1e6, failed=draw(st.booleans()), note=draw(TEXTS))
    return board.snapshot(draw(st.floats(1e6, 1e8)))


@given(snapshots(), st.integers(1, 160), st.integers(1, 60), st.booleans())
def test_the_lines_fit_every_screen(view: Snapshot, width: int, height: int, unicode: bool) -> None:
    """They are never wider or more than the screen, and have no control character and no bidi mark."""
    lines = board_lines(view, width, height, unicode=unicode)
    assert 1 <= len(lines) <= height
    for line in lines:
        assert cell_len(line.plain) <= width
        assert line.plain.isprintable() or not line.plain
        assert "\x1b" not in line.plain
        assert "‮" not in line.plain


@given(snapshots(), st.sampled_from([60, 80, 140]), st.integers(5, 40))
def test_what_is_drawn_fits_the_screen(view: Snapshot, width: int, height: int) -> None:
    """Drawn by rich on a screen of that size, nothing wraps, and texts of the service are no markup."""
    out = io.StringIO()
    console = Console(file=out, force_terminal=True, width=width, height=height, color_system=None, highlight=False)
    lines = board_lines(view, width, height)
    for line in lines:
        console.print(line)
    assert len(out.getvalue().splitlines()) == len(lines)
    if "[bold red]x[/]" in view.title and width >= 60:
        assert "[bold red]x[/]" in out.getvalue()


def test_all_that_runs_is_counted_even_if_it_does_not_fit() -> None:
    """The last line says how many are not shown."""
    board = Board("executions", total=100)
    for number in range(50):
        board.updated(f"execution-{number}", facts_of(TWO_STEPS), float(number))
    lines = shown(board.snapshot(60.0), height=10)
    assert len(lines) == 10
    assert lines[1] == "0 done  50 running  50 waiting"
    assert lines[2].startswith("▶ execution-0")
    assert "step 2/2 grow m-grow" in lines[2]
    assert lines[-1] == "  and 43 more"
    assert shown(board.snapshot(60.0), height=2) == lines[:2]


def test_signs_are_plain_where_the_screen_has_no_others() -> None:
    """An encoding other than UTF-8 gets ASCII."""
    board = Board("executions")
    board.updated("a", facts_of(TWO_STEPS), 0.0)
    assert all(line.isascii() for line in shown(board.snapshot(1.0), unicode=False))


# ---- where it is shown


def live_view(board: Board, stream: io.StringIO, mode: Any, **options: Any) -> LiveView:
    console = Console(file=stream, force_terminal=mode == "live", width=60, height=12, highlight=False)
    return LiveView(board, console, stream, mode, **options)


async def test_plain_lines_tell_each_change_once() -> None:
    """A pipe gets a line when the status or the step changes, and none when only time has passed."""
    stream = io.StringIO()
    async with live_view(Board("executions"), stream, "plain") as view:
        view.started("a")
        for record in (execution("running", step("draw", "running", 0), step("grow", "queued")), TWO_STEPS, TWO_STEPS):
            view.updated("a", record)
        view.ended("a", execution("completed", cost=0.25))
    told = [line.split(", ")[:2] for line in stream.getvalue().splitlines()]
    assert [line[0] for line in told] == ["a: running", "a: running", "a: completed"]
    assert [line[1] for line in told[:2]] == ["step 1 of 2 (draw)", "step 2 of 2 (grow)"]
    assert stream.getvalue().splitlines()[-1].endswith("$0.25")


async def test_many_executions_are_only_counted_in_a_pipe(monkeypatch: pytest.MonkeyPatch) -> None:
    """A line for each change of a thousand executions would help nobody."""
    monkeypatch.setattr("eachlabs_async.cli.live.live_view._PLAIN_EVERY_S", 0.01)
    stream = io.StringIO()
    async with live_view(Board("executions"), stream, "plain") as view:
        for number in range(1000):
            view.started(str(number))
        view.updated("1", TWO_STEPS)
        while not stream.getvalue():
            await asyncio.sleep(0.01)
    assert stream.getvalue() == "executions: 0 done, 1,000 running\n"


async def test_a_hidden_view_writes_nothing() -> None:
    """With --quiet the board is kept, and nothing is shown."""
    stream = io.StringIO()
    async with live_view(Board("executions"), stream, "hidden") as view:
        view.updated("a", TWO_STEPS)
        view.ended("a", None, failed=True)
    assert stream.getvalue() == ""
    assert view.summary() == "1 done, 1 of them failed"


async def test_a_live_view_vanishes_at_its_end_and_leaves_what_was_said(monkeypatch: pytest.MonkeyPatch) -> None:
    """The screen then has the lines that were printed above the view, and the cursor again."""
    monkeypatch.setattr("eachlabs_async.cli.live.live_view._EVERY_S", 0.001)
    stream = io.StringIO()
    screen = pyte.Screen(60, 12)
    drawn: list[str] = []
    async with live_view(Board("executions"), stream, "live") as view:
        view.updated("a", TWO_STEPS)
        while "draw" not in stream.getvalue():
            await asyncio.sleep(0.001)
        view.say("a line \x1b[31m[bold]above[/bold]")
        await asyncio.sleep(0.01)
        pyte.Stream(screen).feed(stream.getvalue().replace("\n", "\r\n"))
        drawn = [line.rstrip() for line in screen.display]
    assert drawn[0] == "a line \\x1b[31m[bold]above[/bold]"
    assert drawn[1].split()[0] == "executions"
    assert any("grow" in line for line in drawn)
    after = pyte.Screen(60, 12)
    pyte.Stream(after).feed(stream.getvalue().replace("\n", "\r\n"))
    assert [line.rstrip() for line in after.display if line.strip()] == ["a line \\x1b[31m[bold]above[/bold]"]
    assert not after.cursor.hidden
