"""The embedded Valkey: real servers on real folders."""

import contextlib
import os
import platform
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import redis
from structlog.testing import capture_logs

from sekring.errors import DataDirLocked, EmbeddedServerFailed, StartError
from sekring.store.embedded import Embedded
from sekring.store.folder import LOG_MAX_BYTES, SOCKET_PATH_MAX_BYTES


@contextlib.contextmanager
def client_of(url: str) -> Iterator[redis.Redis]:
    client = redis.Redis.from_url(url, decode_responses=True)
    try:
        yield client
    finally:
        client.close()


def eventually(holds: Callable[[], bool]) -> None:
    """Wait until `holds`; a fault shows as a failed test instead of a hung one."""
    deadline = time.monotonic() + 30
    while not holds():
        assert time.monotonic() < deadline, "it never came to hold"
        time.sleep(0.02)


def is_running(pid: int) -> bool:
    """Tell whether a process runs; one that ended and was not yet collected does not."""
    state = subprocess.run(
        ["ps", "-o", "stat=", "-p", str(pid)], capture_output=True, text=True, check=False
    ).stdout.strip()
    return bool(state) and not state.startswith("Z")


def server_pid(embedded: Embedded) -> int:
    pid = embedded.pid
    assert pid is not None
    return pid


def increments_of(folder: Path) -> Path:
    (path,) = (folder / "appendonlydir").glob("*.incr.aof")
    return path


# ------------------------------------------------------------------------ a server as promised


def test_it_listens_on_a_private_unix_socket_and_nowhere_else(tmp_path: Path) -> None:
    with Embedded(tmp_path) as embedded, client_of(embedded.url) as client:
        assert embedded.url == f"unix://{tmp_path}/valkey.sock"
        assert embedded.is_alive()
        assert (tmp_path / "valkey.sock").stat().st_mode & 0o777 == 0o700
        assert client.config_get("port") == {"port": "0"}


def test_it_loses_nothing_on_purpose(tmp_path: Path) -> None:
    with Embedded(tmp_path) as embedded, client_of(embedded.url) as client:
        settings = client.config_get("appendonly", "appendfsync", "save", "maxmemory-policy")

    assert settings == {
        "appendonly": "yes",
        "appendfsync": "everysec",
        "save": "",
        "maxmemory-policy": "noeviction",
    }


def test_a_restart_finds_what_was_written(tmp_path: Path) -> None:
    embedded = Embedded(tmp_path)
    for count in (1, 2, 3):
        with embedded, client_of(embedded.url) as client:
            assert client.incr("starts") == count


def test_it_makes_its_folder_for_its_owner_only(tmp_path: Path) -> None:
    folder = tmp_path / "not" / "there yet 100% #1"

    with Embedded(folder) as embedded, client_of(embedded.url) as client:
        assert client.ping()

    assert folder.stat().st_mode & 0o777 == 0o700


def test_a_relative_folder_is_the_one_of_the_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)

    with Embedded(Path("data")) as embedded:
        assert embedded.url == f"unix://{tmp_path}/data/valkey.sock"


def test_a_path_too_long_for_a_socket_moves_only_the_socket(tmp_path: Path) -> None:
    folder = tmp_path / ("long" * 30)

    with Embedded(folder) as embedded, client_of(embedded.url) as client:
        client.set("key", "value")
        socket_path = Path(embedded.url.removeprefix("unix://"))
        assert len(os.fsencode(socket_path)) <= SOCKET_PATH_MAX_BYTES
        assert socket_path.parent.stat().st_mode & 0o777 == 0o700

    assert (folder / "appendonlydir").is_dir()
    assert not socket_path.parent.exists()


def test_a_large_log_is_put_aside_at_the_start(tmp_path: Path) -> None:
    log = tmp_path / "valkey.log"
    log.write_bytes(b"x" * (LOG_MAX_BYTES + 1))

    with Embedded(tmp_path):
        assert log.stat().st_size < LOG_MAX_BYTES

    assert (tmp_path / "valkey.log.1").stat().st_size == LOG_MAX_BYTES + 1


