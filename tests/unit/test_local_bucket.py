"""The bucket of a replica that is on its own."""

import pytest

from sekring.fleetguard import LocalBucket


def taken(bucket: LocalBucket, moments: range) -> int:
    return sum(bucket.take(now_ms) == 0 for now_ms in moments)


def test_it_gives_its_burst_at_once_and_then_its_rate() -> None:
    bucket = LocalBucket(rate_per_s=20, burst=5)

    assert taken(bucket, range(1_000, 1_001)) == 1
    assert taken(LocalBucket(20, 5), range(1_000)) == 5 + 19
    assert [bucket.take(1_000) for _ in range(6)] == [0, 0, 0, 0, 50, 50]


def test_it_says_when_there_will_be_a_permit() -> None:
    bucket = LocalBucket(rate_per_s=4, burst=1)
    assert bucket.take(0) == 0

    assert bucket.take(100) == 150
    assert bucket.take(249) == 1
    assert bucket.take(250) == 0


def test_a_pause_fills_it_up_to_the_burst_and_no_further() -> None:
    bucket = LocalBucket(rate_per_s=10, burst=3)
    taken(bucket, range(1_000))

    assert [bucket.take(3_600_000) == 0 for _ in range(4)] == [True, True, True, False]


def test_a_clock_that_steps_back_gives_nothing_for_nothing() -> None:
    bucket = LocalBucket(rate_per_s=10, burst=1)
    assert bucket.take(10_000) == 0

    assert bucket.take(9_000) == pytest.approx(1_100)
