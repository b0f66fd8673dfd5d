"""Owns `python -m eachlabs_async`; refuses everything else, which is the commands' own."""

from __future__ import annotations

import sys

from .cli import main

if __name__ == "__main__":  # pragma: no cover - its test runs it as a process of its own
    try:
        sys.exit(main())
    except KeyboardInterrupt:  # Before a command could take care of it itself.
        sys.exit(130)
