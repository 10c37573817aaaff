"""The load tests run, each on tiny sizes, and measure what they say; no figure is judged here."""

import os
import shutil
from pathlib import Path
from xml.etree import ElementTree as ET

import httpx
import msgspec
import pytest

from loadtest import bench, scale, soak, stage
from loadtest.__main__ import main
from loadtest.clones import Clones, name_of
from loadtest.figures import Ratio
from loadtest.machine import Cores
from sekring.store.keys import Keyspace

#: Debian's packages by their programs.
PROGRAMS = {"wrk": "wrk", "redis-benchmark": "redis-tools"}

LOADS = {
    "noop_permit_open", "permit_open", "noop_permit_open_body", "permit_open_body",
    "noop_permit_closed", "permit_closed", "noop_report",
    "report", "noop_paced", "permit_paced", "batch", "batch_fresh", "permit_two_processes",
    "redis_benchmark",
}  # fmt: skip

FAILURE = {"outcome": "failure", "kind": "websocket"}


@pytest.fixture
def programs() -> None:
    """What sends load; without it the test is skipped, except in CI."""
    for name, package in PROGRAMS.items():
        if shutil.which(name) is None:
            message = f"{name} is missing (Debian: apt-get install {package})"
            if os.environ.get("CI") == "true":
                pytest.fail(message)
            pytest.skip(message)


@pytest.mark.usefixtures("programs")
def test_the_bench_sends_every_load_and_divides_within_a_round(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["bench", "--quick", "--results", str(tmp_path)]) == 0

    found = msgspec.json.decode((tmp_path / "bench.json").read_bytes(), type=bench.Bench)
    assert found.costs.keys() == LOADS
    assert all(cost.per_s > 0 for cost in found.costs.values())
    # Each registers an attempt, or counts a failure: in Redis.
    assert found.costs["report"].redis_us > 0
    assert found.costs["batch"].server_us > 0
    for name in ("permit_open", "permit_open_body", "permit_closed", "report"):
        divided = found.costs[name].per_s / found.costs[f"noop_{name}"].per_s
        assert found.ratios[name].median == pytest.approx(divided, rel=0.01)
    assert "permit, open, from the view" in capsys.readouterr().out
    assert ET.parse(tmp_path / "bench.svg").getroot().tag.endswith("svg")  # noqa: S314 - our own
    rows = msgspec.json.decode((tmp_path / "table.json").read_bytes())["rows"]
    assert rows["report"]["measured"]["median"] == found.ratios["report"].median

    assert bench.check(found, found) == 0
    better = {name: Ratio.of([one.median * 10]) for name, one in found.ratios.items()}
    assert bench.check(msgspec.structs.replace(found, ratios=better), found) == 1
    assert "got worse" in capsys.readouterr().out


def test_a_check_without_stored_figures_says_so(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert bench.main(["--check", "--results", str(tmp_path)]) == 2

    assert "bench.json" in capsys.readouterr().err


def test_a_fleet_of_copies_is_like_one_that_has_lived() -> None:
    fleet = Clones(known=300, failing=30, opened=10)
    keyspace = Keyspace()
    with stage.redis_server(Cores()) as server, server.client() as client:
        fleet.settle_in(server)
        for first, last in ((0, 9), (10, 29), (30, 299)):
            real, copied = keyspace.whole(name_of(first)), keyspace.whole(name_of(last))
            for one, other in zip(real, copied, strict=True):
                assert client.dump(one) == client.dump(other)
                assert client.exists(one) == 0 or (
                    client.object("encoding", one) == client.object("encoding", other)
                )
                assert client.ttl(one) == pytest.approx(client.ttl(other), abs=60)
        with stage.service(server.url, Cores()) as service:
            fleet.check(service)
            with httpx.Client(base_url=service.url, headers=service.headers, timeout=20) as http:
                page = http.get("/v1/instances", params={"state": "open", "limit": "50"}).json()
                opened = [one["instance_id"] for one in page["instances"]]
                counts = http.post("/v1/resets", json={"state": "open"}).json()
                refused = http.post(f"/v1/instances/{name_of(29)}/outcomes", json=FAILURE).json()

    assert sorted(opened) == [name_of(number) for number in range(10)]
    assert counts["reset"] == 10
    assert refused["tripped"], "the fifteenth failure of a copy with fourteen"


def test_a_size_is_measured(tmp_path: Path) -> None:
    assert scale.run([200, 1_000], tmp_path) == {}  # sizes without a target

    found = msgspec.json.decode((tmp_path / "scale.json").read_bytes(), type=scale.Scale)
    assert [size.known for size in found.sizes] == [200, 1_000]
    assert [size.failing for size in found.sizes] == [2, 10]
    for size in found.sizes:
        assert size.health_ms > 0
        assert size.page_ms.keys() == scale.FILTERS.keys()
        assert size.bytes_each_failing > size.bytes_each > 0
    targets = [msgspec.structs.replace(found.sizes[0], known=known) for known in (10**3, 10**6)]
    figures = scale.ratios(msgspec.structs.replace(found, sizes=targets))
    assert figures["health"].median == 1
    assert figures["memory_1e6"].median == pytest.approx(
        found.sizes[0].bytes_each_failing, rel=0.01
    )


def test_a_soak_sees_everything_and_every_call_is_answered() -> None:
    found = soak.measure(3)

    assert found.calls > 0
    assert found.errors == []
    assert {"service memory, MB", "Redis keys", "reports waiting"} <= found.courses.keys()
    for course in found.courses.values():
        assert len(course.values) == len(found.times) > 1
