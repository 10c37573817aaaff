"""`/v1/events`: every transition once, on every replica, whatever is cut off in between."""

import random
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from sekring.cursor import Cursor, Place
from sekring.store.keys import Keyspace
from tests.eventstream import EventReader
from tests.httpwire import raw_request
from tests.servers import RedisServer, wait_until
from tests.serving import ServiceProcess
from tests.transitions import append_transitions, transition_ids


@pytest.fixture(scope="module")
def replicas(redis: RedisServer) -> Iterator[list[ServiceProcess]]:
    with (
        ServiceProcess(redis.url, log_level="debug", events_heartbeat_ms=200) as one,
        ServiceProcess(redis.url, events_heartbeat_ms=200) as other,
    ):
        yield [one, other]


def trip(service: ServiceProcess, instance_id: str) -> None:
    httpx.post(
        f"{service.url}/v1/instances/{instance_id}/trip", json={"reason": "test"}, timeout=20
    ).raise_for_status()


def reset(service: ServiceProcess, instance_id: str) -> None:
    httpx.post(f"{service.url}/v1/instances/{instance_id}/reset", timeout=20).raise_for_status()


# --------------------------------------------------------------------------------- the stream


def test_a_trip_on_one_replica_is_seen_on_another(replicas: list[ServiceProcess]) -> None:
    one, other = replicas
    with EventReader(one) as here, EventReader(other) as there:
        trip(one, "seen")
        (seen,) = there.wait_for(1)
        (same,) = here.wait_for(1)

    assert seen == same
    assert (seen["instance_id"], seen["action"]) == ("seen", "force_open")
    assert (seen["before"], seen["after"], seen["reason"]) == ("closed", "forced_open", "test")


def test_it_begins_at_once_and_says_what_it_is(replicas: list[ServiceProcess]) -> None:
    with EventReader(replicas[0]) as reader:
        assert reader.headers
        assert reader.headers["content-type"].startswith("text/event-stream")
        assert reader.headers["cache-control"] == "no-store"
        assert reader.headers["x-accel-buffering"] == "no"
        assert reader.retry_ms == 2_000
        assert reader.transitions == []


def test_it_lives_longer_than_a_request_may_and_says_so_meanwhile(redis: RedisServer) -> None:
    with (
        ServiceProcess(redis.url, events_heartbeat_ms=100, request_timeout_ms=300) as service,
        EventReader(service) as reader,
    ):
        wait_until(lambda: reader.comments.count("heartbeat") >= 10, "heartbeats")
        assert not reader.ended.is_set()


def test_heartbeats_move_the_place_to_resume_from(
    redis: RedisServer, replicas: list[ServiceProcess]
) -> None:
    """Else a reader whose filter passes nothing would come back with a place long trimmed."""
    with EventReader(replicas[0], instance_id="nobody") as reader:
        first = reader.last_id
        with redis.client() as client:
            append_transitions(client, ["somebody"])
        wait_until(lambda: reader.last_id != first, "another id")
        assert reader.transitions == []


def test_the_transitions_of_an_instance_come_in_order(replicas: list[ServiceProcess]) -> None:
    with EventReader(replicas[0]) as reader:
        for _ in range(20):
            trip(replicas[1], "ordered")
            reset(replicas[0], "ordered")
        actions = [item["action"] for item in reader.wait_for(40)]

    assert actions == ["force_open", "reset"] * 20


# --------------------------------------------------------------------------------- filters


def test_it_passes_only_what_is_asked_for(replicas: list[ServiceProcess]) -> None:
    service = replicas[0]
    with (
        EventReader(service) as everything,
        EventReader(service, instance_id=["a", "b"]) as two,
        EventReader(service, state=["forced_open", "disabled"]) as forced,
        EventReader(service, instance_id="b", state="closed") as closed_b,
        EventReader(service, instance_id="*") as fleet,
    ):
        for name in ("a", "b", "c"):
            trip(service, name)
            reset(service, name)
        httpx.put(f"{service.url}/v1/policy", json={"failure_threshold": 15}).raise_for_status()

        assert len(everything.wait_for(7)) == 7
        assert [item["instance_id"] for item in two.wait_for(4)] == ["a", "a", "b", "b"]
        assert [item["after"] for item in forced.wait_for(3)] == ["forced_open"] * 3
        assert [item["action"] for item in closed_b.wait_for(1)] == ["reset"]
        assert [item["action"] for item in fleet.wait_for(1)] == ["policy"]
        assert (len(two.events), len(forced.events), len(fleet.events)) == (4, 3, 1)


