"""W3C Trace Context: the headers by which a trace goes from one process to the next.

https://www.w3.org/TR/trace-context/, sections 3.2 (`traceparent`) and 3.3 (`tracestate`).
"""

import re
from typing import Final

from msgspec import Struct

__all__ = ["Remote", "parse_traceparent", "write_traceparent"]

#: Version 00 ends with the flags, later ones may go on, and there is no ff.
_TRACEPARENT: Final = re.compile(
    r"(?!ff)([0-9a-f]{2})-(?!0{32})([0-9a-f]{32})-(?!0{16})([0-9a-f]{16})-([0-9a-f]{2})(-.*)?"
)

#: The flag by which the caller says that it has recorded its part.
_SAMPLED: Final = 0x01


class Remote(Struct, frozen=True, gc=False):
    """A span of another process."""

    trace_id: int
    span_id: int
    sampled: bool
    #: `tracestate`, as it came.
    state: str = ""


def parse_traceparent(header: str | None, state: str | None = None) -> Remote | None:
    """Return the span that the headers name, or `None` where they are absent or malformed."""
    match = _TRACEPARENT.fullmatch(header) if header else None
    if match is None:
        return None
    version, trace_id, span_id, flags, more = match.groups()
    if more and version == "00":
        return None
    sampled = bool(int(flags, 16) & _SAMPLED)
    return Remote(int(trace_id, 16), int(span_id, 16), sampled, state or "")


def write_traceparent(trace_id: int, span_id: int, *, sampled: bool) -> str:
    """Return the header that names a span of this process."""
    return f"00-{trace_id:032x}-{span_id:016x}-{'01' if sampled else '00'}"
