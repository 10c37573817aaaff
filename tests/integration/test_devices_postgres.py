"""Devices in PostgreSQL: one database, several gateways, and the real library's tables in it."""

import asyncio
import json
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import asyncpg  # type: ignore[import-untyped]
import pytest
import structlog

from sekring.errors import DevicesUnavailable, StartError
from sekring.gateway.devices import postgres as postgres_module
from sekring.gateway.devices import prepare as preparing
from sekring.gateway.devices.identity import check_shared
from sekring.gateway.devices.postgres import PostgresStore
from tests.postgres import PostgresServer
from tests.servers import free_port
from tests.whatsmeow import device_row, needs_neonize, run_client, start_client

pytestmark = needs_neonize

DEVICE = "6281234567890:7@s.whatsapp.net"
OTHER = "6281234567890:8@s.whatsapp.net"


@pytest.fixture
async def store(database: str) -> AsyncIterator[PostgresStore]:
    """The store of one gateway, open."""
    store = PostgresStore(database)
    await store.open()
    yield store
    await store.close()


async def library_stores(url: str, *devices: str) -> None:
    connection = await asyncpg.connect(url)
    await connection.execute("DELETE FROM whatsmeow_device")
    for row in map(device_row, devices):
        marks = ", ".join(f"${number}" for number in range(1, len(row) + 1))
        await connection.execute(
            f"INSERT INTO whatsmeow_device ({', '.join(row)}) VALUES ({marks})",  # noqa: S608
            *row.values(),
        )
    await connection.close()


async def why_it_does_not_start(url: str) -> str:
    store = PostgresStore(url)
    with pytest.raises(StartError) as caught:
        await store.open()
    assert caught.value.__cause__ is None, "a cause would be logged, and may show the password"
    return str(caught.value)


# ---------------------------------------------------------------------- with the real library


async def test_a_device_survives_the_move_to_another_gateway(
    store: PostgresStore, database: str
) -> None:
    await library_stores(database, DEVICE)
    await store.bind("a", DEVICE)

    other = PostgresStore(database)
    await other.open()
    device = await other.device_of("a")

    assert device == DEVICE
    code, said = run_client(other.location("a"), device)
    assert code == 0
    assert "connection refused" in said, "it did not get as far as the dial"
    check_shared(other.identity, {"one": str(store.identity)})
    await other.close()


async def test_a_device_that_the_library_does_not_have_is_never_named(
    store: PostgresStore,
) -> None:
    """The library ends its process on it, which this shows as well."""
    await store.bind("a", DEVICE)

    assert await store.device_of("a") is None
    code, said = run_client(store.location("a"), DEVICE)
    assert (code, said) == (-signal.SIGABRT, "")


async def test_gateways_that_start_at_once_on_an_empty_database_all_start(database: str) -> None:
    program = """
import asyncio, json, sys
from sekring.gateway.devices.postgres import PostgresStore

async def main():
    store = PostgresStore(sys.stdin.readline().strip())
    print("ready", flush=True)
    sys.stdin.readline()
    await store.open()
    await store.close()
    print(json.dumps(str(store.identity)), flush=True)

asyncio.run(main())
"""
    command = [sys.executable, "-c", program]
    gateways = [
        await asyncio.create_subprocess_exec(
            *command, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
        )
        for _ in range(4)
    ]
    for gateway in gateways:
        assert gateway.stdin
        assert gateway.stdout
        gateway.stdin.write(f"{database}\n".encode())
        assert await gateway.stdout.readline() == b"ready\n"

    said = await asyncio.gather(*(gateway.communicate(b"\n") for gateway in gateways))

    assert [gateway.returncode for gateway in gateways] == [0] * 4
    assert len({json.loads(words) for words, _ in said}) == 1