def test_a_start_waits_while_the_server_loads_its_data(tmp_path: Path) -> None:
    embedded = Embedded(tmp_path)
    with embedded, client_of(embedded.url) as client:
        pipeline = client.pipeline(transaction=False)
        for number in range(100_000):
            pipeline.set(f"key:{number}", number)
        pipeline.execute()

    with embedded, client_of(embedded.url) as client:
        assert client.dbsize() == 100_000


# ------------------------------------------------------------------------------ how it ends


def test_stop_leaves_the_data_and_no_process(tmp_path: Path) -> None:
    embedded = Embedded(tmp_path).start()
    pid = server_pid(embedded)

    embedded.stop()

    assert not is_running(pid)
    assert not embedded.is_alive()
    assert embedded.pid is None
    assert {path.name for path in tmp_path.iterdir()} == {"appendonlydir", "lock", "valkey.log"}


def test_stop_may_come_twice_or_before_a_start(tmp_path: Path) -> None:
    embedded = Embedded(tmp_path)
    embedded.stop()
    embedded.start()
    embedded.stop()
    embedded.stop()


def test_a_server_that_ignores_sigterm_is_killed_after_the_grace(tmp_path: Path) -> None:
    embedded = Embedded(tmp_path, stop_grace_ms=100).start()
    pid = server_pid(embedded)
    os.kill(pid, signal.SIGSTOP)

    with capture_logs() as logs:
        embedded.stop()

    assert not is_running(pid)
    assert [entry["event"] for entry in logs] == ["embedded_server_killed"]


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux ends a child with its parent")
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_it_ends_with_its_parent_however_that_ends(tmp_path: Path, number: signal.Signals) -> None:
    parent = start_in_another_process(tmp_path)
    with client_of(f"unix://{tmp_path}/valkey.sock") as client:
        pid = client.info("server")["process_id"]
        client.set("key", "value")

    parent.send_signal(number)
    parent.wait()

    eventually(lambda: not is_running(pid))
    with Embedded(tmp_path) as embedded, client_of(embedded.url) as client:
        assert client.get("key") == "value"


def test_a_signal_to_the_terminals_group_does_not_reach_it(tmp_path: Path) -> None:
    with Embedded(tmp_path) as embedded:
        assert os.getpgid(server_pid(embedded)) != os.getpgid(0)


def test_a_forked_worker_does_not_stop_the_server_of_its_parent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Embedded(tmp_path) as embedded:
        with monkeypatch.context() as patch:
            patch.setattr(os, "getpid", lambda: -1)
            embedded.stop()

        assert embedded.is_alive()


# ------------------------------------------------------------------ one server for each folder


def start_in_another_process(folder: Path) -> subprocess.Popen[str]:
    program = (
        "import sys, time, pathlib\n"
        "from sekring.store.embedded import Embedded\n"
        "embedded = Embedded(pathlib.Path(sys.argv[1])).start()\n"
        "print('ready', flush=True)\n"
        "time.sleep(600)\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", program, str(folder)], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    with process.stdout:
        assert process.stdout.readline() == "ready\n"
    return process


def test_a_held_folder_is_refused_with_its_name_and_the_holder(tmp_path: Path) -> None:
    holder = start_in_another_process(tmp_path)
    try:
        with pytest.raises(DataDirLocked) as caught:
            Embedded(tmp_path, lock_wait_ms=0).start()
    finally:
        holder.terminate()
        holder.wait()

    assert str(tmp_path) in str(caught.value)
    assert f"process {holder.pid}" in str(caught.value)
    assert "SEKRING_DATA_DIR" in str(caught.value)


def test_a_server_left_behind_still_holds_the_folder(tmp_path: Path) -> None:
    holder = start_in_another_process(tmp_path)
    with client_of(f"unix://{tmp_path}/valkey.sock") as client:
        pid = client.info("server")["process_id"]
    # It cannot act on the signal that ends it with its parent.
    os.kill(pid, signal.SIGSTOP)
    holder.kill()
    holder.wait()

    try:
        with pytest.raises(DataDirLocked, match=f"process {pid} .a server left behind"):
            Embedded(tmp_path, lock_wait_ms=0).start()
    finally:
        os.kill(pid, signal.SIGKILL)

    eventually(lambda: not is_running(pid))
    with Embedded(tmp_path) as embedded:
        assert embedded.is_alive()


