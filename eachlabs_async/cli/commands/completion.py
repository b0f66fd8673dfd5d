"""`eachlabs completion`: the completion script of a shell."""

from __future__ import annotations

import sys
from typing import Annotated, Literal

from cyclopts import Parameter

from .options import Injected


def completion(
    shell: Annotated[Literal["bash", "zsh", "fish"], Parameter(help="bash, zsh or fish.", show_choices=False)],
    /,
    *,
    context: Injected,
) -> None:
    """Print the completion script of a shell, for `source <(eachlabs completion bash)`, or a file of its own."""
    from ..app import new_app

    sys.stdout.write(new_app().generate_completion(prog_name="eachlabs", shell=shell))
