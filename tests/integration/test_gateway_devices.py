"""A session's device is where the session goes; gateways that cannot share devices do not start."""

import asyncio
from pathlib import Path

import asyncpg  # type: ignore[import-untyped]
import httpx
import pytest

from sekring.gateway.devices.postgres import PostgresStore
from tests.gateways import GatewayProcess, sessions, wish
from tests.servers import RedisServer, free_port, wait_until
from tests.serving import ServiceProcess
from tests.whatsmeow import device_row, needs_neonize

pytestmark = needs_neonize

DEVICE = "6281234567890:7@s.whatsapp.net"

#: Long enough for a gateway to start within, short enough to wait for.
LEASE_MS = 4_000


@pytest.fixture
def proxy() -> str:
    """Where nobody listens: WhatsApp is never reached, wherever the tests run."""
    return f"http://127.0.0.1:{free_port()}"


async def pair_by_hand(database: str, instance_id: str) -> None:
    """Leave in the database what a pairing would have left."""
    store = PostgresStore(database)
    await store.open()
    connection = await asyncpg.connect(database)
    row = device_row(DEVICE)
    marks = ", ".join(f"${number}" for number in range(1, len(row) + 1))
    await connection.execute(
        f"INSERT INTO whatsmeow_device ({', '.join(row)}) VALUES ({marks})",  # noqa: S608
        *row.values(),
    )
    await connection.close()
    await store.bind(instance_id, DEVICE)
    await store.close()


def test_a_session_takes_its_device_along_to_another_gateway(
    redis_server: RedisServer, database: str, tmp_path: Path, proxy: str
) -> None:
    asyncio.run(pair_by_hand(database, "a"))
    settings = {"driver": "neonize", "device_store": database, "proxy": proxy}
    with ServiceProcess(redis_server.url, lease_ttl_ms=LEASE_MS) as service:
        # Quick retries: the next owner is to get as far as the dial soon.
        policy = {"backoff": {"base_ms": 100, "cap_ms": 500}, "failure_threshold": 1_000}
        httpx.put(f"{service.url}/v1/policy", json=policy).raise_for_status()
        first = GatewayProcess("first", service.url, tmp_path, **settings)
        second = GatewayProcess("second", service.url, tmp_path, **settings)

        def tries_as_its_device(gateway: GatewayProcess) -> bool:
            session = sessions(service.url)["a"]
            failed = gateway.said("session failed")
            assert all(one["kind"] != "worker_crash" for one in failed), failed
            owned = (session["gateway"], session["device"]) == (gateway.name, DEVICE)
            return owned and bool(failed)

        try:
            wish(service.url, ["a"])
            first.start()
            wait_until(lambda: tries_as_its_device(first), "a dial by the first", 60)
            second.start()
            first.kill()
            wait_until(lambda: tries_as_its_device(second), "a dial by the second", 60)
        finally:
            first.kill()
            second.stop()


def test_a_gateway_with_a_folder_of_its_own_does_not_start_beside_another(
    redis_server: RedisServer, tmp_path: Path
) -> None:
    with ServiceProcess(redis_server.url, lease_ttl_ms=LEASE_MS) as service:
        one = GatewayProcess("one", service.url, tmp_path, driver="neonize")
        other = GatewayProcess("other", service.url, tmp_path, driver="neonize")
        with one:
            other.start(wait=False)
            assert other.wait(60) == 2
            words = other.log_text()
            assert "The gateway one on this machine keeps its devices in another folder" in words
            assert "Name the same folder in SEKRING_DEVICE_STORE" in words
        # The other is no reason not to start again, and one that has ended is waited for.
        other.start()
        assert other.stop() == 0


def test_gateways_of_one_folder_start_beside_each_other(
    redis_server: RedisServer, tmp_path: Path
) -> None:
    store = {"driver": "neonize", "device_store": tmp_path / "devices"}
    with (
        ServiceProcess(redis_server.url, lease_ttl_ms=LEASE_MS) as service,
        GatewayProcess("one", service.url, tmp_path, **store),
        GatewayProcess("two", service.url, tmp_path, **store),
    ):
        found = httpx.get(f"{service.url}/v1/gateways").json()["gateways"]
        assert [one["gateway"] for one in found] == ["one", "two"]
        stores = {one["devices"] for one in found}
        assert len(stores) == 1
        assert None not in stores