async def test_workers_that_start_at_once_after_that_do_not_disturb_each_other(
    store: PostgresStore, database: str, postgres: PostgresServer
) -> None:
    """And each keeps one connection to the database until its process ends."""
    devices = [f"628123456789{number}:1@s.whatsapp.net" for number in range(4)]
    await library_stores(database, *devices)
    name = database.partition("?")[0].rpartition("/")[2]
    count = f"SELECT count(*) FROM pg_stat_activity WHERE datname = '{name}'"  # noqa: S608
    before = int(postgres.sql(count))

    workers = [start_client(store.location("a"), device, wait=True) for device in devices]
    said = [worker.stdout.readline() if worker.stdout else "" for worker in workers]
    during = int(postgres.sql(count))
    for worker in workers:
        worker.communicate("\n", timeout=60)

    assert all("connection refused" in words for words in said)
    assert [worker.returncode for worker in workers] == [0] * 4
    assert during - before == 4


# ------------------------------------------------------------------------- which device is whose


async def test_a_device_is_kept_until_it_is_unlinked(store: PostgresStore, database: str) -> None:
    await library_stores(database, DEVICE, OTHER)
    assert await store.device_of("a") is None
    await store.bind("a", DEVICE)
    await store.bind("a", OTHER)
    assert await store.device_of("a") == OTHER

    await store.forget("a")
    await store.forget("never-seen")

    assert await store.device_of("a") is None


async def test_a_device_is_never_that_of_two_instances(store: PostgresStore, database: str) -> None:
    await library_stores(database, DEVICE)
    await store.bind("a", DEVICE)
    await store.bind("b", DEVICE)

    assert [await store.device_of(name) for name in "ab"] == [None, DEVICE]


async def test_starting_again_keeps_everything(store: PostgresStore, database: str) -> None:
    await library_stores(database, DEVICE)
    await store.bind("a", DEVICE)
    await store.close()

    again = PostgresStore(database)
    await again.open()

    assert await again.device_of("a") == DEVICE
    assert again.identity == store.identity
    await again.close()


async def test_two_databases_are_two_stores(store: PostgresStore, postgres: PostgresServer) -> None:
    other = PostgresStore(postgres.new_database())
    await other.open()

    with pytest.raises(StartError, match="another PostgreSQL database"):
        check_shared(store.identity, {"other": str(other.identity)})
    await other.close()


# -------------------------------------------------------------------------------- what goes wrong


@pytest.mark.usefixtures("needs_postgres")
async def test_a_database_that_is_away_is_not_taken_for_one_without_the_device() -> None:
    with PostgresServer() as server:
        url = server.new_database()
        store = PostgresStore(url)
        await store.open()
        await library_stores(url, DEVICE)
        await store.bind("a", DEVICE)

        server.stop()
        for work in (store.device_of("a"), store.bind("a", OTHER), store.forget("a")):
            with pytest.raises(DevicesUnavailable, match="cannot be used now") as caught:
                await work
            assert server.password not in str(caught.value)

        server.resume()
        assert await store.device_of("a") == DEVICE
        await store.close()


async def test_a_connection_that_the_server_cut_is_replaced(
    store: PostgresStore, database: str, postgres: PostgresServer
) -> None:
    await library_stores(database, DEVICE)
    await store.bind("a", DEVICE)
    name = database.partition("?")[0].rpartition("/")[2]

    # This blocks the event loop: the store learns of it by its next statement.
    cut = postgres.sql(
        f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}'"  # noqa: S608
    )

    assert cut == "t"
    assert await store.device_of("a") == DEVICE


async def test_a_wrong_address_or_account_is_said_with_what_to_do(
    postgres: PostgresServer,
) -> None:
    good, wrong = postgres.url(), "w0rd/wrong"
    cases = {
        postgres.url(user="nobody", password=wrong): "Check user and password",
        postgres.url(password=wrong): "Check user and password",
        postgres.url("not_there"): "Create the database",
        good.replace(f":{postgres.port}/", f":{free_port()}/"): "cannot be reached",
        good.replace("127.0.0.1", "nowhere.invalid"): "cannot be reached",
        good.replace("sslmode=disable", "sslmode=require"): "sslmode=disable into the URL",
        good.replace("?sslmode=disable", ""): "sslmode=disable into the URL",
        f"{good}&no_such_option=1": "Take the option out",
    }

    for url, words in cases.items():
        said = await why_it_does_not_start(url)
        assert words in said
        assert postgres.password not in said
        assert wrong not in said
        assert "127.0.0.1" in said or "nowhere.invalid" in said


