"""One gateway with the scripted driver, on a real service: how it treats a session, and trouble."""

import contextlib
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.gateways import GatewayProcess, phases, sessions, wish
from tests.liveness import Course, courses, read, violations
from tests.servers import RedisServer, wait_until
from tests.serving import ServiceProcess

TTL_S = 5.0
STAY = 'steps = [{ do = "connect" }, { do = "stay" }]'


@pytest.fixture(scope="module")
def process(redis_process: RedisServer) -> Iterator[ServiceProcess]:
    with ServiceProcess(redis_process.url, lease_ttl_ms=int(TTL_S * 1000)) as process:
        yield process


@pytest.fixture
def service(
    process: ServiceProcess,
    redis_server: RedisServer,  # noqa: ARG001 - empties it
) -> ServiceProcess:
    """The service that most tests here share, with nothing in its Redis and a quick pace."""
    set_policy(process)
    return process


def set_policy(service: ServiceProcess, **policy: Any) -> None:
    quick = {"backoff": {"base_ms": 100, "factor": 1, "cap_ms": 100}, "failure_threshold": 3}
    httpx.put(f"{service.url}/v1/policy", json=quick | policy).raise_for_status()


def play(folder: Path, *connects: str, instances: str = "*") -> None:
    """Have each session of the folder's gateways play these connects, the last one for ever."""
    rule = f'[[rule]]\ninstances = "{instances}"\n'
    plays = "".join(f"[[rule.connect]]\n{steps}\n" for steps in connects)
    with (folder / "scenario.toml").open("a") as file:
        file.write(rule + plays)


def history(folder: Path, instance: str = "s") -> list[Course]:
    log = folder / "connections.jsonl"
    return courses(read(log)).get(instance, []) if log.exists() else []


def snapshot(service: ServiceProcess, instance: str = "s") -> dict[str, Any]:
    found: dict[str, Any] = httpx.get(f"{service.url}/v1/instances/{instance}").json()
    return found


def wait_for_phase(service: ServiceProcess, phase: str, instance: str = "s") -> dict[str, Any]:
    def is_it() -> bool:
        try:
            return phases(service.url).get(instance) == phase
        except httpx.HTTPError:  # just back, and not well yet
            return False

    wait_until(is_it, f"{instance} to be {phase}", 40)
    return sessions(service.url)[instance]


def reset(service: ServiceProcess, instance: str = "s") -> None:
    answer = httpx.post(f"{service.url}/v1/instances/{instance}/reset", json={"reason": "test"})
    answer.raise_for_status()


@contextlib.contextmanager
def gateway_on(service: ServiceProcess, folder: Path, *instances: str) -> Iterator[GatewayProcess]:
    """Run a gateway for those sessions; afterwards, judge what it did."""
    wish(service.url, instances or ["s"])
    with GatewayProcess("a", service.url, folder) as gateway:
        yield gateway
    assert gateway.said("session failed by an error of ours") == []
    log = folder / "connections.jsonl"
    assert not log.exists() or violations(read(log)) == []


# ------------------------------------------------------------------------------ in peace


def test_a_wished_session_is_connected_and_counted_until_the_gateway_stops(
    service: ServiceProcess, tmp_path: Path
) -> None:
    with gateway_on(service, tmp_path, "s", "t") as gateway:
        found = wait_for_phase(service, "connected")
        wait_for_phase(service, "connected", "t")
        assert found["gateway"] == "a"
        assert found["device"]
        health = httpx.get(f"{service.url}/health").json()["data"]
        assert health["active_connections"] == 2

        assert gateway.stop() == 0

    assert set(phases(service.url).values()) == {"vacant"}
    assert httpx.get(f"{service.url}/health").json()["data"]["active_connections"] == 0
    assert all(course.ended_s is not None for course in history(tmp_path))


def test_a_session_that_is_not_wished_for_any_more_is_stopped(
    service: ServiceProcess, tmp_path: Path
) -> None:
    with gateway_on(service, tmp_path, "s", "t"):
        wait_for_phase(service, "connected")
        wait_for_phase(service, "connected", "t")

        httpx.delete(f"{service.url}/v1/sessions/s").raise_for_status()

        wait_until(lambda: history(tmp_path)[0].ended_s is not None, "s to be stopped")
        wait_until(lambda: "s" not in phases(service.url), "s to be given back")
        assert phases(service.url) == {"t": "connected"}


