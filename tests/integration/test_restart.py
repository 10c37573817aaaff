"""What goes away comes back: stops, crashes, a Redis that restarts, hangs or forgets."""

import ctypes
import json
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.httpwire import raw_request
from tests.servers import RedisServer, free_port, wait_until
from tests.serving import ServiceProcess

FAILURE = {"outcome": "failure", "kind": "websocket"}

#: A hung request fails its test instead of the whole run; nothing is measured by it.
PATIENCE_S = 30


@pytest.fixture
def redis(tmp_path: Path) -> Iterator[RedisServer]:
    """A server that keeps what it holds, as one of a user should."""
    with RedisServer(tmp_path / "redis", "--appendonly", "yes") as server:
        yield server


def report(service: ServiceProcess, instance_id: str = "628") -> httpx.Response:
    url = f"{service.url}/v1/instances/{instance_id}/outcomes"
    return httpx.post(url, json=FAILURE, timeout=PATIENCE_S)


def attempt(service: ServiceProcess, instance_id: str) -> Any:
    url = f"{service.url}/v1/instances/{instance_id}/attempts"
    return httpx.post(url, timeout=PATIENCE_S).raise_for_status().json()


def is_fine(service: ServiceProcess) -> bool:
    return report(service).status_code == 200


def is_whole(service: ServiceProcess) -> bool:
    """Whether Redis is there, and has learnt what was decided without it."""
    health = httpx.get(f"{service.url}/health", timeout=PATIENCE_S).json()["data"]
    return not health["degraded"] and health["queued_reports"] == 0


def failures(service: ServiceProcess, instance_id: str = "628") -> int:
    url = f"{service.url}/v1/instances/{instance_id}"
    return int(httpx.get(url, timeout=PATIENCE_S).raise_for_status().json()["failures"])


def logged(service: ServiceProcess) -> list[dict[str, Any]]:
    return [json.loads(line) for line in service.log_text().splitlines()]


# ---------------------------------------------------------------------------------- SIGTERM


@contextmanager
def half_a_request(service: ServiceProcess) -> Iterator[socket.socket]:
    """Send a report all but its last byte; the caller may send that."""
    body = json.dumps(FAILURE).encode()
    request = raw_request("POST", "/v1/instances/slow/outcomes", body)
    with socket.create_connection(("127.0.0.1", service.port), PATIENCE_S) as sock:
        sock.sendall(request[:-1])
        yield sock


def test_sigterm_takes_ready_back_before_the_socket_closes(redis: RedisServer) -> None:
    # A drain that never ends by itself: what is asked below is asked during it.
    with ServiceProcess(redis.url, drain_ms=600_000) as service:
        service.signal(signal.SIGTERM)
        wait_until(lambda: not service.is_ready(), "/ready to say no")

        answer = httpx.get(f"{service.url}/ready")
        assert answer.status_code == 503
        assert answer.json()["components"]["server"]["status"] == "draining"
        assert answer.json()["components"]["redis"]["status"] == "ok"
        assert report(service).status_code == 200, "who still asks is still served"
        assert httpx.get(f"{service.url}/live").status_code == 200

        service.signal(signal.SIGTERM)  # a second one ends the drain
        assert service.wait() == 0


def test_sigterm_lets_a_request_under_way_finish(redis: RedisServer) -> None:
    with ServiceProcess(redis.url, drain_ms=0) as service:
        with half_a_request(service) as sock:
            wait_until(lambda: is_fine(service), "a request after it")
            service.signal(signal.SIGTERM)
            wait_until(lambda: not service.is_live(), "the socket to close")

            sock.sendall(b"}")

            assert sock.recv(12) == b"HTTP/1.1 200"
        assert service.wait() == 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_stop_is_clean(redis: RedisServer, number: signal.Signals) -> None:
    with ServiceProcess(redis.url, workers=2, drain_ms=1) as service:
        assert report(service).status_code == 200
        service.signal(number)

        assert service.wait() == 0
        assert logged(service)[-1]["event"] == "stopped"
        assert "Traceback" not in service.log_text()
        with pytest.raises(httpx.ConnectError):
            report(service)


@pytest.mark.skipif(sys.platform != "linux", reason="sends a signal to one thread, as Linux can")
def test_a_signal_that_another_thread_is_given_stops_it_too(redis: RedisServer) -> None:
    """As the kernel does now and then with a SIGTERM that follows on a SIGCONT."""
    with ServiceProcess(redis.url) as service:
        threads = {int(task.name) for task in Path(f"/proc/{service.pid}/task").iterdir()}
        other = max(threads - {service.pid})
        assert ctypes.CDLL(None).tgkill(service.pid, other, signal.SIGTERM) == 0

        assert service.wait() == 0


# ---------------------------------------------------------------------------------- kill -9


