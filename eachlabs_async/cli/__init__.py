"""Owns the commands for people, `python -m eachlabs_async demo` and `... emulator`; refuses to serve rooms.

A command's module is imported when its command is given, so that the one does not pay for the other.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

__all__ = ["main"]

INTERRUPTED = 130

_USAGE = """\
usage: python -m eachlabs_async COMMAND [options]

  demo       walk and fetch thousands of rows from an emulator that misbehaves, and check every one
  emulator   run the emulator by itself, to try the client or your own code against it

`python -m eachlabs_async COMMAND --help` tells the options. Neither needs a key or a network."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command that `argv` names (default: the process's own arguments) and give its exit code.

    130 after Ctrl-C during the demo, also while its modules are still imported.
    """
    words = list(sys.argv[1:] if argv is None else argv)
    if words[:1] == ["demo"]:
        try:
            from .demo import main as demo

            return demo(words[1:])
        except KeyboardInterrupt:
            print("\nstopped", file=sys.stderr)
            return INTERRUPTED
    if words[:1] == ["emulator"]:
        from ..emulator.__main__ import main as emulator

        return emulator(words[1:])
    asked = words[:1] in (["-h"], ["--help"])
    print(_USAGE, file=sys.stdout if asked else sys.stderr)
    return 0 if asked else 2