def test_a_start_waits_for_a_holder_that_is_stopping(tmp_path: Path) -> None:
    first = Embedded(tmp_path).start()
    second = Embedded(tmp_path, lock_wait_ms=30_000)
    starting = threading.Thread(target=second.start)
    starting.start()

    first.stop()
    starting.join()

    assert second.is_alive()
    second.stop()


def test_starting_twice_is_an_error_of_the_program(tmp_path: Path) -> None:
    with Embedded(tmp_path) as embedded, pytest.raises(RuntimeError, match="started already"):
        embedded.start()


# ------------------------------------------------------------------- a server that dies or fails


def test_a_killed_server_is_started_again_on_the_same_folder(tmp_path: Path) -> None:
    with Embedded(tmp_path) as embedded, capture_logs() as logs:
        url = embedded.url
        for death in (1, 2, 3):
            killed = server_pid(embedded)
            with client_of(url) as client:
                assert client.incr("deaths") == death
            os.kill(killed, signal.SIGKILL)
            eventually(lambda: embedded.is_alive() and embedded.pid != killed)  # noqa: B023

        with client_of(url) as client:
            assert client.get("deaths") == "3"
        assert embedded.url == url

    # A server killed as soon as it answers may count as one that did not come up: said either way.
    assert {entry["event"] for entry in logs} <= {
        "embedded_server_died",
        "embedded_server_not_restarted",
    }
    assert [entry["restart_in_ms"] for entry in logs] == [100, 200, 400]
    for entry in logs:
        assert entry["log_level"] in {"warning", "error"}
        assert entry["folder"] == str(tmp_path)
        assert "SIGKILL" in entry.get("how", "") + entry.get("reason", "")


def test_stop_ends_a_server_that_is_just_coming_back(tmp_path: Path) -> None:
    embedded = Embedded(tmp_path).start()
    os.kill(server_pid(embedded), signal.SIGKILL)
    embedded.stop()

    assert embedded.pid is None
    assert not embedded.is_alive()


def test_a_cut_off_last_write_is_dropped_and_the_rest_is_kept(tmp_path: Path) -> None:
    embedded = Embedded(tmp_path)
    with embedded, client_of(embedded.url) as client:
        client.set("first", "1")
        client.set("second", "2")
    log_of_writes = increments_of(tmp_path)
    log_of_writes.write_bytes(log_of_writes.read_bytes()[:-3])

    with embedded, client_of(embedded.url) as client:
        assert client.get("first") == "1"
        assert client.get("second") is None


def test_damaged_data_are_an_error_with_the_servers_own_words_and_a_way_on(tmp_path: Path) -> None:
    embedded = Embedded(tmp_path)
    with embedded, client_of(embedded.url) as client:
        client.set("key", "value")
    log_of_writes = increments_of(tmp_path)
    intact = log_of_writes.read_bytes()
    log_of_writes.write_bytes(b"this is no append-only file\r\n" + intact)

    with pytest.raises(EmbeddedServerFailed) as caught:
        embedded.start()

    message = str(caught.value)
    assert "Bad file format reading the append only file" in message
    assert str(tmp_path / "valkey.log") in message
    assert f"put back a copy of {tmp_path / 'appendonlydir'}" in message

    # Nothing was left behind: the folder is free, and works once it is repaired.
    log_of_writes.write_bytes(intact)
    with embedded, client_of(embedded.url) as client:
        assert client.get("key") == "value"


def test_a_server_that_does_not_answer_is_given_up(tmp_path: Path) -> None:
    with pytest.raises(EmbeddedServerFailed, match="gave no answer for 0 ms"):
        Embedded(tmp_path, start_timeout_ms=0).start()

    with Embedded(tmp_path) as embedded:
        assert embedded.is_alive()


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()

    with pytest.raises(StartError, match="cannot be used: Not a directory") as caught:
        Embedded(tmp_path / "file" / "data").start()

    assert str(tmp_path / "file" / "data") in str(caught.value)
    assert "SEKRING_DATA_DIR" in str(caught.value)


def test_a_platform_without_a_server_is_told_to_name_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(platform, "machine", lambda: "riscv64")

    with pytest.raises(EmbeddedServerFailed, match=r"riscv64.*SEKRING_REDIS_URL"):
        Embedded(tmp_path).start()
