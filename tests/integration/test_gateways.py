"""Three gateways, and what may befall them: no session is ever connected twice, all come back.

The scripted driver writes down every connection; `tests/liveness.py` judges the log. The service is
real, the gateways and their workers are real processes.
"""

import signal
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import httpx
import pytest

from tests.gateways import GatewayProcess, sessions, wish
from tests.liveness import Frozen, courses, longest_gap_s, read, violations
from tests.servers import RedisServer, wait_until
from tests.serving import ServiceProcess

#: The pace that the service recommends, between any two attempts.
PACE_S = 1.0
POLICY = {"backoff": {"base_ms": 1_000, "factor": 1, "cap_ms": 1_000, "jitter": 0}}

#: A session is back a lease's time and this after its gateway died, in seconds. Beside other tests
#: it takes longer, which is not what is tested.
BACK_S = 5.0
SLOWNESS = {False: 4.0, True: 1.0}

#: How long the failures of those below take that fail three times, at that pace, in seconds: each
#: wait is longer by chance, and a worker is started for each.
FAILING_S = 3 * (1.1 * PACE_S + 0.3)

#: A tenth fails three times under each lease before it connects, some crash, all others are well.
SCENARIO = """
[[rule]]
instances = "s*7"
[[rule.connect]]
times = 3
steps = [{ do = "wait", ms = 20 }, { do = "fail", kind = "dns", detail = "no such host" }]
[[rule.connect]]
steps = [{ do = "wait", ms = 50 }, { do = "connect" }, { do = "stay" }]

[[rule]]
instances = "s*33"
[[rule.connect]]
steps = [{ do = "connect" }, { do = "wait", ms = 500 }, { do = "crash" }]
[[rule.connect]]
steps = [{ do = "wait", ms = 50 }, { do = "connect" }, { do = "stay" }]
"""


class Fleet:
    """A service, three gateways on it, and sessions that are all connected."""

    def __init__(self, redis_url: str, folder: Path, *, full: bool) -> None:
        (folder / "scenario.toml").write_text(SCENARIO)
        self.log = folder / "connections.jsonl"
        self.ttl_s = 15 if full else 6
        self.back_s = (self.ttl_s + BACK_S) * SLOWNESS[full]
        self.service = ServiceProcess(redis_url, lease_ttl_ms=self.ttl_s * 1000)
        self.instances = [f"s{number:03}" for number in range(300 if full else 60)]
        self.gateways = [
            GatewayProcess(
                name,
                self.service.url,
                folder,
                gateway_capacity=2 * len(self.instances),
                # One by default; 300 processes are more than a test needs.
                sessions_per_worker=5,
            )
            for name in ("a", "b", "c")
        ]
        #: How long a gateway is frozen, at least.
        self.freeze_s = 40 if full else 0
        self.frozen: list[Frozen] = []

    def start(self, stack: ExitStack) -> None:
        stack.enter_context(self.service)
        policy = httpx.put(f"{self.service.url}/v1/policy", json=POLICY)
        policy.raise_for_status()
        wish(self.service.url, self.instances)
        for gateway in self.gateways:
            stack.callback(gateway.stop)
            gateway.start(wait=False)
        self.wait_until_connected(*(gateway.name for gateway in self.gateways))

    def wait_until_connected(self, *owners: str, seconds: float = 120) -> None:
        """Wait until every session is connected, and owned by one of `owners`."""

        def all_are() -> bool:
            found = sessions(self.service.url).values()
            return len(found) == len(self.instances) and all(
                one["phase"] == "connected" and one["gateway"] in owners for one in found
            )

        wait_until(all_are, f"all sessions connected by {owners}", seconds)

    def wait_since(self, frozen_s: float) -> None:
        """Wait until a gateway was frozen for long enough."""
        time.sleep(max(0.0, frozen_s + self.freeze_s - time.monotonic()))

    def held(self) -> dict[str, int]:
        """Return how many sessions each gateway owns."""
        owners = [one["gateway"] for one in sessions(self.service.url).values()]
        return {gateway.name: owners.count(gateway.name) for gateway in self.gateways}

    def check(self) -> None:
        """Judge the log as a whole, and whether the service counts the same connections."""
        found = violations(read(self.log), pace_s=PACE_S, frozen=self.frozen)
        assert not found, "\n".join(found[:20])
        # One may just be on its way from one gateway to another.
        wait_until(lambda: self.counted() == len(self.instances), "the count to be right", 30)

    def counted(self) -> int:
        """Return how many connections the service knows."""
        count: int = httpx.get(f"{self.service.url}/health").json()["data"]["active_connections"]
        return count

    def check_back(self, since_s: float, longest_s: float) -> None:
        """Every session was connected again after at most `longest_s` (and its failures)."""
        until_s = time.monotonic()
        gaps = {
            instance: longest_gap_s(history, since_s, until_s)
            for instance, history in courses(read(self.log)).items()
        }
        assert len(gaps) == len(self.instances)
        for instance in gaps:
            if instance.endswith("7"):
                gaps[instance] -= FAILING_S
        worst = max(gaps, key=lambda instance: gaps[instance])
        assert gaps[worst] <= longest_s, f"{worst} was away for {gaps[worst]:.1f} s"


