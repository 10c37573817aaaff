"""What waits to be delivered to one webhook: some transitions of each partition, in their order.

Transitions of one instance leave one after the other; those of others need not wait for them. A
partition counts as delivered up to the first transition that is not, so nothing is passed over if
another replica goes on from there. Only so many are loaded: the rest waits in the streams.
"""

import heapq
import itertools
from collections import deque
from collections.abc import Mapping

from sekring.cursor import Place
from sekring.model import Filter
from sekring.store.hooks import Mark
from sekring.store.streams import Event, Page

__all__ = ["Item", "Outbox"]

#: Transitions that are loaded at most, of all partitions together, and of each at least.
_LOADED_MAX = 4_096
_LOADED_MIN = 8


class Item:
    """A transition that waits; without `event` it is done with."""

    __slots__ = ("attempts", "event", "place", "under_way")

    def __init__(self, place: Place, event: Event | None) -> None:
        """Let `event` wait, or nothing, where it is not wanted."""
        self.place = place
        self.event = event
        #: How often it was tried.
        self.attempts = 0
        self.under_way = False


class _Lane:
    """A partition: what was loaded of it and is not behind the mark yet."""

    def __init__(self, mark: Mark) -> None:
        #: Everything up to here is done with.
        self.place = mark.place
        #: The last that was loaded, and the entries that the stream had up to it.
        self.tail = mark.place
        self.ordinal = mark.ordinal
        self.items: deque[Item] = deque()


class Outbox:
    """Begins behind the marks that were reached before."""

    def __init__(self, marks: Mapping[int, Mark], partitions: int) -> None:
        """Load nothing yet."""
        self._lanes = [_Lane(marks.get(number, Mark())) for number in range(partitions)]
        self._window = max(_LOADED_MIN, _LOADED_MAX // partitions)
        #: What waits of each instance; the first of it is under way, or in the queue.
        self._chains: dict[str, deque[Item]] = {}
        #: By when it may be tried; the number keeps the order where that is the same.
        self._queue: list[tuple[float, int, Item]] = []
        self._numbers = itertools.count()
        self._moved: set[int] = set()
        #: Transitions that the streams no longer held, since the last time it was set.
        self.lost = 0

    def room(self, partition: int) -> int:
        """Return how many more may be loaded; 0 until it is worth a look."""
        free = self._window - len(self._lanes[partition].items)
        return free if free >= self._window // 2 else 0

    def tail(self, partition: int) -> Place:
        """Return the place behind which to load more."""
        return self._lanes[partition].tail

    def waiting(self) -> list[int]:
        """Return the partitions of which something waits."""
        return [number for number, lane in enumerate(self._lanes) if lane.items]

    def load(self, page: Page, wanted: Filter) -> None:
        """Let the wanted transitions of `page` wait; drop what the stream no longer holds."""
        lane = self._lanes[page.partition]
        if page.first is not None and page.trimmed:
            self._drop(lane, page.first)
        if page.trimmed > lane.ordinal:
            self.lost += page.trimmed - lane.ordinal
            lane.ordinal = page.trimmed
        for event in page.events:
            item = Item(event.place, event if wanted.passes(event.transition) else None)
            lane.items.append(item)
            if item.event:
                self._chain(item, event.transition.instance_id)
        if page.events:
            lane.tail = page.events[-1].place
            lane.ordinal += len(page.events)
        if page.complete:
            lane.ordinal = page.added
        self._settle(page.partition, lane)

    def take(self, now: float) -> Item | None:
        """Return what may be tried now, and is under way then; `None` if nothing may."""
        while self._queue:
            due, _, item = self._queue[0]
            if item.event and due > now:
                return None
            heapq.heappop(self._queue)
            if item.event:
                item.under_way = True
                return item
        return None

    def next_due(self) -> float | None:
        """Return when something may be tried; `None` if nothing waits."""
        return self._queue[0][0] if self._queue else None

    def delivered(self, item: Item) -> None:
        """Note that it need not be tried again."""
        event = item.event
        item.event = None
        item.under_way = False
        if event:
            self._follow(event.transition.instance_id)
            self._settle(event.partition, self._lanes[event.partition])

    def failed(self, item: Item, due: float) -> None:
        """Let it be tried again from `due` on."""
        item.under_way = False
        self._enqueue(item, due)

    def moved(self) -> dict[int, Mark]:
        """Return the marks that have moved since the last call."""
        moved, self._moved = self._moved, set()
        return {number: self._mark(self._lanes[number]) for number in moved}

    def _enqueue(self, item: Item, due: float = 0.0) -> None:
        heapq.heappush(self._queue, (due, next(self._numbers), item))

    def _mark(self, lane: _Lane) -> Mark:
        return Mark(lane.place, lane.ordinal - len(lane.items))

    def _chain(self, item: Item, instance_id: str) -> None:
        chain = self._chains.setdefault(instance_id, deque())
        chain.append(item)
        if len(chain) == 1:
            self._enqueue(item)

    def _follow(self, instance_id: str) -> None:
        """Let the next of an instance be tried, where the first is done with."""
        chain = self._chains[instance_id]
        if chain[0].event:
            return
        while chain and not chain[0].event:
            chain.popleft()
        if chain:
            self._enqueue(chain[0])
        else:
            del self._chains[instance_id]

    def _drop(self, lane: _Lane, first: Place) -> None:
        for item in lane.items:
            if item.place >= first:
                break
            if item.event and not item.under_way:
                self.lost += 1
                instance_id = item.event.transition.instance_id
                item.event = None
                self._follow(instance_id)

    def _settle(self, partition: int, lane: _Lane) -> None:
        while lane.items and not lane.items[0].event:
            lane.place = lane.items.popleft().place
            self._moved.add(partition)
