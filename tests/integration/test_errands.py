"""Errands: from any replica to the gateway that owns the session, once, and the answer back."""

import base64
import signal
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import count
from typing import Any

import httpx
import pytest

from tests.gatewaydouble import GatewayDouble
from tests.replicas import Replica, Replicas
from tests.servers import RedisServer, wait_until
from tests.serving import ServiceProcess

KEY = base64.urlsafe_b64encode(b"k" * 32).decode()
OTHER_KEY = base64.urlsafe_b64encode(b"o" * 32).decode()

#: How long requests wait here for gateways, in ms.
WAIT_MS = 20_000

#: The deadline of other requests here, in ms.
REQUEST_MS = 2_000

#: A lease here, in ms: as short as may be, for takeovers.
LEASE_MS = 2_000

Answer = Future[httpx.Response]

_numbers = count(1)


@pytest.fixture(scope="module")
def replicas(redis: RedisServer) -> Iterator[Replicas]:
    """Two, so that nothing works only because it meets in one process."""
    settings: dict[str, Any] = {"partitions": 4, "seal_key": KEY, "log_level": "debug"}
    settings["request_timeout_ms"] = REQUEST_MS
    with Replicas(
        [redis.url] * 2, qr_wait_ms=WAIT_MS, lease_ttl_ms=LEASE_MS, **settings
    ) as replicas:
        yield replicas


@pytest.fixture(scope="module")
def impatient(redis: RedisServer) -> Iterator[Replica]:
    """A third, whose requests wait for a second only, and which has another key."""
    replica = Replica(
        redis.url, partitions=4, seal_key=OTHER_KEY, qr_wait_ms=1_000, lease_ttl_ms=LEASE_MS
    )
    with replica:
        yield replica


@pytest.fixture
def here(replicas: Replicas) -> Replica:
    replica: Replica = replicas[0]
    return replica


@pytest.fixture
def there(replicas: Replicas) -> Replica:
    replica: Replica = replicas[1]
    return replica


@pytest.fixture
def name(here: Replica) -> Iterator[str]:
    """A session that is to be connected; in the end not any more."""
    name = f"session-{next(_numbers)}"
    here.post("/v1/sessions", {"instance_id": name})
    yield name
    here._ask("DELETE", f"/v1/sessions/{name}")


@pytest.fixture
def gateway(there: Replica, name: str) -> Iterator[GatewayDouble]:
    """The owner, at the other replica."""
    with GatewayDouble(there.url, f"gateway-{name}") as gateway:
        gateway.own(name)
        with gateway.renewing():
            yield gateway
        if name in gateway.tokens:
            gateway.release(name)


@pytest.fixture
def threads() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(32) as pool:
        yield pool


def send(replica: ServiceProcess, name: str, text: str = "Hello") -> httpx.Response:
    body = {"to": "+62 812-3456-7890", "text": text}
    return httpx.post(f"{replica.url}/v1/sessions/{name}/messages", json=body, timeout=30)


def pair(replica: ServiceProcess, name: str) -> httpx.Response:
    body = {"phone": "6281234567890"}
    return httpx.post(f"{replica.url}/v1/sessions/{name}/pairing-code", json=body, timeout=30)


# ----------------------------------------------------------------------------------- messages


def test_a_message_goes_to_the_owner_at_another_replica_and_its_id_comes_back(
    here: Replica, name: str, gateway: GatewayDouble, threads: ThreadPoolExecutor
) -> None:
    gateway.phase(name, "connected")
    sent = threads.submit(send, here, name)

    errand = gateway.next_errand("send")

    assert (errand["instance_id"], errand["to"], errand["text"]) == (name, "6281234567890", "Hello")
    assert 0 < errand["expires_in_ms"] <= WAIT_MS
    assert gateway.answer(errand, result="3EB0C431") is True
    assert sent.result().json() == {"message_id": "3EB0C431"}


def test_each_errand_is_handed_out_once_whichever_replica_is_polled(
    here: Replica, name: str, gateway: GatewayDouble, threads: ThreadPoolExecutor
) -> None:
    gateway.phase(name, "connected")
    sent = [threads.submit(send, here, name, f"text {number}") for number in range(10)]
    with GatewayDouble(here.url, gateway.name) as elsewhere:
        polls = [
            threads.submit(poller.errands, 1_000)
            for _ in range(4)
            for poller in (gateway, elsewhere)
        ]
        taken = [errand for poll in polls for errand in poll.result()]
        taken += gateway.errands(1_000) if len(taken) < 10 else []

        assert sorted(errand["text"] for errand in taken) == [f"text {n}" for n in range(10)]
        for errand in taken:
            gateway.answer(errand, result=errand["text"])
        assert gateway.errands() == elsewhere.errands() == []
    assert [one.result().json()["message_id"] for one in sent] == [f"text {n}" for n in range(10)]


