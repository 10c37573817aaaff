"""Guards of the Python client against a real service: what they report, raise and share."""

import asyncio
import contextlib
import multiprocessing
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

import sekring
from sekring.client import AsyncClient, Client, Open, Sekring
from sekring.errors import (
    InvalidInput,
    NotAuthenticated,
    ServiceUnavailable,
    SettingsError,
)
from sekring.taxonomy import Kind
from sekring.tokens import NewToken, Role
from tests.clients import client_of, fail, refused, refuses
from tests.replicas import Replica
from tests.servers import RedisServer, wait_until


@pytest.fixture(scope="module")
def process(redis_process: RedisServer) -> Iterator[Replica]:
    with Replica(redis_process.url, partitions=4) as process:
        yield process


@pytest.fixture
def service(process: Replica, redis_server: RedisServer) -> Replica:
    assert redis_server.answers()  # it was emptied
    return process


@pytest.fixture
def breaker(service: Replica) -> Iterator[Sekring]:
    with client_of(service.url, gateway="here", build="test/1") as breaker:
        yield breaker


# ----------------------------------------------------------------------------- what it reports


def test_a_block_that_ends_is_a_connection(service: Replica, breaker: Sekring) -> None:
    with breaker.guard("s") as attempt:
        assert not attempt.degraded
        assert attempt.backoff == 0
    breaker.flush()

    seen = service.instance("s")
    assert (seen["connection"], seen["failures"], seen["retry_attempts"]) == ("connected", 0, 0)


def test_a_block_that_raises_is_a_failure_and_the_exception_goes_on(
    service: Replica, breaker: Sekring
) -> None:
    with pytest.raises(TimeoutError, match="no answer"), breaker.guard("s"):
        raise TimeoutError("no answer")
    breaker.flush()

    seen = service.instance("s")
    assert (seen["failures"], seen["last_failure_kind"]) == (1, "timeout")
    assert seen["last_failure_detail"] == "TimeoutError: no answer"
    assert seen["connection"] == ""


def test_15_failures_open_the_breaker_and_the_16th_attempt_is_refused(
    service: Replica, breaker: Sekring
) -> None:
    fail(breaker, "s", 15)
    error = refused(breaker, "s")

    assert error
    assert (error.instance_id, error.state, error.cause) == ("s", "open", "failures")
    assert error.retry_after == pytest.approx(600, abs=5)
    assert not error.degraded
    assert "ask again in" in str(error)
    breaker.flush()
    seen = service.instance("s")
    assert (seen["state"], seen["failures"], seen["suppressed"]) == ("open", 15, 0)


def test_a_failed_connection_counts_though_it_was_connected(
    service: Replica, breaker: Sekring
) -> None:
    with contextlib.suppress(ValueError), breaker.guard("s") as attempt:
        attempt.connected()
        breaker.flush()
        assert service.instance("s")["connection"] == "connected"
        raise ValueError("stream gone")
    breaker.flush()

    seen = service.instance("s")
    assert (seen["failures"], seen["last_failure_kind"]) == (1, "disconnected")
    assert seen["connection"] == ""


def test_a_connection_that_ends_on_purpose_is_no_failure(
    service: Replica, breaker: Sekring
) -> None:
    with breaker.guard("s") as attempt:
        attempt.connected()
    breaker.flush()

    seen = service.instance("s")
    assert (seen["failures"], seen["connection"], seen["known"]) == (0, "", True)


def test_an_attempt_that_lasts_is_seen_while_it_does(service: Replica, breaker: Sekring) -> None:
    with breaker.guard("s"):
        wait_until(lambda: service.instance("s")["connection"] == "connecting", "the attempt")
    wait_until(lambda: service.instance("s")["connection"] == "connected", "its success")


def test_the_caller_may_say_what_failed(service: Replica, breaker: Sekring) -> None:
    with breaker.guard("kind") as attempt:
        attempt.failed("proxy", detail="socks: no")
    with contextlib.suppress(RuntimeError), breaker.guard("code") as attempt:
        attempt.failed(protocol="baileys", code=440)
        raise RuntimeError("is not reported once more")
    with breaker.guard("ban") as attempt:
        attempt.failed(Kind.TEMPORARY_BAN, ban_expires_in_ms=3_600_000)
    breaker.flush()

    assert service.instance("kind")["last_failure_detail"] == "socks: no"
    assert service.instance("code")["cause"] == "conflict"
    assert service.instance("code")["failures"] == 0
    assert service.instance("ban")["cause"] == "temporary_ban"
    refuses(breaker, "ban")
    wait_until(lambda: (e := refused(breaker, "ban")) and e.cause == "temporary_ban", "the cause")


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"kind": "flat tyre"}, "kind"),
        ({"kind": "dns", "code": 500}, "kind"),
        ({"code": 500}, "protocol"),
        ({"protocol": "baileys"}, "code"),
        ({"kind": "dns", "ban_expire": 5}, "ban_expire"),
    ],
)
def test_a_failure_that_cannot_be_said_is_refused_at_once(
    service: Replica, breaker: Sekring, fields: dict[str, object], field: str
) -> None:
    with pytest.raises(InvalidInput) as caught, breaker.guard("s") as attempt:
        attempt.failed(**fields)  # type: ignore[arg-type]
    breaker.flush()

    assert caught.value.field == field
    assert breaker.dropped == 0
    assert service.instance("s")["failures"] == 1, "the exception itself is reported"