def test_no_more_sessions_are_taken_than_the_capacity(
    service: ServiceProcess, tmp_path: Path
) -> None:
    wish(service.url, ["s1", "s2", "s3", "s4", "s5"])
    with GatewayProcess("a", service.url, tmp_path, gateway_capacity=3):
        wait_until(lambda: list(phases(service.url).values()).count("connected") == 3, "three")
        time.sleep(2)
        assert sorted(phases(service.url).values()) == ["connected"] * 3 + ["vacant"] * 2


def test_a_keep_alive_that_times_out_is_shown_and_not_reported(
    service: ServiceProcess, tmp_path: Path
) -> None:
    play(tmp_path, 'steps = [{do="connect"}, {do="keep_alive", healthy=false}, {do="stay"}]')

    with gateway_on(service, tmp_path):
        wait_until(lambda: (sessions(service.url)["s"]["detail"] or "").startswith("The keep"), "")
        assert sessions(service.url)["s"]["phase"] == "connected"
        assert snapshot(service)["failures"] == 0


# --------------------------------------------------------------------- under the breaker


def test_an_open_breaker_stops_attempts_until_its_cooldown_is_over(
    service: ServiceProcess, tmp_path: Path
) -> None:
    set_policy(service, cooldown_ms=4_000)
    fails = 'steps = [{ do = "fail", kind = "dns", detail = "no such host" }]'
    play(tmp_path, f"times = 3\n{fails}", STAY)

    with gateway_on(service, tmp_path):
        wait_until(lambda: snapshot(service)["state"] == "open", "the breaker to open")
        opened_s = time.monotonic()
        assert snapshot(service)["last_failure_kind"] == "dns"
        wait_for_phase(service, "connected")

    last, first_after = history(tmp_path)[2:4]
    assert last.began_s < opened_s
    assert first_after.began_s > last.began_s + 4
    assert len(history(tmp_path)) == 4


def test_a_reset_makes_it_go_on(service: ServiceProcess, tmp_path: Path) -> None:
    fails = 'steps = [{ do = "fail", kind = "proxy", detail = "bad gateway" }]'
    play(tmp_path, f"times = 3\n{fails}", STAY)

    with gateway_on(service, tmp_path):
        found = wait_for_phase(service, "waiting")
        wait_until(lambda: snapshot(service)["state"] == "open", "the breaker to open")
        wait_until(lambda: "refuses" in (sessions(service.url)["s"]["detail"] or ""), "the detail")
        assert found["gateway"] == "a"

        reset(service)

        wait_for_phase(service, "connected")


def test_a_terminal_failure_waits_for_a_person(service: ServiceProcess, tmp_path: Path) -> None:
    out = '{do="fail", protocol="whatsmeow", code=401, detail="logged out"}'
    play(tmp_path, f'steps = [{{do="connect"}}, {{do="wait", ms=300}}, {out}]', STAY)

    with gateway_on(service, tmp_path):
        wait_until(lambda: snapshot(service)["terminal"] == "logged_out", "the report")
        waits = "Waits for a person: logged_out."
        wait_until(lambda: sessions(service.url)["s"]["detail"] == waits, "the detail")
        time.sleep(1)
        assert len(history(tmp_path)) == 1

        reset(service)

        wait_for_phase(service, "connected")


def test_a_ban_is_reported_with_its_end(service: ServiceProcess, tmp_path: Path) -> None:
    play(tmp_path, 'steps = [{do="fail", protocol="whatsmeow", code=402, ban_expire=600,'
         ' detail="banned"}]')  # fmt: skip

    with gateway_on(service, tmp_path):
        wait_until(lambda: snapshot(service)["cause"] == "temporary_ban", "the ban")
        assert 500_000 < snapshot(service)["remaining_ms"] <= 630_000


def test_a_worker_that_dies_is_its_sessions_failure_and_no_others(
    service: ServiceProcess, tmp_path: Path
) -> None:
    with gateway_on(service, tmp_path, "s", "t"):
        for name in ("s", "t"):
            wait_for_phase(service, "connected", name)
        (before,) = history(tmp_path)

        os.kill(before.pid, signal.SIGKILL)

        wait_until(lambda: len(history(tmp_path)) == 2, "s to be connected again")
        wait_for_phase(service, "connected")
        assert snapshot(service)["last_failure_kind"] == "worker_crash"
        assert len(history(tmp_path, "t")) == 1