@pytest.fixture
def fleet(redis_server: RedisServer, tmp_path: Path, *, full: bool) -> Iterator[Fleet]:
    fleet = Fleet(redis_server.url, tmp_path, full=full)
    with ExitStack() as stack:
        fleet.start(stack)
        yield fleet


def test_sessions_are_spread_and_a_killed_gateways_are_taken_over(fleet: Fleet) -> None:
    a, *_ = fleet.gateways
    share = len(fleet.instances) // 3
    assert max(fleet.held().values()) <= share * 1.1 + 2, fleet.held()

    killed_s = time.monotonic()
    a.kill()

    fleet.wait_until_connected("b", "c")
    fleet.check()
    fleet.check_back(killed_s, fleet.back_s)


def test_a_gateway_that_is_told_to_stop_hands_over_at_once(fleet: Fleet) -> None:
    """Others connect its sessions long before its leases would have ended."""
    a, *_ = fleet.gateways
    told_s = time.monotonic()

    assert a.stop() == 0

    assert fleet.held()["a"] == 0
    left = [line for line in read(fleet.log) if line.event == "disconnect" and line.at_s > told_s]
    assert len(left) >= len(fleet.instances) // 3 - 2
    fleet.wait_until_connected("b", "c")
    fleet.check()
    fleet.check_back(told_s, fleet.back_s)


def test_a_frozen_supervisor_leaves_no_connection_beyond_its_leases(fleet: Fleet) -> None:
    """Its workers live on, and end their connections by themselves; thawed, it begins anew."""
    a, *_ = fleet.gateways
    frozen_s = time.monotonic()

    a.signal(signal.SIGSTOP)
    fleet.wait_until_connected("b", "c")
    fleet.wait_since(frozen_s)
    a.signal(signal.SIGCONT)

    fleet.check_back(frozen_s, fleet.back_s)
    wait_until(lambda: fleet.held()["a"] > 0, "the thawed gateway owns sessions again", 60)
    fleet.wait_until_connected("a", "b", "c")
    fleet.check()


def test_a_gateway_frozen_with_its_workers_ends_all_when_it_thaws(fleet: Fleet) -> None:
    """No more can be claimed: frozen connections end a moment after the thaw, not before.

    Until then their sockets are open, with nobody behind them; to WhatsApp, the new owner's
    connection replaces them.
    """
    a, *_ = fleet.gateways
    workers = a.signal(signal.SIGSTOP, workers=True)
    assert workers
    frozen_s = time.monotonic()

    fleet.wait_until_connected("b", "c")
    fleet.wait_since(frozen_s)
    fleet.frozen.append(Frozen(pids=workers, from_s=frozen_s, to_s=time.monotonic()))
    a.signal(signal.SIGCONT, workers=True)

    wait_until(lambda: fleet.held()["a"] > 0, "the thawed gateway owns sessions again", 60)
    fleet.wait_until_connected("a", "b", "c")
    assert not set(a.worker_pids) & set(workers), "a worker has outlived its leases"
    fleet.check()
    fleet.check_back(frozen_s, fleet.back_s)
