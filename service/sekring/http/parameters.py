"""Path and query parameters that several routes share."""

from typing import Annotated

from litestar.params import Parameter

from sekring.model import INSTANCE_ID_PATTERN

__all__ = ["Cursor", "Limit", "PathId"]

PathId = Annotated[
    str,
    Parameter(
        pattern=INSTANCE_ID_PATTERN,
        description="Name of a WhatsApp session: 1 to 128 of A-Z a-z 0-9 . _ : @ -",
    ),
]

Limit = Annotated[int, Parameter(query="limit", ge=1, le=1_000, description="Entries at most.")]

Cursor = Annotated[str | None, Parameter(max_length=160, description="Where the last page ended.")]
