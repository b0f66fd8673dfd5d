"""What the tests of the command line share: an emulator in a thread, commands as processes, and a screen."""

from __future__ import annotations

import asyncio
import os
import shlex
import signal
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

import pyte
from attrs import define, frozen

from eachlabs_async.emulator import Emulator

ROOT = Path(__file__).parents[2]
PROGRAM = [sys.executable, "-m", "eachlabs_async"]
PATIENCE_S = 60.0


def environment(**changed: str) -> dict[str, str]:
    """Return the environment of a command: this one's, without what would change the command."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("EACHLABS_", "NOXUS_")) and name not in ("NO_COLOR", "COLUMNS", "FORCE_COLOR")
    }
    return {**kept, "PYTHONPATH": str(ROOT), "TERM": "xterm-256color", **changed}


def run(*arguments: str, stdin: str | None = None, **changed: str) -> subprocess.CompletedProcess[str]:
    """Run a command as a process in pipes."""
    return subprocess.run(
        [*PROGRAM, *arguments],
        input=stdin,
        stdin=subprocess.DEVNULL if stdin is None else None,
        capture_output=True,
        text=True,
        env=environment(**changed),
        timeout=PATIENCE_S,
        check=False,
    )


class EmulatorThread:
    """An emulator in a thread of its own, for commands that run their own event loop in this process."""

    def __init__(self, emulator: Emulator) -> None:
        self.emulator = emulator
        self._loop = asyncio.new_event_loop()
        self._stop = asyncio.Event()
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        assert self._ready.wait(PATIENCE_S)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(PATIENCE_S)

    def _run(self) -> None:
        with asyncio.Runner(loop_factory=lambda: self._loop) as runner:
            runner.run(self._serve())

    async def _serve(self) -> None:
        async with self.emulator:
            self._ready.set()
            await self._stop.wait()

    def flags(self, edition: str = "compat") -> list[str]:
        """Return the options with which a command asks this emulator."""
        hosts = self.emulator.hosts if edition == "compat" else self.emulator.unified_hosts
        urls = [f"--base-url={name}={hosts.service(name).base_url}" for name in ("api", "workflows", "flows", "runs")]
        return [f"--edition={edition}", *urls]

    def keys(self) -> dict[str, str]:
        """Return the environment with its keys."""
        return {"EACHLABS_API_KEY": self.emulator.api_key, "NOXUS_API_KEY": self.emulator.runs_api_key}


@frozen
class Shown:
    """What a terminal showed: each line that was printed and the bytes that were written, and the exit code."""

    lines: list[str]
    raw: bytes
    code: int
    wrapped: int

    @property
    def text(self) -> str:
        """The lines as one text."""
        return "\n".join(self.lines)


@define
class Terminal:
    """A pseudo-terminal of some columns, in which a command runs."""

    columns: int
    lines: int = 50

    def run(self, *arguments: str, interrupt_at: bytes | None = None, **changed: str) -> Shown:
        """Run a command to its end. When it has written `interrupt_at`, Ctrl-C is typed."""
        return self._run([*PROGRAM, *arguments], environment(**changed), interrupt_at)

    def run_shell(self, command: str, folder: Path, env: dict[str, str]) -> Shown:
        """Run a command of a shell in a folder, in which `eachlabs` is the program."""
        program = f'cd {shlex.quote(str(folder))}; eachlabs() {{ {shlex.join(PROGRAM)} "$@"; }}; {command}'
        return self._run(["bash", "-c", program], env, None)

    def _run(self, command: list[str], env: dict[str, str], interrupt_at: bytes | None) -> Shown:
        import fcntl
        import pty
        import termios

        own, others = pty.openpty()
        fcntl.ioctl(others, termios.TIOCSWINSZ, struct.pack("HHHH", self.lines, self.columns, 0, 0))

        def be_in_front() -> None:
            os.setsid()
            fcntl.ioctl(0, termios.TIOCSCTTY, 0)

        process = subprocess.Popen(
            command,
            stdin=others,
            stdout=others,
            stderr=others,
            env=env,
            preexec_fn=be_in_front,
        )
        os.close(others)
        late = threading.Timer(PATIENCE_S, process.kill)
        late.start()
        raw, typed = b"", interrupt_at is None
        for data in _read(own):
            raw += data
            if not typed and interrupt_at is not None and interrupt_at in raw:
                os.write(own, b"\x03")
                typed = True
        code = process.wait(PATIENCE_S)
        late.cancel()
        os.close(own)
        return Shown(self._lines_of(raw), raw, code, self._wrapped(raw))

    def _lines_of(self, raw: bytes) -> list[str]:
        screen = pyte.HistoryScreen(self.columns, self.lines, history=100_000)
        pyte.ByteStream(screen).feed(raw)
        above = ["".join(row[at].data for at in range(self.columns)).rstrip() for row in screen.history.top]
        found = above + [line.rstrip() for line in screen.display]
        while found and not found[-1]:
            found.pop()
        return found

    def _wrapped(self, raw: bytes) -> int:
        """Return how many lines were longer than the screen: those that a wider one shows as fewer."""
        wide = pyte.HistoryScreen(self.columns * 20, self.lines, history=100_000)
        pyte.ByteStream(wide).feed(raw)
        above = ["".join(row[at].data for at in range(self.columns * 20)).rstrip() for row in wide.history.top]
        return sum(len(line) > self.columns for line in above + [line.rstrip() for line in wide.display])


def _read(descriptor: int) -> Iterator[bytes]:
    while True:
        try:
            data = os.read(descriptor, 65536)
        except OSError:  # Linux says so when the other end is closed.
            return
        if not data:
            return
        yield data


class Process:
    """A command as a process that can be interrupted."""

    def __init__(self, *arguments: str, **changed: str) -> None:
        self.process = subprocess.Popen(
            [*PROGRAM, *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=environment(**changed),
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait(PATIENCE_S)
        for stream in (self.process.stdout, self.process.stderr):
            if stream is not None:
                stream.close()

    def read_lines(self, count: int) -> list[str]:
        """Wait for lines of the output."""
        assert self.process.stdout is not None
        return [self.process.stdout.readline() for _ in range(count)]

    def interrupt(self) -> None:
        """Send what Ctrl-C sends."""
        self.process.send_signal(signal.SIGINT)

    def end(self) -> tuple[str, str, int]:
        """Wait for the end, and return the rest of the output, standard error and the exit code."""
        # Not `communicate`: it would lose what `read_lines` has in its buffer.
        late = threading.Timer(PATIENCE_S, self.process.kill)
        late.start()
        assert self.process.stdout is not None
        assert self.process.stderr is not None
        out, err = self.process.stdout.read(), self.process.stderr.read()
        late.cancel()
        return out, err, self.process.wait(PATIENCE_S)


def wait_until(condition: object, what: str) -> None:
    """Wait until a function returns something true."""
    assert callable(condition)
    until = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < until, what
        time.sleep(0.01)


def command_after(text: str, mark: str = "go on with: ") -> Sequence[str]:
    """Return the arguments of the command line that a message says to go on with."""
    line = next(line for line in text.splitlines() if line.startswith(mark))
    program, *arguments = shlex.split(line.removeprefix(mark))
    assert program == "eachlabs"
    return arguments
