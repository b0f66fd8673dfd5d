"""Print what the package logs as lines on standard error, fit for a terminal."""

from __future__ import annotations

import logging
import sys
from collections.abc import Generator
from contextlib import contextmanager

from .screen_text import screen_text


class LogLines(logging.Handler):
    """Writes each record as one line."""

    def emit(self, record: logging.LogRecord) -> None:
        """Write a record; what the writing raises is left to `logging`."""
        try:
            sys.stderr.write(f"eachlabs: {screen_text(record.getMessage())}\n")
            sys.stderr.flush()
        except Exception:
            self.handleError(record)


@contextmanager
def log_lines(level: int) -> Generator[None]:
    """Print the records of the package from `level` on within the block."""
    logger = logging.getLogger("eachlabs_async")
    handler, before = LogLines(level), logger.level
    logger.addHandler(handler)
    logger.setLevel(level)
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.setLevel(before)
