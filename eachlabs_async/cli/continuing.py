"""The command line that goes on where a command stopped, as a pure function of the one that was given."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from typing import Final

PROGRAM: Final = "eachlabs"


def continued(arguments: Sequence[str], replaced: Mapping[str, str | None]) -> str:
    """Return the command line with options replaced or added, quoted for a shell; None removes an option.

    Every option in `replaced` takes one value, in the next argument or after `=`.
    """
    kept: list[str] = []
    values = iter(arguments)
    for argument in values:
        if argument == "--":
            kept += [argument, *values]
            break
        name, separator, _ = argument.partition("=")
        if name not in replaced:
            kept.append(argument)
        elif not separator:
            next(values, None)
    added = [part for name, value in replaced.items() if value is not None for part in (name, value)]
    at = kept.index("--") if "--" in kept else len(kept)
    return shlex.join([PROGRAM, *kept[:at], *added, *kept[at:]])
