"""Which execution of one request belongs to which of its inputs, by the inputs that each execution shows.

An answer names the executions in the order of the inputs, but an answer may be in another order. An execution that
shows the inputs of another input is set aside until all executions of the request have been read; then those that were
set aside are given to the inputs that they show.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Generic, TypeVar

from attrs import define, field, frozen

from .sent_inputs import additions

K = TypeVar("K")
V = TypeVar("V")


@frozen
class Stray(Generic[V]):
    """An execution that was set aside: its id, the inputs that it shows, and what was read of it."""

    id: str
    inputs: Any
    read: V


@define(eq=False)
class Placement(Generic[K, V]):
    """The inputs of one request whose executions an answer named; `values` holds what was sent of each, by its key."""

    values: dict[K, Any]
    unread: int = field(init=False)
    strays: list[Stray[V]] = field(init=False)
    without: list[K] = field(init=False)

    def __attrs_post_init__(self) -> None:
        self.unread = len(self.values)
        self.strays, self.without = [], []

    def is_placed(self, key: K, inputs: Any) -> bool:
        """Whether an execution with these inputs is that of input `key`, and not that of a more specific one."""
        value = self.values[key]
        added = additions(inputs, value, lenient=True)
        if not added:
            return added is not None
        return not any(
            other is not key and additions(inputs, more, lenient=True) is not None and additions(more, value)
            for other, more in self.values.items()
        )

    def keep(self, key: K) -> None:
        """Record that the execution of input `key` was read and is its own."""
        self.unread -= 1

    def set_aside(self, key: K, stray: Stray[V]) -> None:
        """Record that the execution of input `key` was read and is not its own."""
        self.unread -= 1
        self.strays.append(stray)
        self.without.append(key)

    def settled(self) -> tuple[list[tuple[K, Stray[V]]], Sequence[K]]:
        """Return the inputs that were found an execution, with it, and those that have none.

        Both are empty until all executions of the request have been read.
        """
        if self.unread or not self.without:
            return [], []
        fitting = [
            (len(added), key, stray)
            for key in self.without
            for stray in self.strays
            if (added := additions(stray.inputs, self.values[key], lenient=True)) is not None
        ]
        placed: list[tuple[K, Stray[V]]] = []
        left, strays = list(self.without), list(self.strays)
        for _, key, stray in sorted(fitting, key=lambda one: one[0]):
            if key in left and stray in strays:
                left.remove(key)
                strays.remove(stray)
                placed.append((key, stray))
        self.without, self.strays = [], strays
        return placed, left