def test_an_unpaired_session_whose_codes_ran_out_waits_for_somebody_to_ask(
    service: ServiceProcess, tmp_path: Path
) -> None:
    ran_out = '{do="fail", kind="pairing", detail="QR codes ran out"}'
    play(tmp_path, f'steps = [{{do="qr"}}, {{do="wait", ms=300}}, {ran_out}]', STAY)

    with gateway_on(service, tmp_path):
        wait_for_phase(service, "unpaired")
        time.sleep(1)
        assert len(history(tmp_path)) == 1
        assert snapshot(service)["failures"] == 0


# ---------------------------------------------------------------------------- conflicts


def steal(service: ServiceProcess, instance: str = "s") -> int:
    """Make another gateway its owner, behind the back of `a`; return the new token."""
    with httpx.Client(base_url=f"{service.url}/v1/leases") as http:
        lease = {"instance_id": instance, "token": sessions(service.url)[instance]["token"]}
        answer = http.post("/release", json={"gateway": "a", "leases": [lease]})
        assert answer.json() == {"released": 1}
        claim = {"gateway": "thief", "capacity": 1_000, "held": 0}
        (stolen,) = http.post("/claim", json=claim).json()["leases"]
    token: int = stolen["token"]
    return token


def test_a_lease_that_is_anothers_stops_the_session_at_once(
    service: ServiceProcess, tmp_path: Path
) -> None:
    with gateway_on(service, tmp_path) as gateway:
        wait_for_phase(service, "connected")

        token = steal(service)

        wait_until(lambda: history(tmp_path)[0].ended_s is not None, "the connection's end")
        wait_until(lambda: gateway.said("session is ended"), "the log")
        assert gateway.said("session is ended")[0]["why"] == "another gateway owns it"
        # Nothing of it was reported: the thief's connection is not ours to end.
        assert snapshot(service)["connection"] == "connected"
        assert sessions(service.url)["s"]["token"] >= token


def test_a_session_that_was_replaced_although_it_is_ours_raises_it(
    service: ServiceProcess, tmp_path: Path
) -> None:
    replaced = '{do="fail", kind="conflict", detail="stream replaced"}'
    play(tmp_path, f'steps = [{{do="connect"}}, {{do="wait", ms=500}}, {replaced}]')

    with gateway_on(service, tmp_path):
        wait_until(lambda: snapshot(service)["cause"] == "conflict", "the report")
        assert snapshot(service)["state"] == "open"


def test_a_session_that_was_replaced_by_its_new_owner_yields_silently(
    redis_server: RedisServer, tmp_path: Path
) -> None:
    """The leases are so long that no renewal tells of the loss before WhatsApp does."""
    replaced = '{do="fail", kind="conflict", detail="stream replaced"}'
    play(tmp_path, f'steps = [{{do="connect"}}, {{do="wait", ms=4000}}, {replaced}]')

    with (
        ServiceProcess(redis_server.url, lease_ttl_ms=120_000) as service,
        gateway_on(service, tmp_path) as gateway,
    ):
        wait_for_phase(service, "connected")
        time.sleep(2)  # beyond the first renewal, which comes at once
        steal(service)

        wait_until(lambda: gateway.said("session is ended"), "the session's end")
        assert gateway.said("session failed")
        assert gateway.said("session is ended")[0]["why"] == "another gateway owns it"
        assert snapshot(service)["state"] == "closed"
        assert snapshot(service)["last_failure_kind"] is None


# ------------------------------------------------------------------------ what goes away


@pytest.mark.parametrize("what", ["service", "redis"])
def test_without_an_answer_every_session_ends_before_its_lease_and_comes_back(
    tmp_path: Path, what: str
) -> None:
    names = [f"s{number}" for number in range(5)]
    with (
        RedisServer(tmp_path / "redis", "--appendonly", "yes") as redis,
        ServiceProcess(redis.url, lease_ttl_ms=int(TTL_S * 1000)) as service,
    ):
        set_policy(service)
        with gateway_on(service, tmp_path, *names):
            for name in names:
                wait_for_phase(service, "connected", name)

            gone_s = time.monotonic()
            if what == "service":
                service.kill()
            else:
                redis.signal(signal.SIGSTOP)

            wait_until(
                lambda: all(history(tmp_path, name)[0].ended_s for name in names), "their ends", 30
            )
            for name in names:
                (course,) = history(tmp_path, name)
                assert course.ended_s is not None
                assert course.ended_s - gone_s < TTL_S
            if what == "service":
                service.start()
            else:
                redis.signal(signal.SIGCONT)

            for name in names:
                wait_for_phase(service, "connected", name)


