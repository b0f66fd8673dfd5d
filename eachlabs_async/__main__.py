"""The entry point of `python -m eachlabs_async`; `cli` has the commands."""

from __future__ import annotations

import sys

from .cli import main

if __name__ == "__main__":  # pragma: no cover - its test runs it as a process of its own
    try:
        sys.exit(main())
    except KeyboardInterrupt:  # Ctrl-C before a command could handle it.
        sys.exit(130)
