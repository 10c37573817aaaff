"""What a worker printed last: the only trace of why it died."""

import re
from collections import deque
from typing import Final

__all__ = ["LastWords"]

#: How many lines are kept, and how much of each, in characters.
_LINES: Final = 12
_LINE: Final = 300

#: Longest text that is made of them, in characters.
_TEXT: Final = 1_000

#: What begins the cause of a death; long stacks follow it, which would push it out.
_CAUSE = re.compile(r"panic: |fatal error: |Fatal Python error: |runtime: out of memory")

#: QR codes, drawn or as text, and other long runs of Base64 (keys).
_DRAWN = re.compile(r"[\u2580-\u259f]{4}")
_CODE = re.compile(r"\d@[A-Za-z0-9+/=,_-]{16,}|[A-Za-z0-9+/=_-]{40,}")

#: User and password in a URL: of a proxy, of the device store.
_LOGIN = re.compile(r"://[^/\s]+@")


class LastWords:
    """Takes output in pieces, as a pipe gives it, and keeps the end of it, without secrets."""

    def __init__(self) -> None:
        """Begin with silence."""
        self._lines: deque[str] = deque(maxlen=_LINES)
        self._cause: str | None = None
        self._open = b""
        #: The current line is longer than is kept of it.
        self._skipping = False

    def feed(self, data: bytes) -> None:
        """Take more output."""
        *whole, rest = (self._open + data).split(b"\n")
        for line in whole:
            if not self._skipping:
                self._keep(line)
            self._skipping = False
        if len(rest) > 16 * _LINE:
            if not self._skipping:
                self._keep(rest)
            self._skipping, rest = True, b""
        self._open = rest

    def text(self) -> str:
        """Return them in one line, the cause of the death first if one was printed."""
        if self._open and not self._skipping:
            self._keep(self._open)
            self._open = b""
        lines = list(self._lines)
        if self._cause and self._cause not in lines:
            lines.insert(0, self._cause)
        elif self._cause:
            del lines[: lines.index(self._cause)]
            return " | ".join(lines)[:_TEXT]
        text = " | ".join(lines)
        if self._cause:
            return text[:_TEXT]
        return text[-_TEXT:]

    def _keep(self, line: bytes) -> None:
        # Redacted as a whole, cut afterwards: half a code is a code.
        text = line.decode(errors="replace").strip()
        if not text or _DRAWN.search(text):
            return
        text = _CODE.sub("***", _LOGIN.sub("://***@", text))
        text = "".join(sign if sign.isprintable() else " " for sign in text)[:_LINE]
        self._lines.append(text)
        if self._cause is None and _CAUSE.match(text):
            self._cause = text