async def test_a_user_that_may_not_make_tables_is_said_to_need_that(
    postgres: PostgresServer, database: str
) -> None:
    postgres.sql("DROP ROLE IF EXISTS guest")
    postgres.sql("CREATE ROLE guest LOGIN PASSWORD 'guest-word'")
    name = database.partition("?")[0].rpartition("/")[2]

    said = await why_it_does_not_start(postgres.url(name, user="guest", password="guest-word"))

    assert "permission denied" in said
    assert "GRANT CREATE, USAGE ON SCHEMA public" in said
    assert "guest-word" not in said


async def test_a_server_that_only_reads_is_said_to_be_one(
    postgres: PostgresServer, database: str
) -> None:
    name = database.partition("?")[0].rpartition("/")[2]
    postgres.sql(f"ALTER DATABASE {name} SET default_transaction_read_only = on")

    assert "name the primary" in await why_it_does_not_start(database)


async def test_a_library_that_hangs_does_not_hold_up_the_gateway_for_ever(
    store: PostgresStore, database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    holder = await asyncpg.connect(database)
    with monkeypatch.context() as patch:
        patch.setattr(preparing, "_DEADLINE_S", 2)
        async with holder.transaction():
            await holder.execute("LOCK TABLE whatsmeow_version")
            said = await why_it_does_not_start(database)
    await holder.close()

    assert "did not come to an end within 2 s" in said
    again = PostgresStore(database)
    await again.open()
    assert again.identity == store.identity
    await again.close()


async def test_a_gateway_that_prepares_for_too_long_is_not_waited_for(
    store: PostgresStore, database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    await store.close()
    monkeypatch.setattr(postgres_module, "_LOCK_WAIT_S", 0.5)
    holder = await asyncpg.connect(database)
    async with holder.transaction():
        await holder.execute("SELECT pg_advisory_xact_lock($1)", postgres_module._LOCK)
        said = await why_it_does_not_start(database)
    await holder.close()

    assert "Other gateways have been preparing" in said


async def test_a_library_that_is_missing_or_dies_is_said_to(
    database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    library = tmp_path / "neonize" / "__init__.py"
    library.parent.mkdir()
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))

    library.write_text("raise ImportError")
    assert "pip install 'sekring[gateway]'" in await why_it_does_not_start(database)

    library.write_text("import os\nos.abort()")
    assert "ended without a word" in await why_it_does_not_start(database)


async def test_a_newer_librarys_database_is_said_to_be_one(
    store: PostgresStore, database: str
) -> None:
    await store.close()
    connection = await asyncpg.connect(database)
    await connection.execute("UPDATE whatsmeow_version SET version = 9999, compat = 9999")
    await connection.close()

    assert "A newer neonize has used this database" in await why_it_does_not_start(database)


async def test_too_few_connections_for_all_sessions_are_warned_of(database: str) -> None:
    store = PostgresStore(database, sessions=1_000)

    with structlog.testing.capture_logs() as logs:
        await store.open()
    await store.close()

    assert [(log["log_level"], log["sessions"]) for log in logs] == [("warning", 1_000)]
    assert "max_connections" in logs[0]["event"]
    assert "word" not in json.dumps(logs)


@pytest.mark.usefixtures("needs_postgres")
async def test_tls() -> None:
    with PostgresServer() as server:
        authority = server.use_tls()
        url = server.new_database().replace("sslmode=disable", "sslmode=")

        for mode in ("require", f"verify-full&sslrootcert={authority}"):
            store = PostgresStore(url.replace("sslmode=", f"sslmode={mode}"))
            await store.open()
            await store.close()

        wrong = Path(authority).with_name("another.pem")
        server.certificate(wrong)
        said = await why_it_does_not_start(
            url.replace("sslmode=", f"sslmode=verify-full&sslrootcert={wrong}")
        )
        assert "TLS failed" in said
        assert "sslrootcert" in said
