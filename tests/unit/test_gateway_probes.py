"""What a gateway's probes answer, whatever its condition."""

import pytest
from litestar.testing import TestClient
from msgspec import Struct

from sekring.gateway.telemetry.probes import probes


class Condition(Struct, frozen=True):
    is_turning: bool = True
    introduced: bool = True
    service_reachable: bool = True
    draining: bool = False


@pytest.mark.parametrize(
    ("condition", "live", "ready"),
    [
        (Condition(), 200, 200),
        (Condition(introduced=False), 200, 503),
        (Condition(service_reachable=False), 200, 503),
        (Condition(draining=True), 200, 503),
        (Condition(is_turning=False), 503, 200),
    ],
)
def test_a_gateway_that_is_stuck_does_not_live_and_is_ready_if_the_service_has_it(
    condition: Condition, live: int, ready: int
) -> None:
    with TestClient(probes(condition, list)) as client:
        assert client.get("/live").status_code == live
        assert client.get("/ready").status_code == ready
        assert client.get("/metrics").status_code == 200
