"""Several server processes of one replica: whichever is scraped answers for all."""

import itertools
import os
import signal
from collections import defaultdict
from collections.abc import Iterator
from http.client import HTTPException
from pathlib import Path

import httpx
import pytest

from tests.replicas import Replica
from tests.scrapes import Scrape, scrape
from tests.servers import RedisServer, wait_until

PERMITS = "sekring_permits_total"


@pytest.fixture(scope="module")
def replica(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Replica]:
    with (
        RedisServer(tmp_path_factory.mktemp("redis")) as redis,
        Replica(redis.url, partitions=4, workers=2) as replica,
    ):
        wait_until(lambda: workers(scrape(replica)) == {"1", "2"}, "both to be there")
        yield replica


def workers(told: Scrape) -> set[str]:
    return {sample.labels["worker"] for sample in told.samples("process_start_time_seconds")}


def began(told: Scrape) -> dict[str, float]:
    return {
        sample.labels["worker"]: sample.value
        for sample in told.samples("process_start_time_seconds")
    }


def permitted(told: Scrape, worker: str) -> float:
    return told.value(PERMITS, worker=worker) or 0


def spread(replica: Replica, requests: int) -> None:
    """Send each request on a connection of its own, which the kernel gives to either process."""
    for number in range(requests):
        url = f"http://127.0.0.1:{replica.port}/v1/instances/spread-{number}/attempts"
        httpx.post(url, json={}, timeout=20).raise_for_status()


def test_the_figures_of_all_are_told_by_each(replica: Replica) -> None:
    before = scrape(replica).value(PERMITS) or 0
    spread(replica, 30)

    for _ in range(10):  # by which of them?
        told = scrape(replica)
        assert workers(told) == {"1", "2"}
        assert told.value(PERMITS) == before + 30
        assert all(permitted(told, worker) > 0 for worker in workers(told))


def test_a_process_that_takes_anothers_place_goes_on_with_its_series(replica: Replica) -> None:
    spread(replica, 30)
    before = scrape(replica)

    victim = _children(replica.pid)[0]
    os.kill(victim, signal.SIGKILL)
    wait_until(lambda: victim not in _children(replica.pid), "the process to be replaced")
    seen: dict[str, list[tuple[float, float]]] = defaultdict(list)

    def is_whole() -> bool:
        try:
            told = scrape(replica)
        except (OSError, HTTPException):
            return False  # it was just on its way to the one that died
        for worker, at in began(told).items():
            seen[worker].append((at, permitted(told, worker)))
        return workers(told) == {"1", "2"} and began(told) != began(before)

    wait_until(is_whole, "both to be there again", seconds=30)
    assert set(seen) == {"1", "2"}, "no series is new, so nothing is counted twice"
    for worker, series in seen.items():
        for (at, count), (later_at, later) in itertools.pairwise(series):
            assert later >= count or later_at > at, f"{worker} goes backwards without a restart"
    survivors = [name for name, at in began(scrape(replica)).items() if began(before)[name] == at]
    assert len(survivors) == 1
    assert permitted(scrape(replica), survivors[0]) == permitted(before, survivors[0])


def _children(supervisor: int) -> list[int]:
    """Return the server processes, without the helper of Python's own."""
    children = Path(f"/proc/{supervisor}/task/{supervisor}/children").read_text()
    return [pid for pid in map(int, children.split()) if "spawn_main" in _command_line(pid)]


def _command_line(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_text()
    except OSError:
        return ""
