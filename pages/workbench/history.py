"""What was done and can be undone. Pure: every step gives a new history."""

from dataclasses import dataclass
from typing import Generic, TypeVar

Value = TypeVar("Value")

MOST = 200
"""Steps that are kept; the oldest are forgotten first."""


@dataclass(frozen=True)
class History(Generic[Value]):
    """A value and the steps around it.

    Attributes:
        now: The value that holds.
        past: What it was before, oldest first.
        future: What was undone, next to be redone last.
    """

    now: Value
    past: tuple[Value, ...] = ()
    future: tuple[Value, ...] = ()

    def push(self, value: Value) -> "History[Value]":
        """Take a new value; what had been undone is gone. An equal value is no step."""
        if value == self.now:
            return self
        return History(value, (*self.past, self.now)[-MOST:])

    def undo(self) -> "History[Value]":
        """Go one step back; the first value stays."""
        if not self.past:
            return self
        return History(self.past[-1], self.past[:-1], (*self.future, self.now))

    def redo(self) -> "History[Value]":
        """Go forward again by one step, where one was undone."""
        if not self.future:
            return self
        return History(self.future[-1], (*self.past, self.now), self.future[:-1])