def test_a_failure_while_the_service_is_away_is_told_later_with_its_age(
    tmp_path: Path,
) -> None:
    play(
        tmp_path,
        'steps = [{do="connect"}, {do="wait", ms=2000}, {do="fail", kind="tls", detail="x509"}]',
        STAY,
    )
    with (
        RedisServer(tmp_path / "redis", "--appendonly", "yes") as redis,
        ServiceProcess(redis.url, lease_ttl_ms=30_000) as service,
    ):
        set_policy(service)
        with gateway_on(service, tmp_path) as gateway:
            wait_for_phase(service, "connected")
            service.kill()
            wait_until(lambda: gateway.said("session failed"), "the failure")
            failed_s = time.monotonic()
            assert len(history(tmp_path)) == 1
            time.sleep(2)
            assert len(history(tmp_path)) == 1, "no attempt without an answer"

            service.start()

            wait_until(lambda: snapshot(service)["last_failure_kind"] == "tls", "the report")
            found = snapshot(service)
            age_ms = found["now_ms"] - found["last_failure_at_ms"]
            assert age_ms > 2_000
            assert age_ms < (time.monotonic() - failed_s + 3) * 1000
            wait_for_phase(service, "connected")


# ---------------------------------------------------------------------------- its end


def test_a_second_signal_ends_it_at_once_and_its_workers_by_themselves(
    service: ServiceProcess, tmp_path: Path
) -> None:
    play(tmp_path, 'steps = [{ do = "connect" }, { do = "hang" }]')
    wish(service.url, ["s"])
    gateway = GatewayProcess("a", service.url, tmp_path)
    gateway.start()
    try:
        wait_for_phase(service, "connected")
        (worker,) = gateway.worker_pids

        gateway.signal(signal.SIGTERM)
        wait_until(lambda: gateway.said("draining"), "the first signal")
        gateway.signal(signal.SIGTERM)

        assert gateway.wait() == 1
        wait_until(lambda: not Path(f"/proc/{worker}").exists(), "the worker's end")
    finally:
        gateway.kill()


def test_it_ends_in_order_although_the_service_hangs(
    redis_server: RedisServer, tmp_path: Path
) -> None:
    with (
        ServiceProcess(redis_server.url, lease_ttl_ms=60_000) as service,
        gateway_on(service, tmp_path, "s", "t") as gateway,
    ):
        for name in ("s", "t"):
            wait_for_phase(service, "connected", name)
        os.killpg(service.pid, signal.SIGSTOP)
        try:
            stopped_s = time.monotonic()

            assert gateway.stop() == 0

            for name in ("s", "t"):
                (course,) = history(tmp_path, name)
                assert course.ended_s is not None
                # Its connections do not wait for an answer.
                assert course.ended_s - stopped_s < 4
            assert gateway.said("reports lost, the service does not take them")[0]["count"] == 2
        finally:
            os.killpg(service.pid, signal.SIGCONT)


def test_a_session_that_does_not_stop_is_killed_before_another_gateway_gets_it(
    service: ServiceProcess, tmp_path: Path
) -> None:
    play(tmp_path, 'steps = [{ do = "connect" }, { do = "hang" }]')

    with gateway_on(service, tmp_path) as gateway:
        wait_for_phase(service, "connected")
        with GatewayProcess("b", service.url, tmp_path) as other:
            (worker,) = gateway.worker_pids

            assert gateway.stop() == 0

            assert not Path(f"/proc/{worker}").exists()
            wait_until(lambda: other.said("session connected"), "b to connect it")
            assert len(history(tmp_path)) == 2


def test_what_a_stopping_gateway_had_is_taken_long_before_its_leases_end(
    redis_server: RedisServer, tmp_path: Path
) -> None:
    """The others' shares grow with its word that it stops, not with its silence."""
    names = [f"s{number}" for number in range(6)]
    with ServiceProcess(redis_server.url, lease_ttl_ms=120_000) as service:
        wish(service.url, names)
        # Of what `a` cannot take there is something left for `b`.
        a = GatewayProcess("a", service.url, tmp_path, gateway_capacity=3)
        b = GatewayProcess("b", service.url, tmp_path, gateway_capacity=6)
        with a, b:
            wait_until(lambda: list(phases(service.url).values()).count("connected") == 6, "all")
            assert {one["gateway"] for one in sessions(service.url).values()} == {"a", "b"}
            stopped_s = time.monotonic()

            assert a.stop() == 0

            for name in names:
                wait_for_phase(service, "connected", name)
            assert {one["gateway"] for one in sessions(service.url).values()} == {"b"}
            assert time.monotonic() - stopped_s < 60
        assert violations(read(tmp_path / "connections.jsonl")) == []
