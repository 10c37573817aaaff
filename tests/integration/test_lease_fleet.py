"""Eight gateways at three replicas share 300 sessions, and those of one that dies or leaves."""

import asyncio
import time
from collections.abc import Callable, Sequence
from itertools import chain

import httpx

from tests.owners import Belief, Owners, check_beliefs
from tests.replicas import Replicas
from tests.servers import RedisServer

SESSIONS = 300
GATEWAYS = 8
TTL_MS = 4_000
LIMIT = 10


def owned(gateways: Sequence[Owners]) -> list[str]:
    return list(chain.from_iterable(gateway.held for gateway in gateways))


def earliest_end_s(gateways: Sequence[Owners]) -> float:
    return min(belief.until_s for gateway in gateways for belief in gateway.held.values())


async def until_shared(gateways: Sequence[Owners], tasks: Sequence["asyncio.Task[None]"]) -> None:
    """Wait until they own everything; fail as soon as one of them does."""

    def shared() -> bool:
        for task in tasks:
            if task.done() and not task.cancelled():
                task.result()
        return len(owned(gateways)) == SESSIONS

    await until(shared)


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(60):
        while not condition():  # noqa: ASYNC110 - what is waited for does not tell
            await asyncio.sleep(0.02)


async def test_sessions_are_shared_out_and_taken_over(redis_server: RedisServer) -> None:
    with Replicas([redis_server.url] * 3, lease_ttl_ms=TTL_MS) as replicas:
        urls = [replica.url for replica in replicas]
        async with httpx.AsyncClient(timeout=30) as http:
            await share_and_take_over(urls, http)


async def share_and_take_over(urls: Sequence[str], http: httpx.AsyncClient) -> None:
    for number in range(SESSIONS):
        answer = await http.post(f"{urls[0]}/v1/sessions", json={"instance_id": f"s{number}"})
        assert answer.status_code == 200, answer.text
    beliefs: dict[str, list[Belief]] = {}
    gateways = [Owners(f"gateway-{number}", urls, beliefs) for number in range(GATEWAYS)]
    # All are known before the first one claims.
    await asyncio.gather(*(gateway.renew(http) for gateway in gateways))
    tasks = [asyncio.create_task(gateway.run(http, LIMIT)) for gateway in gateways]
    try:
        await until_shared(gateways, tasks)
        assert sorted(map(len, beliefs.values())) == [1] * SESSIONS, "each is claimed exactly once"
        counts = sorted(len(gateway.held) for gateway in gateways)
        # A share is rounded up, so the last one may be left a little less.
        assert counts[-1] <= 38
        assert counts[0] >= SESSIONS - 7 * 38

        shared_s = time.monotonic()
        await until(lambda: earliest_end_s(gateways) > shared_s + TTL_MS / 1000)  # all renewed

        dead, *others = gateways
        tasks[0].cancel()
        lost = set(dead.held)
        await until_shared(others, tasks)
        assert {name for name, ones in beliefs.items() if ones[-1].taken_from} == lost
        assert all(beliefs[name][-1].taken_from == dead.name for name in lost)
        assert max(len(gateway.held) for gateway in others) <= 43

        leaving, *rest = others
        tasks[1].cancel()
        await asyncio.gather(tasks[1], return_exceptions=True)
        given = set(leaving.held)
        await leaving.leave(http)
        await until_shared(rest, tasks)
        assert {name for name in given if beliefs[name][-1].taken_from} == set()
        assert max(len(gateway.held) for gateway in rest) <= 50
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    check_beliefs(beliefs)
