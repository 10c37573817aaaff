"""The measurement of guarded calls beside the peers runs, and tells of all of them."""

from loadtest.guarded import measure


def test_every_candidate_is_measured_and_its_calls_are_taken() -> None:
    found = measure(0.05, 1)

    print(f"\n{found.calls_per_s}")  # noqa: T201 - shown with -s
    assert found.calls_per_s["success"].keys() >= {"sekring", "pybreaker", "purgatory"}
    assert found.calls_per_s["failure"].keys() >= {"sekring", "pybreaker", "purgatory"}
    assert found.times_pybreaker["success"]["pybreaker"] == 1
    for what, rates in found.calls_per_s.items():
        for name, rate in rates.items():
            assert 0 < found.taken_per_s[what][name] <= rate + 1
