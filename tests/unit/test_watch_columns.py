"""The list of `sekring watch` as text: the clock, and columns that fit every terminal."""

import pytest
from msgspec import structs

from sekring.cli.watching.columns import cells, columns
from sekring.cli.watching.row import Row, clock
from sekring.cli.watching.view import Chosen, Order, View
from sekring.model import Snapshot, State

OPEN = Snapshot(
    instance_id="6281234567890", known=True, state=State.OPEN, epoch=1, failures=15,
    failure_threshold=15, retry_attempts=0, suppressed=0, cause="failures", remaining_ms=252_000,
    resets_at_ms=352_000, connection="", probes_in_flight=0, probe_successes=0,
    last_failure_at_ms=97_000, last_failure_kind="websocket", recent_failures=(), now_ms=100_000,
)  # fmt: skip
LONG = structs.replace(OPEN, instance_id="6" * 128, cause="operator", reason="x" * 500)


def shown(snapshot: Snapshot, width: int, *, after_s: float = 0) -> list[str]:
    row = Row(snapshot, 1_000.0)
    return [cell.plain.strip() for cell in cells(row, columns(width, [row]), 1_000.0 + after_s)]


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (-5, "0:00"),
        (0, "0:00"),
        (9, "0:09"),
        (252, "4:12"),
        (3_599, "59:59"),
        (3_600, "1:00:00"),
        (86_399, "23:59:59"),
        (86_400, "1 d 0 h"),
        (266_400, "3 d 2 h"),
    ],
)
def test_the_clock(seconds: float, words: str) -> None:
    assert clock(seconds) == words


def test_a_wide_terminal_shows_all() -> None:
    assert shown(OPEN, 120) == [
        "6281234567890",
        "open",
        "4:12",
        "15/15",
        "failures",
        "websocket 3 s ago",
    ]


def test_time_goes_on() -> None:
    _, _, left, _, _, last = shown(OPEN, 120, after_s=60)

    assert (left, last) == ("3:12", "websocket 1 min ago")


def test_a_narrower_one_leaves_out_when_and_then_the_last_failure() -> None:
    assert shown(OPEN, 80)[4:] == ["failures", "websocket 3 s ago"]
    assert shown(structs.replace(OPEN, instance_id="6" * 24), 80)[4:] == ["failures", "websocket"]
    assert shown(OPEN, 60) == ["6281234567890", "open", "4:12", "15/15", "failures"]


@pytest.mark.parametrize("width", range(58, 240, 7))
@pytest.mark.parametrize("snapshot", [OPEN, LONG], ids=["usual", "long"])
def test_the_columns_fit_the_terminal(snapshot: Snapshot, width: int) -> None:
    laid_out = columns(width, [Row(snapshot, 0.0)])

    assert sum(column.width + 2 for column in laid_out) <= width
    for column, cell in zip(laid_out, cells(Row(snapshot, 0.0), laid_out, 1.0), strict=True):
        assert cell.cell_len <= column.width


@pytest.mark.parametrize("width", [0, 1, 20, 40])
def test_no_terminal_is_too_narrow_to_go_on(width: int) -> None:
    assert shown(LONG, width)


def test_the_order_goes_round() -> None:
    order = Order.TIME_LEFT
    seen = []
    for _ in Order:
        seen.append(order)
        order = order.next

    assert (set(seen), order) == (set(Order), Order.TIME_LEFT)


def test_what_does_not_end_by_time_comes_last() -> None:
    forced = structs.replace(
        OPEN, instance_id="1", state=State.FORCED_OPEN, remaining_ms=None, resets_at_ms=None
    )

    rows = View().sorted([Row(forced, 0.0), Row(OPEN, 0.0)])

    assert [row.snapshot.instance_id for row in rows] == ["6281234567890", "1"]


@pytest.mark.parametrize(
    ("chosen", "states"),
    [
        (Chosen.NOT_CLOSED, {State.OPEN, State.FORCED_OPEN, State.HALF_OPEN}),
        (Chosen.DISABLED, {State.DISABLED}),
        (Chosen.ALL, set(State)),
    ],
)
def test_a_view_shows_its_states_and_its_ids(chosen: Chosen, states: set[State]) -> None:
    rows = [Row(structs.replace(OPEN, state=state), 0.0) for state in State]
    others = [Row(structs.replace(row.snapshot, instance_id="7"), 0.0) for row in rows]
    view = View(chosen, "628")

    assert {row.snapshot.state for row in rows if view.shows(row)} == states
    assert not any(map(view.shows, others))