# ------------------------------------------------------------------------------------ resume


def test_it_is_resumed_on_another_replica(replicas: list[ServiceProcess]) -> None:
    one, other = replicas
    with EventReader(one) as reader:
        trip(one, "before")
        reader.wait_for(1)
    trip(one, "between")
    with EventReader(other, reader.last_id) as resumed:
        trip(one, "after")
        found = resumed.wait_for(2)

    assert [item["instance_id"] for item in found] == ["between", "after"]


def test_the_place_may_be_in_the_query(replicas: list[ServiceProcess]) -> None:
    with EventReader(replicas[0]) as reader:
        place = reader.last_id
    trip(replicas[0], "queried")
    assert place

    with EventReader(replicas[0], last_event_id=place) as resumed:
        assert resumed.wait_for(1)[0]["instance_id"] == "queried"


def test_a_place_that_is_none_is_refused(replicas: list[ServiceProcess]) -> None:
    answer = httpx.get(f"{replicas[0].url}/v1/events", headers={"Last-Event-ID": "12-0"})

    assert answer.status_code == 400
    assert answer.json()["field"] == "Last-Event-ID"
    assert "leave it out" in answer.json()["detail"]


def test_cut_anywhere_nothing_is_missed_and_nothing_comes_twice(
    redis: RedisServer, replicas: list[ServiceProcess], *, full: bool
) -> None:
    """Under steady transitions, from one replica to the other and back, at random moments."""
    writing = threading.Event()
    writing.set()
    written: list[str] = []

    def write() -> None:
        with redis.client() as client:
            while writing.is_set():
                names = [f"i{random.randrange(200)}" for _ in range(random.randrange(20))]
                written.extend(append_transitions(client, names))
                time.sleep(random.uniform(0, 0.02))

    seen: list[str] = []
    with EventReader(replicas[0]) as reader:
        place = reader.last_id
    writer = threading.Thread(target=write)
    writer.start()
    try:
        for turn in range(200 if full else 25):
            with EventReader(replicas[turn % 2], place) as reader:
                time.sleep(random.uniform(0, 0.3))
            seen += [item["id"] for item in reader.transitions]
            place = reader.last_id
    finally:
        writing.clear()
        writer.join()
    with EventReader(replicas[0], place) as reader:
        wait_until(lambda: len(seen) + len(reader.events) >= len(written), "the rest")
        time.sleep(0.5)  # were there one too many, it would come now
    seen += [item["id"] for item in reader.transitions]

    assert len(written) > 100
    assert len(seen) == len(set(seen))
    assert set(seen) == set(written)


def test_every_event_is_a_place_to_resume_from(
    redis: RedisServer, replicas: list[ServiceProcess]
) -> None:
    with EventReader(replicas[0]) as reader, redis.client() as client:
        start = reader.last_id
        for burst in range(5):
            append_transitions(client, [f"e{burst}-{number}" for number in range(8)])
        reader.wait_for(40)
    ids = [event.data["id"] for event in reader.events]
    places = [start, *(event.id for event in reader.events)]

    for count in range(0, 41, 4):
        with EventReader(replicas[1], places[count]) as resumed:
            resumed.wait_for(40 - count)
        found = [item["id"] for item in resumed.transitions]
        assert sorted(found) == sorted(ids[count:])


