"""Devices in SQLite: a file per instance, with the real library's tables in it."""

import asyncio
import os
import signal
import sqlite3
import stat
import subprocess
import sys
import threading
import urllib.parse
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from sekring.errors import DevicesUnavailable, InvalidInput, StartError
from sekring.gateway.devices.names import file_name
from sekring.gateway.devices.prepare import prepare
from sekring.gateway.devices.sqlite import SqliteStore
from tests.whatsmeow import device_row, needs_neonize, run_client

DEVICE = "6281234567890:7@s.whatsapp.net"
OTHER = "6281234567890:8@s.whatsapp.net"

#: As much of the library's schema as the store reads, where the library itself does not matter.
TABLE = "CREATE TABLE IF NOT EXISTS whatsmeow_device (jid TEXT PRIMARY KEY)"


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[SqliteStore]:
    """An open store in a folder whose name would mean something else in a URI."""
    store = SqliteStore(tmp_path / "a b%41?c#d" / "devices")
    await store.open()
    yield store
    await store.close()


def file_of(store: SqliteStore, instance_id: str) -> Path:
    return store._folder / file_name(instance_id)


def for_library(place: str) -> str:
    """Return a path as the library reads it: as a part of a URI."""
    return urllib.parse.quote(place)


def library_stores(store: SqliteStore, instance_id: str, *devices: str) -> None:
    store.location(instance_id)
    with sqlite3.connect(file_of(store, instance_id)) as database:
        database.execute(TABLE)
        database.execute("DELETE FROM whatsmeow_device")
        database.executemany("INSERT INTO whatsmeow_device VALUES (?)", [(d,) for d in devices])
    database.close()


