"""The checker of connections finds what it is there to find."""

from pathlib import Path

import msgspec

from tests.liveness import THAW_S, Frozen, Line, courses, longest_gap_s, read, violations


def line(event: str, at_s: float, token: int = 1, number: int = 0, pid: int = 10) -> Line:
    return Line(event, "a", token, number, pid, at_s)


def connection(
    began_s: float, ended_s: float | None, token: int = 1, number: int = 0, pid: int = 10
) -> list[Line]:
    lines = [line("connect", began_s, token, number, pid)]
    lines.append(line("connected", began_s + 0.1, token, number, pid))
    if ended_s is not None:
        lines.append(line("disconnect", ended_s, token, number, pid))
    return lines


def test_one_connection_after_the_other_is_well() -> None:
    assert violations([*connection(1, 2), *connection(3, 4, token=2)]) == []


def test_two_at_an_instant_are_found() -> None:
    (found,) = violations([*connection(1, 3.001), *connection(3, 4, token=2)])

    assert found.startswith("connected twice: a/1/0")


def test_one_that_never_ended_is_live_for_ever() -> None:
    (found,) = violations([*connection(1, None), *connection(300, 400, token=2)])

    assert "still" in found


def test_a_third_is_compared_with_all_before() -> None:
    lines = [*connection(1, 9), *connection(10, 11, token=2), *connection(8, 12, token=3)]

    assert len(violations(lines)) == 3  # twice at a time, with each; and 2 began after 3


def test_a_second_word_about_an_end_does_not_count() -> None:
    lines = [*connection(1, 2), line("disconnect", 5), *connection(3, 4, token=2)]

    assert violations(lines) == []


def test_a_token_that_goes_backwards_is_found() -> None:
    (found,) = violations([*connection(1, 2, token=2), *connection(3, 4, token=1)])

    assert found.startswith("token went backwards")


def test_an_attempt_before_its_time_is_found() -> None:
    lines = [line("connect", 1), line("disconnect", 1.1), *connection(1.9, None, number=1)]

    assert violations(lines, pace_s=0.8) == []
    (found,) = violations(lines, pace_s=1.0)
    assert found.startswith("faster than 1.0 s")


def test_a_connected_session_that_moves_need_not_wait() -> None:
    assert violations([*connection(1, 2), *connection(2.1, 3, token=2)], pace_s=5.0) == []


def test_what_is_frozen_is_dead_and_has_a_moment_after_the_thaw() -> None:
    frozen = [Frozen(pids=[10], from_s=2, to_s=20)]
    successor = connection(10, None, token=2, pid=11)

    assert violations([*connection(1, 20.1), *successor])
    assert violations([*connection(1, 20.1), *successor], frozen=frozen) == []
    assert violations([*connection(1, 20.1 + THAW_S), *successor], frozen=frozen)
    assert violations([*connection(1, None), *successor], frozen=frozen)


def test_freezing_one_process_excuses_no_other() -> None:
    frozen = [Frozen(pids=[12], from_s=2, to_s=20)]
    lines = [*connection(1, 20.1), *connection(10, None, token=2, pid=11)]

    assert violations(lines, frozen=frozen)


def test_the_longest_gap_is_told() -> None:
    (history,) = courses([*connection(1, 4), *connection(6, None, token=2)]).values()

    assert round(longest_gap_s(history, 3, 10), 3) == 2.1
    assert round(longest_gap_s(history, 7, 10), 3) == 0
    assert round(longest_gap_s(history[:1], 3, 10), 3) == 6


def test_a_log_is_read_in_the_order_of_its_times(tmp_path: Path) -> None:
    path = tmp_path / "log"
    late, early = line("disconnect", 2), line("connect", 1)
    path.write_bytes(b"".join(msgspec.json.encode(one) + b"\n" for one in (late, early)))

    assert read(path) == [early, late]
