"""What the feed says beside transitions."""

from msgspec import Struct

__all__ = ["AliveNotice"]


class AliveNotice(Struct, frozen=True, kw_only=True):
    """The reader of the feed knows everything up to a moment."""

    #: Names what Redis holds. Where it changes, everything that was known is of something else.
    keyspace: str
    #: When the stream began, when this was sent, and up to when everything that happened was sent
    #: before it, by the replica's own clock: only the differences tell something.
    since_ms: int
    sent_ms: int
    proven_ms: int
    #: The latter by Redis' clock, in ms since 1970.
    redis_ms: int