def test_clocks_that_differ_cost_nothing(
    redis: RedisServer, replicas: list[ServiceProcess]
) -> None:
    """In a cluster every partition's entries have their own server's time."""
    name = next(f"n{number}" for number in range(1000) if _partition(f"n{number}") == 7)
    key = "sekring:{07}:events"
    fields: dict[Any, Any] = {"instance_id": name, "action": "trip", "at_ms": 1, "after": "open"}
    earlier = Cursor(int(time.time() * 1000) - 20_000).encode()
    wait_until(lambda: listeners(replicas[0]) == 0, "earlier readers to be gone")
    with redis.client() as client:
        client.delete(key)  # a stream's own entries are never older than its last
    with (
        EventReader(replicas[0], earlier, instance_id=[name, "ahead"]) as reader,
        redis.client() as client,
    ):
        append_transitions(client, ["ahead"])
        reader.wait_for(1)
        # That server's clock is 3 s behind: older than what was shown already, and yet new.
        client.xadd(key, fields, id=f"{int(time.time() * 1000) - 3_000}-0")
        client.pexpire(key, 1_000_000)
        assert reader.wait_for(2)[1]["instance_id"] == name
        place = reader.events[0].id

    with EventReader(replicas[1], place, instance_id=[name, "ahead"]) as resumed:
        assert [item["instance_id"] for item in resumed.wait_for(1)] == [name]


def _partition(instance_id: str) -> int:
    return Keyspace().partition_of(instance_id)


# --------------------------------------------------------------------------------------- gaps


def test_what_was_trimmed_is_a_gap_and_the_rest_follows(
    redis: RedisServer, replicas: list[ServiceProcess]
) -> None:
    with EventReader(replicas[0]) as reader, redis.client() as client:
        append_transitions(client, ["gapped"])
        reader.wait_for(1)
    key = f"sekring:{{{_partition('gapped'):02d}}}:events"
    with redis.client() as client:
        append_transitions(client, ["gapped"] * 9)
        client.xtrim(key, maxlen=3, approximate=False)
        oldest = client.xrange(key, count=1)[0][0].decode()

    with EventReader(replicas[1], reader.last_id) as resumed:
        found = resumed.wait_for(3)
        (gap,) = resumed.gaps
        assert gap["partition"] == _partition("gapped")
        assert gap["until_ms"] == int(oldest.partition("-")[0])
        assert gap["after_ms"] <= gap["until_ms"]
        assert resumed.events[0].event == "gap"
        assert found[0]["id"].endswith(oldest)
        # Once is enough.
        again = resumed.events[0].id
    with EventReader(replicas[1], again) as later:
        assert len(later.wait_for(3)) == 3
        assert later.gaps == []


def test_a_place_that_the_stream_still_reaches_is_no_gap(
    redis: RedisServer, replicas: list[ServiceProcess]
) -> None:
    with EventReader(replicas[0]) as reader, redis.client() as client:
        append_transitions(client, ["full"] * 20)
        key = f"sekring:{{{_partition('full'):02d}}}:events"
        reader.wait_for(20)
        client.xtrim(key, maxlen=10, approximate=False)
        place = next(event.id for event in reader.events[12:])

    with EventReader(replicas[0], place) as resumed:
        assert len(resumed.wait_for(7)) == 7
        assert resumed.gaps == []


def test_a_place_of_last_week_gets_what_there_is(
    redis: RedisServer, replicas: list[ServiceProcess]
) -> None:
    place = Cursor(int(time.time() * 1000) - 7 * 86_400_000, {3: Place(1, 1)}).encode()
    with redis.client() as client:
        there = transition_ids(client)

    with EventReader(replicas[0], place) as reader:
        reader.wait_for(len(there))
        assert {item["id"] for item in reader.transitions} == there


# ------------------------------------------------------------------------- faults, slow, stop