def die_half_way(file: Path) -> None:
    """Have a process change much of a file and be killed before it has committed."""
    program = """
import sqlite3, sys, time
database = sqlite3.connect(sys.argv[1], isolation_level=None)
database.execute("PRAGMA cache_size = 2")
database.execute("BEGIN")
database.execute("DELETE FROM whatsmeow_device")
for number in range(5000):
    database.execute("INSERT INTO whatsmeow_device VALUES (?)", (f"{number}{'x' * 100}",))
print("half", flush=True)
time.sleep(60)
"""
    command = [sys.executable, "-c", program, str(file)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as worker:
        assert worker.stdout
        assert worker.stdout.readline() == b"half\n"
        worker.kill()
    assert Path(f"{file}-journal").stat().st_size > 0


def mode_of(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


# ---------------------------------------------------------------------- with the real library


@needs_neonize
async def test_the_library_connects_with_the_device_that_the_store_names(
    store: SqliteStore,
) -> None:
    place = for_library(store.location("Shop:1"))
    await prepare(place)
    row = device_row(DEVICE)
    with sqlite3.connect(file_of(store, "Shop:1")) as database:
        columns, marks = ", ".join(row), ", ".join("?" * len(row))
        database.execute(
            f"INSERT INTO whatsmeow_device ({columns}) VALUES ({marks})",  # noqa: S608
            list(row.values()),
        )
    database.close()
    await store.bind("Shop:1", DEVICE)

    device = await store.device_of("Shop:1")

    assert device == DEVICE
    code, said = run_client(place, device)
    assert code == 0
    assert "connection refused" in said, "it did not get as far as the dial"
    # The library took our file, and made none of its own beside it.
    assert {path.name for path in store._folder.iterdir()} == {"store-id", file_name("Shop:1")}


@needs_neonize
async def test_a_device_that_the_library_does_not_have_is_never_named(store: SqliteStore) -> None:
    """The library ends its process on it, which this shows as well."""
    place = for_library(store.location("a"))
    await prepare(place)
    await store.bind("a", DEVICE)

    assert await store.device_of("a") is None
    code, said = run_client(place, DEVICE)
    assert (code, said) == (-signal.SIGABRT, "")


@needs_neonize
async def test_the_librarys_file_is_closed_to_others(store: SqliteStore) -> None:
    previous = os.umask(0o022)
    try:
        await prepare(for_library(store.location("a")))
    finally:
        os.umask(previous)

    assert file_of(store, "a").stat().st_size > 0
    assert mode_of(file_of(store, "a")) == 0o600
    assert mode_of(store._folder) == 0o700


# ------------------------------------------------------------------------- which device is whose


async def test_a_device_is_kept_until_it_is_unlinked(store: SqliteStore) -> None:
    library_stores(store, "a", DEVICE)
    await store.bind("a", DEVICE)
    again = SqliteStore(store._folder)
    assert await again.device_of("a") == DEVICE

    await store.forget("a")

    assert await again.device_of("a") is None, "its keys are still there, and are of no use"
    library_stores(store, "a", DEVICE, OTHER)
    await store.bind("a", OTHER)
    assert await store.device_of("a") == OTHER


async def test_the_library_may_have_deleted_an_unlinked_device_before(store: SqliteStore) -> None:
    library_stores(store, "a", DEVICE)
    await store.bind("a", DEVICE)
    library_stores(store, "a")

    assert await store.device_of("a") is None
    await store.forget("a")
    await store.forget("never-seen")

    library_stores(store, "a", DEVICE)
    await store.bind("a", DEVICE)
    assert await store.device_of("a") == DEVICE


async def test_devices_that_differ_in_a_letters_case_are_two(store: SqliteStore) -> None:
    library_stores(store, "a", DEVICE)
    library_stores(store, "A", OTHER)
    await store.bind("a", DEVICE)
    await store.bind("A", OTHER)

    assert [await store.device_of(name) for name in "aA"] == [DEVICE, OTHER]


async def test_a_device_whose_gateway_died_before_it_was_noted_is_found(store: SqliteStore) -> None:
    library_stores(store, "a", DEVICE)
    assert await store.device_of("a") == DEVICE

    await store.forget("a")
    assert await store.device_of("a") is None

    library_stores(store, "a", DEVICE, OTHER)
    assert await store.device_of("a") == OTHER, "paired anew, and not noted either"

    library_stores(store, "a", DEVICE, OTHER, OTHER.replace("8", "9"))
    assert await store.device_of("a") is None, "which of the two is not known"


async def test_asking_makes_nothing(store: SqliteStore) -> None:
    assert await store.device_of("never-seen") is None
    assert [path.name for path in store._folder.iterdir()] == ["store-id"]

    store.location("a")
    assert await store.device_of("a") is None
    assert file_of(store, "a").stat().st_size == 0


async def test_a_location_is_the_path_of_the_file(store: SqliteStore) -> None:
    place = store.location("a")

    assert Path(place) == file_of(store, "a")
    assert Path(place).is_absolute()


async def test_what_is_no_id_is_refused(store: SqliteStore) -> None:
    with pytest.raises(InvalidInput):
        store.location("../a")
    with pytest.raises(InvalidInput):
        await store.device_of("../a")


# -------------------------------------------------------------------------- workers and faults


async def test_a_worker_that_is_writing_is_waited_for(store: SqliteStore) -> None:
    library_stores(store, "a", DEVICE)
    writing = sqlite3.connect(file_of(store, "a"), isolation_level=None, check_same_thread=False)
    writing.execute("BEGIN EXCLUSIVE")
    done = threading.Timer(0.5, lambda: writing.execute("COMMIT"))
    done.start()

    await asyncio.gather(store.bind("a", DEVICE), store.device_of("a"))

    done.join()
    writing.close()
    assert await store.device_of("a") == DEVICE


async def test_what_a_killed_worker_left_half_written_is_undone(store: SqliteStore) -> None:
    library_stores(store, "a", DEVICE)
    await store.bind("a", DEVICE)
    die_half_way(file_of(store, "a"))

    assert await store.device_of("a") == DEVICE
    assert mode_of(file_of(store, "a")) == 0o600


async def test_a_damaged_file_is_said_to_be_one(store: SqliteStore) -> None:
    store.location("a")
    file_of(store, "a").write_bytes(b"no database at all" * 100)

    for work in (store.device_of("a"), store.bind("a", DEVICE), store.forget("a")):
        with pytest.raises(DevicesUnavailable, match=r"device-a\.db cannot be used"):
            await work
    assert await store.device_of("b") is None, "the others go on"


async def test_a_file_that_was_open_to_others_is_closed_to_them(store: SqliteStore) -> None:
    library_stores(store, "a", DEVICE)
    file_of(store, "a").chmod(0o644)

    store.location("a")

    assert mode_of(file_of(store, "a")) == 0o600


# ---------------------------------------------------------------------------------- the folder


async def test_gateways_that_start_at_once_agree_on_the_store(tmp_path: Path) -> None:
    stores = [SqliteStore(tmp_path / "devices") for _ in range(8)]

    await asyncio.gather(*(store.open() for store in stores))

    assert len({str(store.identity) for store in stores}) == 1
    assert [path.name for path in (tmp_path / "devices").iterdir()] == ["store-id"]
    elsewhere = SqliteStore(tmp_path / "others")
    await elsewhere.open()
    assert elsewhere.identity.store != stores[0].identity.store


async def test_a_folder_of_other_things_is_left_as_it_is(tmp_path: Path) -> None:
    folder = tmp_path / "home"
    folder.mkdir()
    folder.chmod(0o755)
    (folder / "letter.txt").touch()

    with pytest.raises(StartError, match=r"holds other things \(letter.txt\)"):
        await SqliteStore(folder).open()

    assert mode_of(folder) == 0o755
    assert [path.name for path in folder.iterdir()] == ["letter.txt"]


async def test_an_empty_folder_is_taken_and_closed_to_others(tmp_path: Path) -> None:
    folder = tmp_path / "volume"
    (folder / "lost+found").mkdir(parents=True)
    folder.chmod(0o755)

    await SqliteStore(folder).open()

    assert mode_of(folder) == 0o700


async def test_a_folder_that_cannot_be_made_is_an_error_that_names_it(tmp_path: Path) -> None:
    (tmp_path / "file").touch()

    for place in (tmp_path / "file", tmp_path / "file" / "devices"):
        with pytest.raises(StartError, match=r"file.*SEKRING_DEVICE_STORE"):
            await SqliteStore(place).open()


async def test_a_damaged_mark_is_an_error_that_says_what_to_do(tmp_path: Path) -> None:
    folder = tmp_path / "devices"
    await SqliteStore(folder).open()
    (folder / "store-id").write_bytes(b"\xff")

    with pytest.raises(StartError, match="delete that file"):
        await SqliteStore(folder).open()

    (folder / "store-id").unlink()
    (folder / "device-a.db").touch()
    await SqliteStore(folder).open()
