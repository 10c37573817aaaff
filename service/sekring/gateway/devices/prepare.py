"""Has the WhatsApp library make or renew its tables, in a process of its own that then ends.

The library does so whenever it opens a database, and fails if several do it at once in an empty
one. So the gateway has it done once before any worker starts: `prepare(URL)` starts this module
as a program, which reads the URL from its standard input, where no list of processes shows it.
"""

import asyncio
import contextlib
import sys
from typing import Final

__all__ = ["NOT_INSTALLED", "PrepareFailed", "prepare"]

#: The program's exit code if the library is not there.
NOT_INSTALLED: Final = 3

#: How long the library may take, in s.
_DEADLINE_S: Final = 60.0

#: How the library begins what it says instead of a list of devices.
_ERROR: Final = "error: "


class PrepareFailed(Exception):
    """The library could not prepare the database; `str()` is what it said, passwords included."""


async def prepare(url: str) -> None:
    """Have the library open the database once. Whoever calls this sees to it that nobody else does.

    Raises:
        PrepareFailed: it could not, or took too long.
    """
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", __name__),
        stdin=asyncio.subprocess.PIPE,
        # Go prints here, and dies of a pipe that nobody reads.
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        async with asyncio.timeout(_DEADLINE_S):
            _, said = await process.communicate(url.encode())
    except TimeoutError:
        raise PrepareFailed(f"it did not come to an end within {_DEADLINE_S:.0f} s") from None
    finally:
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()
    if process.returncode == NOT_INSTALLED:
        raise PrepareFailed("neonize is not installed (pip install 'sekring[gateway]')")
    if process.returncode != 0:
        raise PrepareFailed(_last_words(said.decode(errors="replace")))


def _last_words(said: str) -> str:
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    for line in lines:
        if line.startswith(_ERROR):
            return line.removeprefix(_ERROR)
    return lines[-1] if lines else "its process ended without a word"


def _main() -> int:
    url = sys.stdin.read()
    try:
        from neonize._binder import (  # type: ignore[import-untyped]  # noqa: PLC0415
            func_callback_bytes2,
            gocode,
        )
    except ImportError:
        return NOT_INSTALLED
    # The one call that opens a database and connects to nothing else. What it returns is taken
    # raw: the library's own reading of it breaks on commas in names.
    answer: bytes | None = gocode.GetAllDevices(url.encode(), func_callback_bytes2(_ignore))
    text = (answer or b"").decode(errors="replace")
    if not text.startswith(_ERROR):
        return 0
    sys.stderr.write(" ".join(text.splitlines()) + "\n")
    return 1


def _ignore(_address: int, _size: int) -> None:
    """Take a line of the library's log."""


if __name__ == "__main__":
    sys.exit(_main())
