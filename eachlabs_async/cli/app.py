"""The command line: global options, the commands, and what becomes of their errors."""

from __future__ import annotations

import logging
import os
import sys
import traceback
from collections.abc import Sequence
from contextlib import suppress
from inspect import iscoroutine
from typing import Annotated, Any, Final, cast

from cyclopts import App, CycloptsError, Parameter

from .._version import __version__
from ..transport.redaction import redact
from .commands import COMMANDS
from .context import Context, GlobalOptions
from .failures import BROKEN_PIPE, INTERRUPTED, OK, USAGE, UsageError, failure_of
from .interrupts import InterruptedByUserError, run_until_interrupted
from .log_lines import log_lines
from .profiles import KEY_NAMES
from .screen_text import screen_block, screen_text
from .usage import usage

_PACKAGE: Final = "eachlabs_async.cli.commands"
_STDIN: Final = "@-"
"""What stands for `-` while the arguments are parsed."""
_KEY_FLAGS: Final = ("--api-key", "--runs-api-key", "--key", "--token")


def new_app() -> App:
    """Return the commands; the module of each is imported when it is needed."""
    app = App(
        name="eachlabs",
        version=f"eachlabs-async {__version__}",
        help="Each Labs on the command line.",
        default_parameter=Parameter(negative=()),
        help_format="plaintext",
    )
    app.meta.help_format = "plaintext"
    for name, (target, _) in COMMANDS.items():
        app.command(f"{_PACKAGE}.{target}", name=name)
    return app


def run(arguments: Sequence[str]) -> int:
    """Run a command line and return its exit code."""
    _set_encoding()
    app = new_app()
    prepared: list[tuple[Any, Any, Context | None]] = []

    @app.meta.default
    def launch(  # pyright: ignore[reportUnusedFunction]  # cyclopts calls it
        *tokens: Annotated[str, Parameter(show=False, allow_leading_hyphen=True)],
        options: GlobalOptions = GlobalOptions(),  # noqa: B008  # frozen
    ) -> None:
        if tokens in ((), ("--help",), ("-h",)):
            print(usage())
            return
        command, bound, ignored = app.parse_args(tokens, print_error=False, exit_on_error=False)
        bound.arguments.update({name: _with_hyphen(value) for name, value in bound.arguments.items()})
        context = Context(options, arguments) if "context" in ignored else None
        prepared.append((command, bound, context))

    context: Context | None = None
    try:
        _refuse_keys(arguments)
        prepared_arguments = [_STDIN if argument == "-" else argument for argument in arguments]
        app.meta(prepared_arguments, result_action="return_value", print_error=False, exit_on_error=False)
        if not prepared:
            return OK
        command, bound, context = prepared[0]
        if context is None:
            command(*bound.args, **bound.kwargs)
            return OK
        code = _run_command(command, bound, context)
        sys.stdout.flush()
        return code
    except CycloptsError as error:
        return _wrong_usage(error, app, arguments)
    except InterruptedByUserError:
        return INTERRUPTED
    except BrokenPipeError:
        return BROKEN_PIPE
    except Exception as error:
        return _failed(error, context, debug="--debug" in arguments)


def _with_hyphen(value: Any) -> Any:
    """Return an argument with the `-` for standard input, which the parser would take for an option."""
    if isinstance(value, list):
        return [_with_hyphen(item) for item in cast("list[object]", value)]
    return "-" if isinstance(value, str) and value == _STDIN else value


def _run_command(command: Any, bound: Any, context: Context) -> int:
    options = context.options
    level = logging.INFO if options.debug else logging.ERROR if options.quiet else logging.WARNING
    with log_lines(level):
        result = command(*bound.args, **bound.kwargs, context=context)
        code = run_until_interrupted(result) if iscoroutine(result) else result
    return OK if code is None else int(code)


def _set_encoding() -> None:
    """Write UTF-8 to pipes and files, and escape on a terminal what that cannot show."""
    reconfigure = getattr(sys.stdout, "reconfigure", None)
    if reconfigure is not None:
        encoding = sys.stdout.encoding if sys.stdout.isatty() else "utf-8"
        reconfigure(encoding=encoding, errors="backslashreplace")


def _refuse_keys(arguments: Sequence[str]) -> None:
    if any(argument.partition("=")[0] in _KEY_FLAGS for argument in arguments):
        raise UsageError(
            "a key is never an option's value, which other users of this machine can see: "
            "set EACHLABS_API_KEY, or store it with `eachlabs config set-key`"
        )


def _wrong_usage(error: CycloptsError, app: App, arguments: Sequence[str]) -> int:
    command = "eachlabs"
    noun = next((word for word in arguments if word in COMMANDS), None)
    if noun is not None:
        verb = next((word for word in arguments[arguments.index(noun) + 1 :] if word in app[noun]), None)
        command += f" {noun}" if verb is None or verb.startswith("-") else f" {noun} {verb}"
    text = " ".join(str(error).split())
    _say(f"{text.removesuffix('.')}; see `{command} --help`", ())
    return USAGE


def _failed(error: Exception, context: Context | None, *, debug: bool) -> int:
    failure = failure_of(error)
    secrets = _secrets(context)
    if debug:
        text = "".join(traceback.format_exception(error))
        sys.stderr.write(screen_block(redact(text, secrets)))
    _say(failure.text, secrets)
    return failure.code


def _secrets(context: Context | None) -> list[str]:
    known = [os.environ.get(variable, "").strip() for variable in KEY_NAMES.values()]
    return sorted({key for key in (*known, *(context.secrets if context else ())) if key}, key=len, reverse=True)


def _say(text: str, secrets: Sequence[str]) -> None:
    with suppress(OSError):
        sys.stdout.flush()
    sys.stderr.write(f"eachlabs: {screen_text(redact(text, secrets))}\n")
