"""Show the package's warnings as lines of the command, instead of as the logging module would print them."""

from __future__ import annotations

import logging
from collections.abc import Callable
from types import TracebackType
from typing import Self

__all__ = ["LogLines"]


class LogLines(logging.Handler):
    """Calls `say` with the text of each warning of the package, within a block."""

    def __init__(self, say: Callable[[str], object]) -> None:
        super().__init__(logging.WARNING)
        self._show = say
        self._logger = logging.getLogger("eachlabs_async")

    def emit(self, record: logging.LogRecord) -> None:
        """Show one warning."""
        self._show(record.getMessage())

    def __enter__(self) -> Self:
        self._logger.addHandler(self)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._logger.removeHandler(self)
