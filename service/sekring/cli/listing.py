"""All instances in some states, page by page."""

from collections.abc import Sequence

import msgspec
from msgspec import Raw, Struct

from sekring.cli.api import PAGE_MAX, Api
from sekring.model import Snapshot, State

__all__ = ["Listing", "collect"]


class _RawPage(Struct):
    instances: list[Raw]


class _Joined(Struct):
    instances: list[Raw]
    cursor: str | None


class Listing(Struct, frozen=True):
    """The instances that were asked for."""

    snapshots: list[Snapshot]
    #: The pages joined into one, each instance as the service sent it.
    body: bytes
    #: Whether there are more than the limit let through.
    more: bool


def collect(
    api: Api,
    states: Sequence[State],
    *,
    prefix: str | None,
    limit: int | None,
    cursor: str | None,
) -> Listing:
    """Ask for page after page, state after state, until there is no more or `limit` is reached."""
    snapshots: list[Snapshot] = []
    raws: list[Raw] = []
    left = list(states)
    while left:
        wanted = PAGE_MAX if limit is None else min(PAGE_MAX, limit - len(snapshots))
        if wanted == 0:
            break
        answer = api.instances(left[0], prefix=prefix, cursor=cursor, limit=wanted)
        snapshots += answer.value.instances
        raws += msgspec.json.decode(answer.body, type=_RawPage).instances
        cursor = answer.value.cursor
        if cursor is None:
            left.pop(0)
    more = bool(cursor) or any(
        api.instances(state, prefix=prefix, cursor=None, limit=1).value.instances for state in left
    )
    body = msgspec.json.encode(_Joined(raws, cursor))
    return Listing(snapshots, body, more)
