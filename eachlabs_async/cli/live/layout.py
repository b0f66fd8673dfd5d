"""Lines of a board that fit a screen: never wider, never more than there is room for, and nothing but text."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import Final

from rich.cells import cell_len, set_cell_size
from rich.text import Text

from ...records import State
from ..progress import duration
from ..screen_text import screen_text
from .board import Counts, Item, Money, Snapshot
from .facts import StepFacts

__all__ = ["board_lines", "counts_text", "dollars", "item_text", "money_text"]

_GLYPHS: Final = {
    State.PENDING: "·",
    State.RUNNING: "▶",
    State.WAITING: "?",
    State.SUCCEEDED: "✓",
    State.FAILED: "✗",
    State.CANCELLED: "–",  # noqa: RUF001  # a dash on purpose
    State.UNKNOWN: "?",
}
_PLAIN_GLYPHS: Final = {
    State.PENDING: ".",
    State.RUNNING: ">",
    State.WAITING: "?",
    State.SUCCEEDED: "+",
    State.FAILED: "x",
    State.CANCELLED: "-",
    State.UNKNOWN: "?",
}
_STYLES: Final = {
    State.PENDING: "dim",
    State.RUNNING: "cyan",
    State.WAITING: "magenta",
    State.SUCCEEDED: "green",
    State.FAILED: "red",
    State.CANCELLED: "yellow",
    State.UNKNOWN: "",
}
_GAP: Final = "  "
_WHOLE_ID_FROM: Final = 100
"""The width from which ids are shown whole."""
_WIDEST: Final = 110
"""The width from which lines become no longer: on a wide screen, what belongs together stays together."""
_DURATION: Final = 6
"""The width of the longest duration, such as 59m59s."""
_LONGEST: Final = 200
"""Characters of a text of the service that are looked at."""


def board_lines(view: Snapshot, width: int, height: int, *, unicode: bool = True) -> list[Text]:
    """Return the view as at most `height` lines of at most `width` columns: the counts always, and what runs.

    Each execution gets a line for each of its steps if all fit, else one line in all.
    """
    layout = _Layout(view, width, _GLYPHS if unicode else _PLAIN_GLYPHS)
    lines = layout.head()[: max(1, height)]
    room = height - len(lines)
    if room <= 0:
        return lines
    body = [line for item in view.open for line in layout.with_steps(item)]
    if len(body) > room:
        body = [layout.in_one_line(item) for item in view.open[:room]]
    hidden = len(view.open) - len(body)
    if hidden > 0:
        body[-1] = layout.cut(f"{_GAP}and {hidden + 1:,} more", "dim")
    recent = [layout.in_one_line(item) for item in view.recent][-max(0, room - len(body)) :] if room > len(body) else []
    return [*lines, *recent, *body]


def counts_text(counts: Counts) -> str:
    """Return the counts as a line of text."""
    return ", ".join(text for text, _ in _count_parts(counts))


def money_text(money: Money) -> str:
    """Return what was spent and what is left as text; empty if there is nothing to tell."""
    parts: list[str] = []
    if money.spent or money.budget is not None:
        parts.append(f"{dollars(money.spent)} spent")
    if money.running:
        parts.append(f"about {dollars(money.running)} running")
    if money.budget is not None and money.left is not None:
        parts.append(f"{dollars(money.left)} of {dollars(money.budget)} left")
    return ", ".join(parts)


def item_text(item: Item, now_s: float) -> str:
    """Return one execution as a line of plain text, with the step that it is at."""
    facts = item.facts
    text = f"{item.key}: {facts.status or 'not seen yet'}"
    step = facts.current_step
    if step is not None and len(facts.steps) > 1 and (not facts.is_finished or facts.state is State.FAILED):
        text += f", step {_number(step, facts.steps)} of {len(facts.steps)} ({step.name})"
    text += f", {duration(item.elapsed_s(now_s))}"
    if facts.cost:
        text += f", {dollars(facts.cost)}"
    if item.note:
        text += f": {item.note}"
    return screen_text(text[: 2 * _LONGEST])


def dollars(amount: Decimal) -> str:
    """Return an amount in USD with two to six decimal places."""
    text = f"{amount:,.6f}".rstrip("0")
    whole, _, decimals = text.partition(".")
    return f"${whole}.{decimals.ljust(2, '0')}"


class _Layout:
    """Makes the lines of one snapshot, none wider than the screen."""

    def __init__(self, view: Snapshot, width: int, glyphs: dict[State, str]) -> None:
        self._view = view
        self._width = max(1, min(width, _WIDEST))
        self._glyphs = glyphs

    def head(self) -> list[Text]:
        """Return the title with the time, the counts, and the money if there is any."""
        view = self._view
        lines = [
            self._justified([(_screen(view.title), "bold")], duration(view.elapsed_s)),
            self._joined(_count_parts(view.counts)),
        ]
        if money := money_text(view.money):
            lines.append(self.cut(money))
        if view.note:
            lines.append(self.cut(_screen(view.note), "yellow"))
        return lines

    def with_steps(self, item: Item) -> list[Text]:
        """Return an execution with a line for each step; one with a single step has one line."""
        steps = item.facts.steps
        if len(steps) < 2:
            return [self.in_one_line(item)]
        names = max(cell_len(_screen(step.name)) for step in steps)
        statuses = max(cell_len(_screen(step.status)) for step in steps)
        if names + statuses > self._width // 2:
            names = statuses = 0  # Long ones are not worth aligning.
        step_lines = [self._step_line(item, step, names, statuses) for step in steps]
        return [self.in_one_line(item, names_step=False), *step_lines]

    def in_one_line(self, item: Item, *, names_step: bool = True) -> Text:
        """Return an execution as one line: its state, its id, its status, where it is, and for how long."""
        facts, steps = item.facts, item.facts.steps
        parts = [
            (f"{self._glyphs[facts.state]} {self._shown_id(item.key)}", ""),
            (_screen(facts.status) or "not seen yet", _STYLES[facts.state]),
        ]
        step = facts.current_step
        if item.note:
            parts.append((_screen(item.note), ""))
        elif names_step and steps and step is not None and not facts.is_finished:
            parts.append((f"step {_number(step, steps)}/{len(steps)} {_screen(step.name)} {_screen(step.model)}", ""))
        right = duration(item.elapsed_s(self._view.now_s))
        if facts.cost:
            right = f"{dollars(facts.cost)}{_GAP}{right:>{_DURATION}}"
        return self._justified(parts, right)

    def _step_line(self, item: Item, step: StepFacts, names: int, statuses: int) -> Text:
        parts = [
            (f"{_GAP}{self._glyphs[step.state]} {_padded(_screen(step.name), names)}", ""),
            (_padded(_screen(step.status), statuses), _STYLES[step.state]),
            (_screen(step.model), "dim"),
        ]
        elapsed = item.step_elapsed_s(step, self._view.now_s)
        return self._justified(parts, "" if elapsed is None else duration(elapsed))

    def _shown_id(self, key: str) -> str:
        text = _screen(key)
        return text if self._width >= _WHOLE_ID_FROM or cell_len(text) <= 13 else set_cell_size(text, 12) + "…"

    def _joined(self, parts: Sequence[tuple[str, str]]) -> Text:
        """Return the parts with gaps between them, cut to the width."""
        line = Text(no_wrap=True)
        for text, style in parts:
            if text:
                line.append(_GAP if line else "").append(text, style=style)
        line.truncate(self._width, overflow="ellipsis")
        return line

    def _justified(self, parts: Sequence[tuple[str, str]], right: str) -> Text:
        """Return the parts on the left and `right` at the right edge, which is never cut for the left."""
        room = self._width - cell_len(right) - (len(_GAP) if right else 0)
        left = _Layout(self._view, room, self._glyphs)._joined(parts) if room > 0 else Text()
        left.append(" " * (self._width - left.cell_len - cell_len(right))).append(right)
        left.rstrip()
        left.truncate(self._width, overflow="ellipsis")
        return left

    def cut(self, text: str, style: str = "") -> Text:
        """Return a text as a line, cut to the width."""
        return self._joined([(text, style)])


def _count_parts(counts: Counts) -> list[tuple[str, str]]:
    parts = [(f"{counts.done:,} {counts.word}", "green" if counts.done > counts.failed else "")]
    if counts.failed:
        parts.append((f"{counts.failed:,} of them failed", "red"))
    if counts.running:
        parts.append((f"{counts.running:,} running", "cyan"))
    if counts.waiting:
        parts.append((f"{counts.waiting:,} waiting", ""))
    return parts


def _screen(text: str) -> str:
    return screen_text(text[:_LONGEST])


def _padded(text: str, width: int) -> str:
    return text + " " * (width - cell_len(text))


def _number(step: StepFacts, steps: Sequence[StepFacts]) -> int:
    return steps.index(step) + 1
