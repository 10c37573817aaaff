"""Path and query parameters that several routes share."""

from typing import Annotated, Literal

from litestar.params import Parameter

from sekring.model import INSTANCE_ID_PATTERN, PATTERN_END, PREFIX_PATTERN

__all__ = [
    "Cursor",
    "Limit",
    "Order",
    "PathErrandId",
    "PathGateway",
    "PathId",
    "Prefix",
    "QueryId",
]

PathId = Annotated[
    str,
    Parameter(
        pattern=INSTANCE_ID_PATTERN,
        description="Name of a WhatsApp session: 1 to 128 of A-Z a-z 0-9 . _ : @ -",
    ),
]

Limit = Annotated[int, Parameter(query="limit", ge=1, le=1_000, description="Entries at most.")]

#: In which order instances are listed.
Order = Literal["id", "open_first"]

Prefix = Annotated[
    str,
    Parameter(
        pattern=PREFIX_PATTERN,
        description="Only those whose id begins with this; upper and lower case differ.",
    ),
]

Cursor = Annotated[str | None, Parameter(max_length=160, description="Where the last page ended.")]

QueryId = Annotated[
    str,
    Parameter(
        query="instance_id",
        pattern=INSTANCE_ID_PATTERN,
        description="Name of a WhatsApp session: 1 to 128 of A-Z a-z 0-9 . _ : @ -",
    ),
]

PathGateway = Annotated[
    str,
    Parameter(
        pattern=rf"^[\x21-\x7e]{{1,128}}{PATTERN_END}",
        description="Name of the gateway replica: printable ASCII without spaces.",
    ),
]

PathErrandId = Annotated[
    str, Parameter(pattern=rf"^[0-9a-f]{{24}}{PATTERN_END}", description="The errand's own id.")
]
