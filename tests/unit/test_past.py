"""The last hour, put in order from its records."""

from sekring.past import Past
from sekring.store.contract import PartitionMinutes
from sekring.store.records import HOUR_MS, MINUTE_MS

NOW = 1_795_446_900_000  # a whole minute
ID = "6281234567890"


def past(*lines: str, counted: dict[int, int] | None = None, only: str | None = None) -> Past:
    """Of records `AGE_MS REST`, and counts by how many minutes ago."""
    flat: list[str] = []
    for ago, count in (counted or {}).items():
        flat += [str(NOW // MINUTE_MS - ago), str(count)]
    made = Past(PartitionMinutes(now_ms=NOW, counts=tuple(flat)))
    ages = [line.partition(" ") for line in lines]
    for _ in made.take([f"{NOW - int(age)} {rest}".encode() for age, _, rest in ages], only):
        pass
    return made


def ages(made: Past, instance_id: str = ID) -> list[int]:
    return [NOW - record.at_ms for record in made.of(instance_id)]


def test_they_are_in_the_order_in_which_they_happened() -> None:
    """What was reported late came behind what happened after it."""
    assert ages(past(f"1000 {ID} dns ", f"9000 {ID} dns ", f"5000 {ID} tls gw")) == [
        9_000, 5_000, 1_000,
    ]  # fmt: skip


def test_what_is_older_than_an_hour_is_left_out() -> None:
    made = past(f"{HOUR_MS} {ID} dns ", f"{HOUR_MS - 1} {ID} dns ")
    assert ages(made) == [HOUR_MS - 1]


def test_each_instance_has_its_own_and_one_can_be_asked_for_alone() -> None:
    lines = (f"2 {ID} dns ", "1 other dns ")
    assert past(*lines).instances() == [ID, "other"]
    assert past(*lines, only="other").instances() == ["other"]


def test_a_repeated_report_that_was_not_counted_is_there_once() -> None:
    made = past(
        f"9 {ID} dns ", f"8 {ID} dns  open r1", f"7 {ID} dns  open r1", f"6 {ID} dns  open r2"
    )
    assert ages(made) == [9, 8, 6]


def test_what_follows_a_trip_that_is_not_on_record_is_left_out() -> None:
    made = past(f"9 {ID} dns  open r1", f"8 {ID} dns ", f"7 {ID} dns  open r2")
    assert ages(made) == [8, 7]


def test_it_is_whole_if_there_are_as_many_as_were_counted() -> None:
    made = past(f"1 {ID} dns ", f"{5 * MINUTE_MS} {ID} dns  disabled", counted={1: 1, 5: 1})
    assert made.since_ms == NOW - HOUR_MS


def test_it_is_whole_behind_the_last_minute_that_lacks_one() -> None:
    made = past(
        f"{30 * MINUTE_MS} {ID} dns ",
        f"{10 * MINUTE_MS} {ID} dns ",
        counted={40: 1, 30: 2, 10: 1},
    )
    assert made.since_ms == NOW - 29 * MINUTE_MS


def test_the_minute_that_began_more_than_an_hour_ago_proves_nothing() -> None:
    assert past(counted={60: 5}).since_ms == NOW - HOUR_MS