def test_without_redis_readers_stay_and_go_on_without_a_gap(tmp_path: Path) -> None:
    options = ("--appendonly", "yes", "--appendfsync", "always")
    with (
        RedisServer(tmp_path / "redis", *options) as server,
        ServiceProcess(server.url, events_heartbeat_ms=100) as service,
        EventReader(service) as reader,
    ):
        trip(service, "before")
        reader.wait_for(1)
        server.stop()
        beats = len(reader.comments)
        wait_until(lambda: len(reader.comments) > beats + 10, "heartbeats without Redis")
        # One who comes now is let in as well, and told of what follows.
        late = EventReader(service, reader.last_id)
        late._thread.start()
        wait_until(lambda: "heartbeat" in late.comments, "the late one")
        server.start()
        with server.client() as client:
            wait_until(lambda: not client.info("persistence")["loading"], "Redis")
            append_transitions(client, ["after"])
        found = reader.wait_for(2)
        late.wait_for(1)
        late.cut()
        assert not reader.ended.is_set()
        assert [item["instance_id"] for item in found] == ["before", "after"]
        assert [item["instance_id"] for item in late.transitions] == ["after"]
        assert reader.gaps == late.gaps == []


def test_a_reader_that_does_not_read_is_cut_off_and_resumes(
    redis: RedisServer, replicas: list[ServiceProcess]
) -> None:
    service = replicas[0]
    names = [f"slow-{number}" for number in range(1_000)]
    with EventReader(service) as reader, redis.client() as client:
        place = reader.last_id
    with (
        socket.create_connection(("127.0.0.1", service.port)) as slow,
        redis.client() as client,
        EventReader(service) as quick,
    ):
        slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
        slow.sendall(raw_request("GET", "/v1/events", headers={"Last-Event-ID": place or ""}))
        wait_until(lambda: listeners(service) == 2, "the slow reader")
        written = []
        # More than may wait here and, as large as these are, on the way.
        for _ in range(12):
            written += append_transitions(client, names, reason="x" * 1_000)
            quick.wait_for(len(written))
        wait_until(lambda: "its reader is too slow" in service.log_text(), "the cut")
        wait_until(lambda: listeners(service) == 1, "the slow reader's end")

    with EventReader(replicas[1], place) as resumed:
        resumed.wait_for(len(written), seconds=60)
    assert {item["id"] for item in resumed.transitions} == set(written)
    assert len(resumed.transitions) == len(written)


def listeners(service: ServiceProcess) -> int:
    """Return how many streams are open, as the service itself counts them."""
    log = service.log_text()
    return log.count('"event stream opened"') - log.count('"event stream ended"')


def test_who_goes_away_is_forgotten(replicas: list[ServiceProcess]) -> None:
    service = replicas[0]
    wait_until(lambda: listeners(service) == 0, "earlier readers to be gone")
    readers = [EventReader(service) for _ in range(10)]
    for reader in readers:
        reader.__enter__()
    assert listeners(service) == 10
    for reader in readers:
        reader.cut()

    wait_until(lambda: listeners(service) == 0, "the service to notice")
    ended = [line for line in service.log_text().splitlines() if '"event stream ended"' in line]
    assert '"listeners": 0' in ended[-1]


@pytest.mark.parametrize("drain_ms", [0, 500])
def test_open_streams_do_not_hold_up_a_stop(redis: RedisServer, drain_ms: int) -> None:
    def stop_s(readers: int) -> float:
        service = ServiceProcess(redis.url, drain_ms=drain_ms)
        service.start()
        opened = [EventReader(service).__enter__() for _ in range(readers)]
        began = time.monotonic()
        service.stop()
        took = time.monotonic() - began
        for reader in opened:
            assert reader.ended.wait(20)
            reader.cut()
        return took

    alone = stop_s(0)
    # Without care it would take the 10 s after which a server process is killed.
    assert stop_s(5) < alone + 4


def test_a_reader_who_comes_while_it_drains_is_sent_away_at_once(redis: RedisServer) -> None:
    with ServiceProcess(redis.url, drain_ms=5_000) as service, EventReader(service) as reader:
        service._process.terminate()  # type: ignore[union-attr]
        assert reader.ended.wait(3), "the stream was not ended by the drain"
        answer = httpx.get(f"{service.url}/v1/events", timeout=3)

        # Not an error: a browser would not come back after one.
        assert answer.status_code == 200
        assert answer.text.startswith("retry: ")
