"""The measurement beside the peers runs, tells of all of them, and knows who can count."""

import pytest

from loadtest import guarded, peers


@pytest.fixture(scope="module")
def rates() -> guarded.Measurement:
    return guarded.measure(0.05, 1)


def test_every_candidate_is_measured_and_its_calls_are_taken(rates: guarded.Measurement) -> None:
    everybody = {"sekring", "pybreaker", "purgatory", "interlock-cb"}

    assert rates.calls_per_s["success"].keys() >= everybody
    assert rates.calls_per_s["failure"].keys() >= everybody
    assert rates.times_pybreaker["success"]["pybreaker"] == 1
    for what, calls in rates.calls_per_s.items():
        for name, rate in calls.items():
            assert 0 < rates.taken_per_s[what][name] <= rate + 1


def test_sekring_counts_what_eight_replicas_report_at_once(rates: guarded.Measurement) -> None:
    found = peers.measure(rates)

    assert found.failures_counted["sekring"] == found.failures_sent == 201
    assert found.failures_counted["interlock-cb"] == 0
    # As many as their code has; looks at the server from elsewhere may add a few.
    assert 2 <= found.round_trips["pybreaker"].success < 2.5
    assert 3 <= found.round_trips["pybreaker"].failure < 3.5
    assert found.round_trips["sekring"].failure < 1
    assert set(found.left_out) == {"sony/gobreaker v2"}
