"""The commands for people: `python -m eachlabs_async demo` and `python -m eachlabs_async emulator`."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from .interrupts import held_interrupts
from .program import program_name

__all__ = ["main"]

INTERRUPTED = 130

_USAGE = """\
usage: {program} COMMAND [options]

  demo       walk and fetch thousands of rows from an emulator that misbehaves, and check every row
  emulator   run the emulator, to try the client or your own code against it

`{program} COMMAND --help` lists the options of a command. Neither needs a key or a network."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command that `argv` names (default: the arguments of the process) and return its exit code.

    The code is 2 for an unknown command, and 130 after Ctrl-C, even while the modules of a command are imported. (The
    emulator is meant to be stopped that way: once it listens, its code is 0.)
    """
    arguments = list(sys.argv[1:] if argv is None else argv)
    try:
        # Each command is imported only when it is run.
        if arguments[:1] == ["demo"]:
            with held_interrupts():
                from .demo import main as demo
            return demo(arguments[1:])
        if arguments[:1] == ["emulator"]:
            with held_interrupts():
                from ..emulator.__main__ import main as emulator
            return emulator(arguments[1:], program=f"{program_name()} emulator")
    except KeyboardInterrupt:
        print("\nstopped", file=sys.stderr)
        return INTERRUPTED
    is_help = arguments[:1] in (["-h"], ["--help"])
    print(_USAGE.format(program=program_name()), file=sys.stdout if is_help else sys.stderr)
    return 0 if is_help else 2
