"""The commands for people: `python -m eachlabs_async demo` and `python -m eachlabs_async emulator`."""

from __future__ import annotations

import sys
from collections.abc import Sequence

__all__ = ["main"]

INTERRUPTED = 130

_USAGE = """\
usage: python -m eachlabs_async COMMAND [options]

  demo       walk and fetch thousands of rows from an emulator that misbehaves, and check every row
  emulator   run the emulator, to try the client or your own code against it

`python -m eachlabs_async COMMAND --help` lists the options of a command. Neither needs a key or a network."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command that `argv` names (default: the arguments of the process) and return its exit code.

    The code is 2 for an unknown command, and 130 after Ctrl-C during the demo, even while its modules are imported.
    """
    arguments = list(sys.argv[1:] if argv is None else argv)
    # Each command is imported only when it is run.
    if arguments[:1] == ["demo"]:
        try:
            from .demo import main as demo

            return demo(arguments[1:])
        except KeyboardInterrupt:
            print("\nstopped", file=sys.stderr)
            return INTERRUPTED
    if arguments[:1] == ["emulator"]:
        from ..emulator.__main__ import main as emulator

        return emulator(arguments[1:])
    is_help = arguments[:1] in (["-h"], ["--help"])
    print(_USAGE, file=sys.stdout if is_help else sys.stderr)
    return 0 if is_help else 2
