"""Who sends the request."""

from typing import Literal

from msgspec import Struct

__all__ = ["CallerAnswer"]


class CallerAnswer(Struct, frozen=True, kw_only=True):
    """Whose token was sent, and what it may do; without tokens everybody may do everything."""

    name: str
    role: Literal["viewer", "gateway", "operator"]
    permissions: list[Literal["read", "report", "operate"]]
