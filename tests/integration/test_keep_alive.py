"""A connection stays open between two requests, longer than a load balancer keeps it."""

import asyncio

from tests.httpwire import Connection, raw_request
from tests.servers import RedisServer
from tests.serving import ServiceProcess

LIVE = raw_request("GET", "/live")


async def test_an_idle_connection_is_closed_after_the_set_time(redis_process: RedisServer) -> None:
    with ServiceProcess(redis_process.url, keep_alive_ms=200) as service:
        connection = await Connection.open(service.port)
        assert (await connection.ask(LIVE)).status == 200
        # Without the setting, granian would keep it for 30 s.
        async with asyncio.timeout(15):
            assert await connection.closed()
        connection.cut()


async def test_an_idle_connection_is_open_for_longer_than_a_load_balancer_uses_it(
    redis_process: RedisServer,
    *,
    full: bool,
) -> None:
    """Load balancers (nginx, AWS) keep an idle connection for 60 s; in CI just a moment."""
    with ServiceProcess(redis_process.url) as service:
        connection = await Connection.open(service.port)
        assert (await connection.ask(LIVE)).status == 200
        await asyncio.sleep(61 if full else 1)
        assert (await connection.ask(LIVE)).status == 200
        connection.cut()
