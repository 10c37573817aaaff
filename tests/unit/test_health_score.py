"""The fleet's health as one number."""

import pytest

from sekring.model import health_score


@pytest.mark.parametrize(
    ("breakers_open", "retries", "failures", "instances", "score"),
    [
        pytest.param(2, 15, 20, 2, 45, id="the guide's example"),
        pytest.param(0, 0, 0, 0, 100, id="nobody there"),
        pytest.param(0, 0, 0, 100, 100, id="all is well"),
        pytest.param(200, 1_500, 2_000, 200, 45, id="a hundred times the guide's example"),
        pytest.param(200_000, 1_500_000, 2_000_000, 200_000, 45, id="a hundred thousand times"),
        pytest.param(1, 0, 15, 1, 50, id="one instance, just tripped"),
        pytest.param(1, 0, 15, 1_000, 100, id="one of a thousand, just tripped"),
        pytest.param(1, 14, 15, 1, 22, id="its retries count too"),
        pytest.param(10, 100, 150, 10, 30, id="all open"),
        pytest.param(5, 500, 500, 5, 0, id="never below 0"),
        pytest.param(3, 0, 0, 0, 40, id="no instances, and yet some open"),
        pytest.param(0, 1, 0, 4, 100, id="a half rounds to the even neighbour: 99.5"),
        pytest.param(0, 3, 0, 4, 98, id="a half rounds to the even neighbour: 98.5"),
    ],
)
def test_the_health_score(
    breakers_open: int, retries: int, failures: int, instances: int, score: int
) -> None:
    assert (
        health_score(
            breakers_open=breakers_open, retries=retries, failures=failures, instances=instances
        )
        == score
    )