def test_each_failure_counts_once_and_none_is_forgotten(service: Replica, breaker: Sekring) -> None:
    """Many threads, the same and other instances."""
    names = [f"s{number}" for number in range(6)]
    with ThreadPoolExecutor(8) as pool:
        for _ in range(14):
            for name in names:
                pool.submit(fail, breaker, name)
    breaker.flush()

    assert [service.instance(name)["failures"] for name in names] == [14] * 6
    assert breaker.waiting == breaker.dropped == 0


def test_the_backoff_of_the_policy_is_recommended_and_waited_for(
    service: Replica, breaker: Sekring
) -> None:
    pace = {"backoff": {"base_ms": 300, "jitter": 0}}
    httpx.put(f"{service.url}/v1/instances/s/policy", json=pace).raise_for_status()
    fail(breaker, "s")
    breaker.flush()
    wait_until(lambda: breaker._core.view.record("s").policy, "the instance's own policy")

    with contextlib.suppress(ConnectionRefusedError), breaker.guard("s") as attempt:
        assert attempt.backoff == 0.3
        raise ConnectionRefusedError
    with contextlib.suppress(ConnectionRefusedError), breaker.guard("s") as attempt:
        assert attempt.backoff == 0.6
        raise ConnectionRefusedError
    began_s = time.monotonic()
    with breaker.guard("s", wait=True) as attempt:
        assert time.monotonic() - began_s >= 1.2
        assert attempt.backoff == 0


# --------------------------------------------------------------------------- async and threads


async def test_a_coroutine_is_guarded_likewise(service: Replica) -> None:
    async with Sekring(service.url) as breaker:
        await breaker.ready_async(30)
        async with breaker.guard("good"):
            await asyncio.sleep(0)
        for _ in range(15):
            with contextlib.suppress(ConnectionRefusedError):
                async with breaker.guard("bad"):
                    raise ConnectionRefusedError
        with pytest.raises(Open):
            async with breaker.guard("bad"):
                pass
        assert await breaker.permitted_async("good")
        assert not await breaker.permitted_async("bad")
        await breaker.flush_async()

    assert service.instance("good")["connection"] == "connected"
    assert service.instance("bad")["state"] == "open"


async def test_what_is_cancelled_is_no_failure(service: Replica) -> None:
    async with Sekring(service.url) as breaker:
        begun = asyncio.Event()

        async def connect() -> None:
            async with breaker.guard("s"):
                begun.set()
                await asyncio.sleep(60)

        task = asyncio.create_task(connect())
        await begun.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await breaker.flush_async()

    seen = service.instance("s")
    assert (seen["known"], seen["failures"], seen["connection"]) == (True, 0, "")


async def test_cancelled_while_it_waits_for_the_backoff_it_gives_the_attempt_back(
    service: Replica,
) -> None:
    async with Sekring(service.url) as breaker:
        await breaker.ready_async(30)
        await asyncio.to_thread(fail, breaker, "s")
        await breaker.flush_async()

        async def connect() -> None:
            async with breaker.guard("s", wait=True):
                pytest.fail("entered")

        task = asyncio.create_task(connect())
        await asyncio.sleep(0.1)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await breaker.flush_async()

    seen = service.instance("s")
    assert (seen["failures"], seen["connection"]) == (1, "")