def test_what_the_gateway_could_not_do_is_said_in_its_words(
    here: Replica, name: str, gateway: GatewayDouble, threads: ThreadPoolExecutor
) -> None:
    gateway.phase(name, "connected")
    sent = threads.submit(send, here, name)

    gateway.answer(gateway.next_errand("send"), error="the number is not on WhatsApp")

    assert sent.result().status_code == 502
    problem = sent.result().json()
    assert problem["type"] == "gateway_failed"
    assert problem["detail"] == "It was not sent: the number is not on WhatsApp"


def test_the_first_answer_stays(
    here: Replica, name: str, gateway: GatewayDouble, threads: ThreadPoolExecutor
) -> None:
    gateway.phase(name, "connected")
    sent = threads.submit(send, here, name)
    errand = gateway.next_errand("send")

    assert gateway.answer(errand, result="first") is True
    assert gateway.answer(errand, error="second") is False
    assert sent.result().json() == {"message_id": "first"}


def test_nothing_is_sent_through_a_session_that_is_not_connected(
    here: Replica, name: str, gateway: GatewayDouble
) -> None:
    answer = send(here, name)

    assert answer.status_code == 409
    assert answer.json()["cause"] == "not_connected"
    assert "it is waiting" in answer.json()["detail"]
    assert gateway.errands() == []


def test_an_answer_that_does_not_come_is_not_waited_for_longer(
    impatient: Replica, name: str, gateway: GatewayDouble
) -> None:
    gateway.phase(name, "connected")

    answer = send(impatient, name)

    assert answer.status_code == 504
    assert answer.json()["type"] == "timed_out"
    assert "may have been" in answer.json()["detail"]
    assert gateway.name in answer.json()["detail"]


def test_an_errand_that_nobody_waits_for_any_more_is_not_handed_out(
    impatient: Replica, name: str, gateway: GatewayDouble
) -> None:
    gateway.phase(name, "connected")
    assert send(impatient, name).status_code == 504

    assert gateway.errands(500) == []


def test_an_answer_to_what_nobody_asked_is_not_kept(
    name: str, gateway: GatewayDouble, redis: RedisServer
) -> None:
    errand = {"id": "0" * 24, "instance_id": name}

    assert gateway.answer(errand, result="nonsense") is False
    with redis.client() as client:
        assert list(client.scan_iter(f"*:answer:{'0' * 24}")) == []


# --------------------------------------------------------------------------------- the owner


def test_only_the_owner_gets_errands(
    here: Replica, name: str, gateway: GatewayDouble, threads: ThreadPoolExecutor
) -> None:
    gateway.phase(name, "connected")
    with GatewayDouble(here.url, "somebody-else") as other:
        sent = threads.submit(send, here, name)
        assert other.errands(500) == []

        gateway.answer(gateway.next_errand("send"), result="x")
        assert sent.result().status_code == 200


def test_an_errand_of_a_session_without_an_owner_waits_for_the_next(
    here: Replica, there: Replica, name: str, threads: ThreadPoolExecutor
) -> None:
    code = threads.submit(pair, here, name)
    wait_until(lambda: there.get(f"/v1/sessions/{name}")["wanted"], "the wish")
    time.sleep(0.2)  # it is posted behind the wish
    with GatewayDouble(there.url, "late") as late:
        late.own(name)
        # As gateways do when they have heard that a session is theirs.
        late.phase(name, "connecting")

        late.answer(late.next_errand("pair"), result="ABCD-EFGH")

        assert code.result().json()["code"] == "ABCD-EFGH"
        late.release(name)


def test_an_owner_whose_lease_has_run_out_gets_none(
    here: Replica, name: str, threads: ThreadPoolExecutor
) -> None:
    with GatewayDouble(here.url, "late") as late:
        late.own(name)
        time.sleep(LEASE_MS / 1000 + 0.2)
        code = threads.submit(pair, here, name)

        assert late.errands(500) == []

        late.own_again(name)
        late.phase(name, "connecting")
        late.answer(late.next_errand("pair"), result="x")
        assert code.result().status_code == 200
        late.release(name)


