"""What waits for a webhook: in order per instance, counted, and nothing passed over."""

import itertools

from hypothesis import given
from hypothesis import strategies as st

from sekring.cursor import Place
from sekring.model import Filter, State, Transition
from sekring.store.hooks import Mark
from sekring.store.streams import Event, Page
from sekring.webhooks.outbox import Item, Outbox

ALL = Filter()


def event(number: int, instance_id: str, after: str = "open") -> Event:
    transition = Transition(
        id=f"00-{number}-0", instance_id=instance_id, at_ms=number, action="trip", after=after
    )
    return Event(0, Place(number, 0), transition)


def page(*events: Event, added: int, trimmed: int = 0, first: int = 1, whole: bool = True) -> Page:
    return Page(
        partition=0,
        events=list(events),
        complete=whole,
        added=added,
        trimmed=trimmed,
        first=Place(first, 0),
        last=Place(added, 0),
        now_ms=0,
    )


def outbox_of(*instances: str) -> Outbox:
    """Return one in which transitions 1, 2, … of these instances wait."""
    outbox = Outbox({}, 1)
    events = [event(number, name) for number, name in enumerate(instances, 1)]
    outbox.load(page(*events, added=len(events)), ALL)
    return outbox


def number_of(item: Item | None) -> int | None:
    return item.place.ms if item else None


def test_transitions_of_one_instance_leave_one_after_the_other() -> None:
    outbox = outbox_of("a", "a", "b")

    first, other = outbox.take(0), outbox.take(0)
    assert (number_of(first), number_of(other)) == (1, 3)
    assert outbox.take(0) is None
    assert first
    outbox.delivered(first)
    assert number_of(outbox.take(0)) == 2


def test_one_that_failed_holds_up_its_own_instance_only() -> None:
    outbox = outbox_of("a", "a", "b", "b")
    failing = outbox.take(0)
    assert failing
    outbox.failed(failing, 10.0)

    for expected in (3, 4):
        item = outbox.take(0)
        assert number_of(item) == expected
        assert item
        outbox.delivered(item)
    assert outbox.take(9.9) is None
    assert outbox.next_due() == 10.0
    assert outbox.take(10.0) is failing


def test_the_mark_stands_in_front_of_the_first_that_waits() -> None:
    outbox = outbox_of("a", "b", "c")
    first, second, third = (outbox.take(0) for _ in range(3))
    assert first
    assert second
    assert third

    outbox.delivered(third)
    assert outbox.moved() == {}
    outbox.delivered(first)
    assert outbox.moved() == {0: Mark(Place(1, 0), 1)}
    outbox.delivered(second)
    assert outbox.moved() == {0: Mark(Place(3, 0), 3)}
    assert outbox.moved() == {}


def test_what_is_not_wanted_counts_as_done_with() -> None:
    outbox = Outbox({0: Mark(Place(4, 0), 4)}, 1)
    unwanted, wanted = event(5, "a", "closed"), event(6, "a", "open")
    outbox.load(page(unwanted, wanted, added=6), Filter(states=frozenset({State.OPEN})))

    assert outbox.moved() == {0: Mark(Place(5, 0), 5)}
    assert number_of(outbox.take(0)) == 6


def test_what_the_stream_no_longer_holds_is_dropped_and_counted() -> None:
    outbox = outbox_of("a", "a", "b", "a")
    failing = outbox.take(0)
    assert failing
    outbox.failed(failing, 10.0)

    outbox.load(page(added=4, trimmed=2, first=3), ALL)

    assert outbox.lost == 2
    assert [number_of(outbox.take(0)) for _ in range(3)] == [3, 4, None]
    assert outbox.moved() == {0: Mark(Place(2, 0), 2)}


def test_what_is_under_way_is_not_counted_as_lost() -> None:
    outbox = outbox_of("a", "a")
    sending = outbox.take(0)
    assert sending

    outbox.load(page(added=2, trimmed=2, first=3), ALL)
    assert outbox.lost == 1
    outbox.delivered(sending)

    assert outbox.moved() == {0: Mark(Place(2, 0), 2)}
    assert outbox.take(0) is None


def test_what_was_trimmed_before_it_was_loaded_is_counted() -> None:
    outbox = Outbox({0: Mark(Place(10, 0), 10)}, 1)

    outbox.load(page(event(16, "a"), added=16, trimmed=15, first=16), ALL)

    assert outbox.lost == 5
    assert number_of(outbox.take(0)) == 16


def test_only_so_many_are_loaded() -> None:
    outbox = Outbox({}, 1)
    for number in itertools.count(1):
        room = outbox.room(0)
        if not room:
            break
        outbox.load(page(event(number, "a"), added=number), ALL)

    assert 1_000 < number < 5_000
    assert outbox.tail(0) == Place(number - 1, 0)


@given(
    instances=st.lists(st.sampled_from("abc"), max_size=20),
    choices=st.lists(st.tuples(st.booleans(), st.integers(0, 5)), max_size=200),
)
def test_whatever_fails_every_transition_leaves_in_the_order_of_its_instance(
    instances: list[str], choices: list[tuple[bool, int]]
) -> None:
    outbox = outbox_of(*instances)
    sending: list[Item] = []
    delivered: list[int] = []
    now = 0.0
    for succeeds, pick in [*choices, *[(True, 0)] * 100]:
        now += 1
        while len(sending) < 3 and (item := outbox.take(now)):
            sending.append(item)
        if not sending:
            continue
        item = sending.pop(pick % len(sending))
        if succeeds:
            delivered.append(item.place.ms)
            outbox.delivered(item)
        else:
            outbox.failed(item, now + pick)
        mark = outbox.moved().get(0)
        # What another replica would begin with: nothing in front of it is missing.
        assert mark is None or set(range(1, mark.place.ms + 1)) <= set(delivered)

    assert sorted(delivered) == list(range(1, len(instances) + 1))
    for name in "abc":
        own = [number for number in delivered if instances[number - 1] == name]
        assert own == sorted(own)
