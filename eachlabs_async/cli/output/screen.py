"""Standard output as a screen of some columns."""

from __future__ import annotations

from rich.console import Console


class Screen(Console):
    """A console whose reader may go away: it says so as other writers do."""

    def on_broken_pipe(self) -> None:
        """Raise the `BrokenPipeError` that is being handled, which rich would turn into an exit with code 1."""
        raise  # it is called within the handler