def test_after_a_takeover_the_old_owner_gets_none_and_the_new_one_all(
    here: Replica, there: Replica, name: str, threads: ThreadPoolExecutor
) -> None:
    with GatewayDouble(here.url, "old") as old, GatewayDouble(there.url, "new") as new:
        old.own(name)
        code = threads.submit(pair, here, name)
        # The bell has rung for the old one, who has yet to come for it.
        wait_until(lambda: old.renew()[0]["errands"], "the errand to wait")
        old.release(name)
        new.own(name)

        assert old.errands(500) == []

        new.phase(name, "connecting")
        new.answer(new.next_errand("pair"), result="NEW")
        assert code.result().json()["code"] == "NEW"
        new.release(name)


def test_a_renewal_tells_of_errands_and_rings_again_for_a_missed_bell(
    here: Replica, name: str, redis: RedisServer, threads: ThreadPoolExecutor
) -> None:
    with GatewayDouble(here.url, "forgetful") as gateway:
        gateway.own(name)
        code = threads.submit(pair, here, name)
        wait_until(lambda: gateway.renew()[0]["errands"], "the renewal to tell of it")
        # This one was not there when the bell rang.
        with (
            Replica(redis.url, partitions=4, seal_key=KEY) as fresh,
            GatewayDouble(fresh.url, gateway.name) as elsewhere,
        ):
            assert elsewhere.errands(100) == []

            gateway.own_again(name)
            gateway.renew()

            elsewhere.answer(elsewhere.next_errand("pair"), result="x")
            assert code.result().status_code == 200
        assert gateway.renew()[0]["errands"] is False
        gateway.release(name)


def test_a_claim_tells_of_errands(
    here: Replica, there: Replica, name: str, threads: ThreadPoolExecutor
) -> None:
    code = threads.submit(pair, here, name)
    with GatewayDouble(there.url, "late") as late:
        time.sleep(0.5)
        mine: list[bool] = []

        def claimed() -> bool:
            mine.extend(one["errands"] for one in late.claim() if one["instance_id"] == name)
            return bool(mine)

        wait_until(claimed, "the session to be claimed")
        assert mine == [True]
        late.phase(name, "connecting")
        late.answer(late.next_errand("pair"), result="x")
        assert code.result().status_code == 200
        late.release(name)


# ------------------------------------------------------------------------------ pairing codes


def test_a_pairing_code_comes_from_the_owner(
    here: Replica, name: str, gateway: GatewayDouble, threads: ThreadPoolExecutor
) -> None:
    code = threads.submit(pair, here, name)

    errand = gateway.next_errand("pair")

    assert errand["phone"] == "6281234567890"
    gateway.answer(errand, result="ABCD-EFGH")
    assert code.result().json() == {"code": "ABCD-EFGH", "expires_in_ms": 160_000}


def test_a_connected_session_needs_no_pairing_code(
    here: Replica, name: str, gateway: GatewayDouble
) -> None:
    gateway.phase(name, "connected")

    answer = pair(here, name)

    assert answer.status_code == 409
    assert answer.json()["cause"] == "connected"


def test_a_breaker_that_trips_meanwhile_ends_the_waiting(
    here: Replica, name: str, gateway: GatewayDouble, threads: ThreadPoolExecutor
) -> None:
    code = threads.submit(pair, here, name)
    gateway.next_errand("pair")

    here.fail(name, 15)

    assert code.result().status_code == 503
    problem = code.result().json()
    assert (problem["type"], problem["cause"]) == ("breaker_refuses", "failures")
    assert 590 <= int(code.result().headers["retry-after"]) <= 600
    here.reset(name)


# ------------------------------------------------------------------------------------- resets


def test_the_owner_hears_of_a_reset_by_anybody(
    here: Replica, there: Replica, name: str, gateway: GatewayDouble
) -> None:
    for replica, path in ((here, f"/reset-circuit-breaker/{name}"), (there, "/v1/resets")):
        here.fail(name, 15)

        replica.post(path, {} if path.startswith("/reset") else {"instances": [name]})

        errand = gateway.next_errand("retry")
        assert (errand["instance_id"], errand["kind"]) == (name, "retry")


def test_several_resets_make_one_errand(here: Replica, name: str, gateway: GatewayDouble) -> None:
    for _ in range(5):
        here.fail(name, 2)
        here.reset(name)
    time.sleep(0.5)

    assert [errand["kind"] for errand in gateway.errands(500)] == ["retry"]


def test_a_reset_of_what_nobody_owns_leaves_nothing(here: Replica, redis: RedisServer) -> None:
    here.fail("not-a-session", 15)
    here.reset("not-a-session")
    time.sleep(0.3)

    with redis.client() as client:
        assert list(client.scan_iter("*:errands:not-a-session")) == []