def test_one_client_serves_one_event_loop_after_the_other_and_many_at_once(
    service: Replica, breaker: Sekring
) -> None:
    async def connect(name: str) -> None:
        for _ in range(5):
            with contextlib.suppress(ConnectionRefusedError):
                async with breaker.guard(name):
                    await asyncio.sleep(0)
                    raise ConnectionRefusedError

    asyncio.run(connect("first"))
    asyncio.run(connect("first"))
    threads = [
        threading.Thread(target=asyncio.run, args=(connect(f"loop-{number}"),))
        for number in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    breaker.flush()

    assert service.instance("first")["failures"] == 10
    assert [service.instance(f"loop-{n}")["failures"] for n in range(4)] == [5] * 4


def test_guarded_takes_functions_of_both_kinds(service: Replica, breaker: Sekring) -> None:
    @breaker.guarded
    def connect(instance_id: str, *, broken: bool) -> str:
        """Connect."""
        if broken:
            raise ConnectionRefusedError
        return instance_id

    @breaker.guarded(by="name")
    async def connect_async(host: str, name: str = "c") -> str:
        return f"{name}@{host}"

    assert connect("a", broken=False) == "a"
    with pytest.raises(ConnectionRefusedError):
        connect("b", broken=True)
    assert asyncio.run(connect_async("here")) == "c@here"
    assert connect.__doc__ == "Connect."
    breaker.flush()
    assert service.instance("a")["connection"] == "connected"
    assert service.instance("b")["failures"] == 1
    assert service.instance("c")["connection"] == "connected"


def test_guarded_says_what_names_no_instance(breaker: Sekring) -> None:
    with pytest.raises(InvalidInput, match="no parameter name"):
        breaker.guarded(by="name")(fail)

    @breaker.guarded
    def connect(number: int) -> None: ...

    with pytest.raises(InvalidInput, match=r"number is int.*guarded\(by="):
        connect(5)


@pytest.mark.parametrize(
    "name", ["", "a b", "x" * 129, "../../v1/resets", "a\n", "a\0", "*", "é", 5, None, b"a", "a/b"]
)
def test_a_name_that_no_instance_can_have_is_refused_at_once(breaker: Sekring, name: str) -> None:
    for use in (breaker.permitted, lambda name: breaker.guard(name).__enter__()):
        with pytest.raises(InvalidInput) as caught:
            use(name)
        assert caught.value.field == "instance_id"
    assert breaker.waiting == 0


@pytest.mark.parametrize("name", [".", "..", "a:b@c", "x" * 128])
def test_every_name_that_an_instance_can_have_is_taken(
    service: Replica, breaker: Sekring, name: str
) -> None:
    fail(breaker, name)
    breaker.flush()

    (found,) = service.get("/v1/instances?limit=10")["instances"]
    assert (found["instance_id"], found["failures"]) == (name, 1)


# ---------------------------------------------------------------------------- how it is made


def test_the_environment_tells_where_the_service_is(
    service: Replica, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SEKRING_URL", service.url)
    with Sekring() as breaker, breaker.guard("s"):
        pass

    assert service.instance("s")["connection"] == "connected"


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"url": "here"}, "url"),
        ({"url": "ftp://here"}, "SEKRING_URL"),
        ({"staleness": 0}, "staleness"),
        ({"patience": float("inf")}, "patience"),
        ({"gateway": "two words"}, "gateway"),
        ({"token": "a\nb"}, "token"),
    ],
)
def test_an_option_that_makes_no_sense_is_named(options: dict[str, object], words: str) -> None:
    with pytest.raises(SettingsError, match=words):
        Sekring(**options)  # type: ignore[arg-type]


def test_a_wrong_token_is_said_at_the_first_use(redis_server: RedisServer) -> None:
    token = NewToken.make("g", Role.GATEWAY)
    tokens = f"{token.entry.name}={token.entry.role}:{token.entry.hash}"
    with Replica(redis_server.url, partitions=4, tokens=tokens) as service:
        with Sekring(service.url, "wrong", close_within=0.2) as breaker:
            with pytest.raises(NotAuthenticated):
                breaker.ready()
            with pytest.raises(NotAuthenticated), breaker.guard("s"):
                pytest.fail("entered")
        with client_of(service.url, token=token.token) as breaker:
            fail(breaker, "s")
            breaker.flush()
            assert not breaker.degraded


def test_a_closed_client_says_so(service: Replica) -> None:
    with client_of(service.url) as breaker:
        fail(breaker, "s")
        assert breaker.permitted("known")

    assert service.instance("s")["failures"] == 1, "what waits is sent before the end"
    for name in ("s", "known", "new"):
        with pytest.raises(ServiceUnavailable, match="closed"):
            breaker.permitted(name)
        with pytest.raises(ServiceUnavailable, match="closed"), breaker.guard(name):
            pytest.fail("entered")
    breaker.close()


def test_the_whole_api_is_there_for_threads(service: Replica) -> None:
    with Client(service.url) as client:
        admission = client.call(AsyncClient.permit, "s")
        assert admission.permitted
        with pytest.raises(InvalidInput):
            client.call(AsyncClient.permit, "no good")
        # The attempt is registered right after the answer.
        wait_until(
            lambda: client.call(AsyncClient.instance, "s").connection == "connecting",
            "the attempt to be registered",
        )


# --------------------------------------------------------------------------- other processes


SCRIPT = """
import contextlib, sekring
for _ in range(3):
    with contextlib.suppress(ConnectionError):
        with sekring.guard("s"):
            raise ConnectionError
"""


def test_what_waits_is_sent_before_the_interpreter_ends(service: Replica) -> None:
    environment = os.environ | {"SEKRING_URL": service.url}
    subprocess.run([sys.executable, "-c", SCRIPT], env=environment, check=True, timeout=60)

    assert service.instance("s")["failures"] == 3


@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
def test_a_forked_process_begins_anew_and_tells_nothing_twice(
    service: Replica, breaker: Sekring
) -> None:
    fail(breaker, "s", 2)

    def work() -> None:
        assert breaker.waiting == 0, "its parent tells what waits"
        fail(breaker, "s", 3)
        breaker.flush(30)

    child = multiprocessing.get_context("fork").Process(target=work)
    child.start()
    child.join(60)
    assert child.exitcode == 0
    fail(breaker, "s")
    breaker.flush()

    assert service.instance("s")["failures"] == 6


def test_the_package_itself_is_light() -> None:
    script = (
        "import sys, sekring; print(sorted({'httpx', 'msgspec', 'asyncio'} & set(sys.modules)))"
    )
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)

    assert run.stdout.strip() == "[]"
    assert sekring.guard.__module__ == "sekring.client.default"
