"""What one replica has tripped or reset every other goes by, within the time that is promised."""

from loadtest.staleness import STALENESS_MS, measure

TRIPS = {False: 50, True: 1_000}


def test_a_trip_and_a_reset_are_everywhere_within_the_promise(*, full: bool) -> None:
    found = measure(TRIPS[full])

    print(f"\ntrips {found.trips}\nresets {found.resets}")  # noqa: T201 - shown with -s
    assert found.trips.count == found.resets.count == TRIPS[full]
    assert 0 < found.trips.max_ms <= STALENESS_MS
    assert 0 < found.resets.max_ms <= STALENESS_MS
