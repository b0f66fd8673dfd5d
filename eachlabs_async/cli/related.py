"""Another command about the same service, for a message that says what to do next."""

from __future__ import annotations

from .context import Context
from .continuing import continued

__all__ = ["related_arguments", "related_command"]


def related_arguments(context: Context, *words: str) -> list[str]:
    """Return a command with the options of this one that say whom it asks: profile, edition and hosts."""
    options = context.options
    arguments = list(words)
    if options.profile is not None:
        arguments += ["--profile", options.profile]
    if options.edition is not None:
        arguments += ["--edition", options.edition]
    for url in options.base_url or []:
        arguments += ["--base-url", url]
    return arguments


def related_command(context: Context, *words: str) -> str:
    """Return such a command as a line for a shell."""
    return continued(related_arguments(context, *words), {})