def workers_of(service: ServiceProcess) -> set[int]:
    """Return the server processes: the supervisor's children that were spawned as such."""
    listed = subprocess.run(
        ["ps", "-e", "-ww", "-o", "pid=,ppid=,stat=,args="],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    rows = (line.split(maxsplit=3) for line in listed.splitlines())
    return {
        int(pid)
        for pid, parent, state, command in rows
        if int(parent) == service.pid and not state.startswith("Z") and "spawn_main" in command
    }


def test_a_killed_worker_is_replaced(redis: RedisServer) -> None:
    with ServiceProcess(redis.url, workers=2) as service:
        wait_until(lambda: len(workers_of(service)) == 2, "two workers")
        before = workers_of(service)
        killed = min(before)

        os.kill(killed, signal.SIGKILL)

        wait_until(lambda: len(workers_of(service) - {killed}) == 2, "a new worker")
        wait_until(service.is_ready, "the service")
        for _ in range(20):  # whichever worker gets it
            assert report(service).status_code == 200


def test_a_killed_supervisor_takes_its_workers_along(redis: RedisServer) -> None:
    """Left alone they would keep the port, and nobody could start the service again."""
    with ServiceProcess(redis.url, workers=2) as service:
        service.signal(signal.SIGKILL)
        service.wait()
        wait_until(lambda: not service.is_live(), "the port to be free")

        service.start()

        assert is_fine(service)


# ------------------------------------------------------------------------------------ Redis


def test_lost_scripts_are_given_again(redis: RedisServer) -> None:
    with ServiceProcess(redis.url) as service, redis.client() as client:
        assert report(service).json()["failures"] == 1
        client.function_flush()

        assert report(service).json()["failures"] == 2
        assert httpx.get(f"{service.url}/health").json()["data"]["total_recent_failures"] == 2


def test_a_restarted_redis_is_found_again(redis: RedisServer) -> None:
    with ServiceProcess(redis.url) as service:
        assert report(service).json()["failures"] == 1
        redis.stop()
        assert report(service).json()["degraded"] is True
        assert report(service).json()["failures"] == 3
        redis.start()

        wait_until(lambda: is_whole(service), "the service to go on")

        assert failures(service) == 3
        assert report(service).json()["degraded"] is False
        assert service.is_ready()


def test_an_emptied_redis_is_used_anew(redis: RedisServer) -> None:
    with ServiceProcess(redis.url) as service, redis.client() as client:
        for _ in range(15):
            report(service)
        assert attempt(service, "628")["permitted"] is False
        client.flushall()

        wait_until(lambda: attempt(service, "628")["permitted"], "the loss to be noticed")
        assert httpx.get(f"{service.url}/health").json()["data"]["total_instances"] == 1


def problem_of(answer: httpx.Response) -> dict[str, Any]:
    assert answer.headers["content-type"] == "application/problem+json"
    problem: dict[str, Any] = answer.json()
    return problem


def test_without_redis_every_request_is_answered(redis: RedisServer) -> None:
    with ServiceProcess(redis.url) as service:
        assert report(service).json()["degraded"] is False
        redis.kill()

        for count in range(2, 5):
            answer = report(service).raise_for_status().json()
            assert (answer["degraded"], answer["failures"]) == (True, count)
        admission = attempt(service, "628")
        assert (admission["permitted"], admission["degraded"]) == (True, True)
        assert admission["backoff_ms"] > 0
        health = httpx.get(f"{service.url}/health", timeout=PATIENCE_S).raise_for_status().json()
        assert health["data"]["degraded"] is True
        assert health["data"]["queued_reports"] == 4
        assert httpx.get(f"{service.url}/live").status_code == 200
        ready = httpx.get(f"{service.url}/ready", timeout=PATIENCE_S)
        assert ready.status_code == 200
        assert ready.json()["components"]["redis"]["status"] == "degraded"
        # What has to be written down to be true is not promised.
        reset = httpx.post(f"{service.url}/v1/instances/628/reset", timeout=PATIENCE_S)
        assert reset.status_code == 503
        assert problem_of(reset)["type"] == "store_unavailable"
        assert reset.headers["retry-after"] == "1"

        redis.start()
        wait_until(lambda: is_whole(service), "the service to go on")
        assert failures(service) == 4
        assert "Traceback" not in service.log_text()


def test_a_redis_that_hangs_does_not_hang_the_service(redis: RedisServer) -> None:
    with ServiceProcess(redis.url) as service:
        redis.signal(signal.SIGSTOP)
        answers = at_once(service, 50)
        redis.signal(signal.SIGCONT)

        assert {answer.status_code for answer in answers} == {200}
        assert any(answer.json()["degraded"] for answer in answers)
        wait_until(lambda: is_whole(service), "the service to go on")
        assert "Traceback" not in service.log_text()


def test_a_report_repeated_after_a_hang_counts_once(redis: RedisServer) -> None:
    """Redis may have taken what it could not answer in time; the report's id makes that safe."""
    with ServiceProcess(redis.url) as service:
        url = f"{service.url}/v1/instances/628/outcomes"
        body = FAILURE | {"id": "report-1"}
        redis.signal(signal.SIGSTOP)
        assert httpx.post(url, json=body, timeout=PATIENCE_S).json()["degraded"] is True
        redis.signal(signal.SIGCONT)
        wait_until(lambda: is_whole(service), "the service to go on")

        httpx.post(url, json=body, timeout=PATIENCE_S).raise_for_status()

        again = httpx.post(url, json=body, timeout=PATIENCE_S).json()
        assert (again["counted"], again["why"]) == (False, "duplicate")
        assert again["failures"] == 1


def at_once(service: ServiceProcess, count: int) -> list[httpx.Response]:
    answers: list[httpx.Response] = []
    threads = [
        threading.Thread(target=lambda: answers.append(report(service))) for _ in range(count)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE_S)
    assert len(answers) == count, "some request was never answered"
    return answers


def test_it_starts_without_redis_and_waits_for_it(redis: RedisServer) -> None:
    redis.stop()
    service = ServiceProcess(redis.url)
    try:
        service.start(wait=False)
        wait_until(service.is_live, "the service without its Redis")
        assert httpx.get(f"{service.url}/ready", timeout=PATIENCE_S).status_code == 503
        assert report(service).json()["degraded"] is True

        redis.start()

        wait_until(service.is_ready, "the service with its Redis")
        wait_until(lambda: is_whole(service), "what was reported before to be counted")
        assert failures(service) == 1
    finally:
        service.kill()


# ------------------------------------------------------------------------- several replicas


def test_a_replica_with_another_partition_count_refuses_to_start(redis: RedisServer) -> None:
    with ServiceProcess(redis.url, partitions=32):
        ended = subprocess.run(
            [sys.executable, "-m", "sekring", "serve", "--partitions", "64"],
            env={
                "PATH": os.environ["PATH"],
                "SEKRING_REDIS_URL": redis.url,
                "SEKRING_PORT": str(free_port()),
            },
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )

    assert ended.returncode == 2
    assert "This Redis holds a keyspace of 32 partitions" in ended.stderr
    assert (
        "SEKRING_PARTITIONS is 64: set it to 32, or use another SEKRING_KEY_PREFIX" in ended.stderr
    )
    assert "Traceback" not in ended.stderr


def test_a_replica_that_finds_another_partition_count_later_ends(redis: RedisServer) -> None:
    with ServiceProcess(redis.url, partitions=32):
        pass
    redis.stop()
    service = ServiceProcess(redis.url, partitions=64)
    try:
        service.start(wait=False)
        wait_until(service.is_live, "the service without its Redis")
        redis.start()

        assert service.wait(PATIENCE_S) != 0

        assert "This Redis holds a keyspace of 32 partitions" in service.log_text()
        assert "Traceback" not in service.log_text()
    finally:
        service.kill()


def test_another_prefix_is_another_keyspace(redis: RedisServer) -> None:
    with (
        ServiceProcess(redis.url, partitions=32) as one,
        ServiceProcess(redis.url, partitions=64, key_prefix="sekring:other") as other,
    ):
        assert report(one).json()["failures"] == 1
        assert report(other).json()["failures"] == 1


def test_what_one_replica_does_the_other_knows_at_once(redis: RedisServer) -> None:
    with ServiceProcess(redis.url) as one, ServiceProcess(redis.url) as other:
        tripped = [report(one, "shared").json()["tripped"] for _ in range(15)]
        assert tripped == [False] * 14 + [True]
        assert attempt(other, "shared")["permitted"] is False

        httpx.post(f"{other.url}/reset-circuit-breaker/shared").raise_for_status()
        assert attempt(one, "shared")["permitted"] is True

        httpx.put(f"{one.url}/v1/policy", json={"failure_threshold": 2}).raise_for_status()
        assert httpx.get(f"{other.url}/v1/policy").json()["policy"]["failure_threshold"] == 2
        assert report(other, "strict").json()["tripped"] is False
        assert report(one, "strict").json()["tripped"] is True
        assert attempt(other, "strict")["permitted"] is False


def test_replicas_may_start_all_at_once(redis: RedisServer) -> None:
    """Four of them fix the keyspace together; each finds the same one."""
    services = [ServiceProcess(redis.url) for _ in range(4)]
    try:
        for service in services:
            service.start(wait=False)
        for service in services:
            wait_until(service.is_ready, service.url, seconds=60)
        failures = [report(service, "first").json()["failures"] for service in services]
        assert failures == [1, 2, 3, 4]
    finally:
        for service in services:
            service.stop()
