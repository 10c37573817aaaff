"""An error."""

from msgspec import Struct

__all__ = ["Problem"]


class Problem(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """An error as RFC 9457 (problem details) has it."""

    #: A word that a program can compare.
    type: str
    title: str
    status: int
    #: One sentence: what was wrong, what was expected, how to go on.
    detail: str
    #: Path of the offending field, where one is.
    field: str | None = None
    #: Which rule refused, where one did.
    cause: str | None = None
