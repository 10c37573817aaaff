"""The command `sekring` as its users run it: in a pipe, on a terminal, and, for quickness, here."""

import contextlib
import fcntl
import os
import pty
import select
import signal
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any, NamedTuple, Self

import msgspec
import pytest

from sekring.cli.main import main

__all__ = ["Ended", "Here", "Terminal", "in_pipe", "on_terminal", "start"]

#: The command as `pip install` puts it beside the interpreter.
COMMAND = Path(sys.executable).parent / "sekring"

#: What the command gets of this process's environment.
_INHERITED = ("PATH", "HOME", "TMPDIR")

#: How long a command may take at most, in seconds: a hung one fails its test.
_PATIENCE_S = 60


class Ended(NamedTuple):
    """How a command ended, and what it said."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """The one JSON document on stdout."""
        return msgspec.json.decode(self.out)

    @property
    def lines(self) -> list[str]:
        """The lines on stdout, each as its words: how wide the columns are is not the point."""
        return [" ".join(line.split()) for line in self.out.splitlines()]


class Here:
    """Runs `main([...])` in this process, as if it had only the environment that is given."""

    def __init__(
        self,
        url: str,
        patch: pytest.MonkeyPatch,
        capture: pytest.CaptureFixture[str],
        token: str | None = None,
    ) -> None:
        """Talk to the service at `url`."""
        self._url, self._token = url, token
        self._patch, self._capture = patch, capture

    def __call__(self, *words: str, **environ: str) -> Ended:
        """Run a command line."""
        variables = _environment(self._url, self._token, environ)
        with self._patch.context() as patch:
            for name in [name for name in os.environ if name.startswith("SEKRING_")]:
                patch.delenv(name)
            for name, value in variables.items():
                patch.setenv(name, value)
            self._capture.readouterr()
            code = main(list(words))
        return Ended(code, *self._capture.readouterr())


class Terminal:
    """The command on a terminal of its own, under way: what it has written, and the keyboard.

    `with Terminal(url, "watch", columns=60) as terminal: terminal.sees("live")`.
    """

    def __init__(
        self, url: str, *words: str, columns: int = 80, lines: int = 24, **environ: str
    ) -> None:
        """Start the command. It is not its controlling terminal: Ctrl-C is but a key there."""
        self._ours, its = pty.openpty()
        fcntl.ioctl(its, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))
        #: How the terminal was set before: what a command has to leave behind.
        self.before = termios.tcgetattr(self._ours)
        self.process = subprocess.Popen(
            [COMMAND, *words],
            env=_environment(url, None, {"TERM": "xterm-256color", **environ}),
            stdin=its,
            stdout=its,
            stderr=its,
            start_new_session=True,
        )
        # Open until the end: its settings are read when the command has ended.
        self._its = its
        self.written = ""

    @property
    def now(self) -> list[Any]:
        """How the terminal is set now."""
        return termios.tcgetattr(self._ours)

    def sees(self, text: str) -> None:
        """Wait until the command has written `text`."""
        self._read(lambda: text in self.written, f"{text!r}")

    def type(self, text: str) -> None:
        """Type."""
        os.write(self._ours, text.encode())

    def ended(self) -> int:
        """Wait until the command has ended; return its exit code."""
        self._read(lambda: self.process.poll() is not None, "the end")
        self._take()
        return self.process.wait()

    def hang_up(self) -> int:
        """Take the terminal away, as a closed window does; return the exit code."""
        os.close(self._its)
        os.close(self._ours)
        self._ours = self._its = -1
        self.process.send_signal(signal.SIGHUP)
        return self.process.wait(_PATIENCE_S)

    def __enter__(self) -> Self:
        """Use it."""
        return self

    def __exit__(self, *_: object) -> None:
        """End the command, if the test has not."""
        self.process.kill()
        self.process.wait()
        for end in {self._ours, self._its} - {-1}:
            os.close(end)

    def _read(self, holds: Callable[[], bool], what: str) -> None:
        until_s = time.monotonic() + _PATIENCE_S
        while not holds():
            assert time.monotonic() < until_s, f"{what} did not come:\n{self.written}"
            self._take(0.05)

    def _take(self, wait_s: float = 0) -> None:
        while select.select([self._ours], [], [], wait_s)[0]:
            self.written += os.read(self._ours, 65_536).decode(errors="replace")
            wait_s = 0


def start(
    url: str, *words: str, out: IO[str] | int = subprocess.PIPE, **environ: str
) -> subprocess.Popen[str]:
    """Start the command with pipes at all three ends, or with stdout going to `out`."""
    return subprocess.Popen(
        [COMMAND, *words],
        env=_environment(url, None, environ),
        stdin=subprocess.PIPE,
        stdout=out,
        stderr=subprocess.PIPE,
        text=True,
    )


def in_pipe(url: str, *words: str, **environ: str) -> Ended:
    """Run the command in pipes to its end."""
    with start(url, *words, out=subprocess.PIPE, **environ) as process:
        out, err = process.communicate("", timeout=_PATIENCE_S)
    return Ended(process.returncode, out, err)


def on_terminal(
    url: str, *words: str, typed: str = "", columns: int = 120, **environ: str
) -> Ended:
    """Run the command on a terminal of its own; `typed` is typed at its first question.

    A terminal does not tell stdout and stderr apart: all is in `out`.
    """
    ours, its = pty.openpty()
    fcntl.ioctl(its, termios.TIOCSWINSZ, struct.pack("HHHH", 40, columns, 0, 0))
    process = subprocess.Popen(
        [COMMAND, *words],
        env=_environment(url, None, {"TERM": "xterm-256color", **environ}),
        stdin=its,
        stdout=its,
        stderr=its,
    )
    os.close(its)
    shown = b""
    # Reading fails when the last process has closed its end.
    with contextlib.suppress(OSError):
        while some := os.read(ours, 65_536):
            shown += some
            if typed and b"[y/N]" in shown:
                os.write(ours, typed.encode())
                typed = ""
    os.close(ours)
    return Ended(process.wait(_PATIENCE_S), shown.decode().replace("\r\n", "\n"), "")


def _environment(url: str, token: str | None, more: dict[str, str]) -> dict[str, str]:
    # Times are shown in the machine's zone.
    variables = {name: os.environ[name] for name in _INHERITED if name in os.environ}
    variables |= {"LANG": "C.UTF-8", "TZ": "Asia/Jakarta", "SEKRING_URL": url}
    return variables | ({} if token is None else {"SEKRING_TOKEN": token}) | more
