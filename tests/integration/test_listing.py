"""Pages of instances: complete, each once, by state and prefix, in the order that was asked for."""

import asyncio
import random
from typing import Final

import pytest

from sekring.errors import InvalidInput
from sekring.listing import Listing
from sekring.model import State
from sekring.store.contract import DisableRequest, ReportRequest, TripRequest
from sekring.store.keys import Keyspace
from sekring.store.reads import Reads
from sekring.store.redis import RedisLink
from sekring.store.scripts import Scripts
from sekring.taxonomy import Effect, Kind
from tests.servers import RedisServer

#: Few partitions, so that each has enough for several pages.
KEYSPACE: Final = Keyspace(partitions=5)

PREFIXES: Final = ("", "62", "6281", "6281:", "A", "a", "Z")
OPEN_FIRST: Final = (
    State.OPEN, State.FORCED_OPEN, State.HALF_OPEN, State.DISABLED, State.CLOSED,
)  # fmt: skip


def drawn_names() -> list[str]:
    chance = random.Random(5)
    names = {
        chance.choice(["62", "6281", "6281:", "628", "A", "a", ""])
        + "".join(chance.choices("0129.:_@-Zz", k=chance.randint(1, 4)))
        for _ in range(200)
    }
    return sorted(names)


@pytest.fixture
async def fleet(link: RedisLink) -> tuple[Listing, dict[str, State]]:
    """Instances in every state but half-open, most of them closed."""
    scripts = Scripts(link, KEYSPACE)
    chance = random.Random(6)
    states = {
        name: chance.choice([State.OPEN, State.FORCED_OPEN, State.DISABLED, *[State.CLOSED] * 4])
        for name in drawn_names()
    }
    await asyncio.gather(*(enter(scripts, name, state) for name, state in states.items()))
    return Listing(scripts, Reads(link, KEYSPACE), KEYSPACE), states


async def enter(scripts: Scripts, name: str, state: State) -> None:
    if state is State.FORCED_OPEN:
        await scripts.trip(TripRequest(instance_id=name))
    elif state is State.DISABLED:
        await scripts.disable(DisableRequest(instance_id=name))
    else:
        await fail(scripts, name, Kind.CONFLICT if state is State.OPEN else Kind.DNS)


async def fail(scripts: Scripts, name: str, kind: Kind) -> None:
    effect = Effect.CONFLICT if kind is Kind.CONFLICT else Effect.COUNT
    await scripts.report(
        ReportRequest(instance_id=name, id="r", outcome="failure", effect=effect, kind=kind)
    )


async def listed(
    listing: Listing,
    limit: int,
    state: State | None = None,
    *,
    prefix: str = "",
    open_first: bool = False,
) -> list[str]:
    """Return all ids of all pages."""
    names: list[str] = []
    cursor = None
    while True:
        page = await listing.page(state, cursor, limit, prefix=prefix, open_first=open_first)
        assert len(page.instances) <= limit
        names += [snapshot.instance_id for snapshot in page.instances]
        assert len(names) <= 1_000, "it goes round in circles"
        cursor = page.cursor
        if cursor is None:
            return names


def in_order(names: list[str]) -> list[str]:
    return sorted(names, key=lambda name: (KEYSPACE.partition_of(name), name))


@pytest.mark.parametrize("limit", [3, 1_000])
async def test_every_filter_lists_what_it_says(
    fleet: tuple[Listing, dict[str, State]], limit: int
) -> None:
    listing, states = fleet
    for prefix in PREFIXES:
        for state in (None, *State):
            expected = [
                name
                for name, its in states.items()
                if name.startswith(prefix) and state in {None, its}
            ]
            assert await listed(listing, limit, state, prefix=prefix) == in_order(expected)
            assert await listing.count(state, prefix) == len(expected)


@pytest.mark.parametrize("limit", [3, 1_000])
@pytest.mark.parametrize("prefix", PREFIXES)
async def test_open_ones_come_first_and_nobody_twice(
    fleet: tuple[Listing, dict[str, State]], limit: int, prefix: str
) -> None:
    listing, states = fleet
    matching = [name for name in states if name.startswith(prefix)]
    expected = [
        name
        for state in OPEN_FIRST
        for name in in_order([name for name in matching if states[name] is state])
    ]

    assert await listed(listing, limit, prefix=prefix, open_first=True) == expected


async def test_a_cursor_of_another_prefix_leads_to_nobody_else(
    fleet: tuple[Listing, dict[str, State]],
) -> None:
    listing, _ = fleet
    page = await listing.page(None, "0:0", 1_000, prefix="62")

    assert page.instances
    assert all(snapshot.instance_id.startswith("62") for snapshot in page.instances)


async def test_what_time_alone_has_closed_is_not_listed_as_open(link: RedisLink) -> None:
    """Nobody has swept: the index still has it among the open ones."""
    scripts = Scripts(link, KEYSPACE)
    long_ago = 1_700_000_000_000
    await scripts.trip(TripRequest(instance_id="628", for_ms=1, now_ms=long_ago))
    listing = Listing(scripts, Reads(link, KEYSPACE), KEYSPACE)

    assert (await listing.page(State.FORCED_OPEN, None, 10)).instances == []


async def test_a_page_that_passes_over_too_many_is_short(
    link: RedisLink, redis_server: RedisServer
) -> None:
    """Where nearly all are open, looking for closed ones does not take for ever."""
    keyspace = Keyspace(partitions=1)
    scripts = Scripts(link, keyspace)
    await fail(scripts, "zz", Kind.DNS)
    with redis_server.client() as client:  # as the scripts would, and much sooner
        names = [f"{number:05}" for number in range(10_600)]
        for label in ("all", "open"):
            client.zadd(keyspace.index(0), {f"{label}:{name}": 0 for name in names})
    listing = Listing(scripts, Reads(link, keyspace), keyspace)

    first_page = await listing.page(State.CLOSED, None, 10)
    assert first_page.instances == []
    assert first_page.cursor is not None
    second_page = await listing.page(State.CLOSED, first_page.cursor, 10)
    assert [snapshot.instance_id for snapshot in second_page.instances] == ["zz"]
    assert second_page.cursor is None


@pytest.mark.parametrize("cursor", ["0:628", "no~0:628", "open~9:628", "open~0:", "~0:628"])
async def test_a_cursor_of_another_listing_is_refused(
    fleet: tuple[Listing, dict[str, State]], cursor: str
) -> None:
    with pytest.raises(InvalidInput, match="cursor is not one that a page gave"):
        await fleet[0].page(None, cursor, 10, open_first=True)
