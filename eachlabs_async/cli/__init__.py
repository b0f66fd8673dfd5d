"""The command line `eachlabs`, which is also `python -m eachlabs_async`.

It needs the extra `eachlabs-async[cli]`, except for `demo`, `emulator`, `--help` and `--version`.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

from .held_interrupts import held_interrupts
from .program import program_name

__all__ = ["main"]

INTERRUPTED = 130
BROKEN_PIPE = 141
_EXTRA = ("cyclopts", "rich", "platformdirs", "keyring")


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command that `argv` names (default: the arguments of the process) and return its exit code.

    `eachlabs --help` lists the exit codes. Without the extra, the code is 2 for a command that needs it.
    """
    arguments = list(sys.argv[1:] if argv is None else argv)
    try:
        code = _run(arguments)
        sys.stdout.flush()  # so that a broken pipe shows here
        return code
    except KeyboardInterrupt:  # even while modules are imported
        print("\nstopped", file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:  # The reader of the output, such as `head`, has seen enough.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return BROKEN_PIPE


def _run(arguments: list[str]) -> int:
    # Each command is imported only when it is run.
    if arguments[:1] == ["demo"]:
        with held_interrupts():
            from .demo import main as demo
        return demo(arguments[1:])
    if arguments[:1] == ["emulator"]:
        with held_interrupts():
            from ..emulator.__main__ import main as emulator
        return emulator(arguments[1:], program=f"{program_name()} emulator")
    if arguments in (["--version"], ["-V"]):
        from .._version import __version__

        print(f"eachlabs-async {__version__}")
        return 0
    if not arguments or arguments in (["--help"], ["-h"], ["help"]):
        from .usage import usage

        print(usage(program_name()))
        return 0
    try:
        with held_interrupts():
            from .app import run
    except ImportError as error:
        if (error.name or "").split(".")[0] not in _EXTRA:
            raise
        print(
            f'eachlabs: this command needs {error.name}: pip install "eachlabs-async[cli]" '
            "(demo and emulator need nothing more)",
            file=sys.stderr,
        )
        return 2
    return run(arguments)