# ---------------------------------------------------------------------------------- long polls


def test_a_poll_waits_for_what_comes_and_not_longer_than_it_said(
    here: Replica, name: str, gateway: GatewayDouble, threads: ThreadPoolExecutor
) -> None:
    gateway.phase(name, "connected")
    poll = threads.submit(gateway.errands, 15_000)
    time.sleep(REQUEST_MS / 1000 + 0.3)
    assert not poll.done()

    sent = threads.submit(send, here, name)

    (errand,) = poll.result()
    gateway.answer(errand, result="x")
    assert sent.result().status_code == 200
    assert gateway.errands(10) == []


def test_a_poll_that_nobody_waits_for_any_more_takes_nothing(
    here: Replica, there: Replica, name: str, gateway: GatewayDouble, threads: ThreadPoolExecutor
) -> None:
    gateway.phase(name, "connected")

    def give_up() -> None:
        with pytest.raises(httpx.ReadTimeout):
            httpx.post(
                f"{there.url}/v1/gateways/{gateway.name}/errands",
                json={"wait_ms": 60_000},
                timeout=0.5,
            )

    for one in [threads.submit(give_up) for _ in range(10)]:
        one.result()
    time.sleep(0.5)

    for _ in range(3):
        sent = threads.submit(send, here, name)
        gateway.answer(gateway.next_errand("send", 5), result="x")
        assert sent.result().status_code == 200


def test_waiting_requests_do_not_hold_up_a_stop(redis: RedisServer) -> None:
    service = ServiceProcess(redis.url, partitions=4, qr_wait_ms=120_000)
    with ThreadPoolExecutor() as threads, service:
        url = service.url
        poll = threads.submit(
            httpx.post, f"{url}/v1/gateways/g/errands", json={"wait_ms": 60_000}, timeout=60
        )
        code = threads.submit(
            httpx.get, f"{url}/get_qrcode", params={"instance_id": "stopped"}, timeout=60
        )
        with GatewayDouble(url, "idle") as idle:  # so that the request goes on waiting
            idle.own("stopped")
        began_s = time.monotonic()

        service.signal(signal.SIGTERM)

        assert service.wait() == 0
        assert time.monotonic() - began_s < 30
        assert poll.result().json() == {"errands": []}
        assert code.result().status_code == 503
        assert code.result().headers["retry-after"] == "1"
        assert "stopping" in code.result().json()["message"]


# ------------------------------------------------------------------------------------ secrets


def test_texts_and_codes_are_sealed_while_redis_keeps_them(
    here: Replica,
    name: str,
    gateway: GatewayDouble,
    redis: RedisServer,
    threads: ThreadPoolExecutor,
) -> None:
    gateway.phase(name, "connected")
    sent = threads.submit(send, here, name, "a secret text")

    def stored(kind: str) -> list[bytes]:
        which = "*" if kind == "answer" else name
        with redis.client() as client:
            return [
                value
                for key in client.scan_iter(f"*:{kind}:{which}")
                for value in (client.lrange(key, 0, -1) if kind == "errands" else [client.get(key)])
            ]

    wait_until(lambda: stored("errands"), "the errand to wait")
    waiting = b" ".join(stored("errands"))
    assert b"sealed:" in waiting
    assert b"secret" not in waiting
    assert b"6281234567890" not in waiting

    errand = gateway.next_errand("send")
    assert errand["text"] == "a secret text"
    assert b"secret" not in b" ".join(stored("taken"))
    gateway.answer(errand, result="a-secret-id")
    assert b"secret" not in b" ".join(stored("answer"))
    assert sent.result().json() == {"message_id": "a-secret-id"}


def test_a_replica_with_another_key_says_so_to_the_one_who_waits(
    here: Replica,
    impatient: Replica,
    name: str,
    gateway: GatewayDouble,
    threads: ThreadPoolExecutor,
) -> None:
    gateway.phase(name, "connected")
    sent = threads.submit(send, here, name)
    with GatewayDouble(impatient.url, gateway.name) as elsewhere:
        for _ in range(3):
            assert elsewhere.errands(300) == []

    # The answer is sealed with that other key as well.
    assert sent.result().status_code == 503
    assert "SEKRING_SEAL_KEY" in sent.result().json()["detail"]
    assert "an errand cannot be read" in impatient.log_text()


def test_no_text_and_no_code_is_in_the_log(here: Replica, there: Replica) -> None:
    for replica in (here, there):
        log = replica.log_text()
        assert "errand posted" in here.log_text(), "errands are logged at this level"
        assert "secret" not in log
        assert "ABCD-EFGH" not in log
