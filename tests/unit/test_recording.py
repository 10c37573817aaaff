"""The figures that are made of a recorded load."""

from tests.recording import Call, Kind, Latency, Recording


def call(started_s: float, ended_s: float, *, status: int | None = 200, **more: object) -> Call:
    given = {"kind": Kind.REPORT, "instance_id": "628", "report_id": "r", "port": 1, "answer": {}}
    error = "" if status else "TimeoutError"
    return Call(**given | more, started_s=started_s, ended_s=ended_s, status=status, error=error)  # type: ignore[arg-type]


def test_percentiles_are_times_that_were_measured() -> None:
    latency = Latency.of([float(ms) for ms in range(200, 0, -1)])
    assert (latency.calls, latency.p50_ms, latency.p99_ms, latency.max_ms) == (200, 100, 198, 200)
    assert Latency.of([7.0]) == Latency(1, 7, 7, 7)
    assert Latency.of([]) == Latency(0, 0, 0, 0)


def test_a_span_holds_what_began_and_ended_in_it() -> None:
    before, across, inside, after = call(0, 1), call(1, 3), call(3, 4), call(9, 10)
    recording = Recording((before, across, inside, after))
    assert recording.between(2, 5).calls == (inside,)
    assert recording.between(1, 5).calls == (across, inside)


def test_what_was_not_answered_may_count_or_not() -> None:
    recording = Recording(
        (
            call(0, 1, report_id="taken"),
            call(0, 1, report_id="cut", status=None),
            call(0, 1, report_id="refused", status=503),
            call(0, 1, report_id="trip", kind=Kind.TRIP),
            call(0, 1, report_id=None, kind=Kind.PERMIT, answer={"degraded": True}),
        )
    )
    assert recording.acknowledged() == {"628": {"taken"}}
    assert recording.unanswered() == {"628": {"cut", "refused"}}
    assert recording.statuses == {200: 3, 503: 1}
    assert recording.errors == {"TimeoutError": 1}
    assert [one.kind for one in recording.degraded.calls] == [Kind.PERMIT]
