"""The name of the program, as the user typed it."""

from __future__ import annotations

import os
import sys

__all__ = ["program_name"]


def program_name(path: str | None = None) -> str:
    """Return `eachlabs` if the program was started by that script, else `python -m eachlabs_async`.

    `path` is that of the program (default: the first argument of the process).
    """
    name = os.path.basename(sys.argv[0] if path is None else path)  # noqa: PTH119  # pathlib is slow to import
    return "eachlabs" if name in ("eachlabs", "eachlabs.exe") else "python -m eachlabs_async"
