"""The entry point of `python -m eachlabs_async`; `cli` has the commands."""

from __future__ import annotations

import sys

if __name__ == "__main__":  # pragma: no cover - its test runs it as a process of its own
    try:
        from .cli import main

        sys.exit(main())
    except KeyboardInterrupt:  # Ctrl-C before a command could handle it.
        print("\nstopped", file=sys.stderr)
        sys.exit(130)
else:
    from .cli import main as main
