"""What a replica sees of one partition: read once, then kept current message by message."""

import asyncio
import math
import time
from collections.abc import Iterator, Sequence

import msgspec

from sekring.clock import RemoteClock
from sekring.store.contract import Announcement, Facts, PartitionView

__all__ = ["PartitionState"]

_facts = msgspec.json.Decoder(Facts)


class PartitionState:
    """What is seen of one partition. Points in time in s are of this process's monotonic clock."""

    __slots__ = (
        "builds",
        "clock",
        "counts",
        "early",
        "epoch",
        "facts",
        "live",
        "policies",
        "proven_s",
        "reading",
        "seq",
        "writes",
    )

    def __init__(self) -> None:
        """Begin with nothing known."""
        self.facts: dict[str, Facts] = {}
        self.policies: dict[str, str] = {}
        self.builds: dict[str, str] = {}
        #: Failures by instance as reports were answered here, and when.
        self.counts: dict[str, tuple[int, int]] = {}
        #: Instances changed through this replica, and when the answer came: the view has it only
        #: once it is proven as of later.
        self.writes: dict[str, float] = {}
        self.seq = 0
        self.epoch = 0
        self.clock = RemoteClock()
        self.live = False
        #: Messages that came while the partition was being read.
        self.early: list[Announcement] = []
        self.reading: asyncio.Task[None] | None = None
        self.proven_s = -math.inf

    def begin(self, view: PartitionView) -> None:
        """Take what was read; messages that it contains already are dropped."""
        self.seq, self.epoch = view.seq, max(self.epoch, view.epoch)
        self.facts = {name: _facts.decode(facts) for name, facts in _pairs(view.instances)}
        self.policies = dict(_pairs(view.policies))
        self.builds = dict(_pairs(view.builds))
        self.counts = {name: count for name, count in self.counts.items() if name in self.facts}

    def apply(self, message: Announcement) -> bool:
        """Take one message; false if one is missing before it, or if it says to read anew."""
        if message.seq <= self.seq:
            return True
        complete = message.seq == self.seq + 1
        self.seq = message.seq
        if message.bell is not None:
            return complete
        self.epoch = max(self.epoch, message.epoch)
        if message.instance_id is None:
            return False
        if message.facts is None:
            self.facts.pop(message.instance_id, None)
            self.counts.pop(message.instance_id, None)
        else:
            self.facts[message.instance_id] = message.facts
        return complete

    def begin_write(self, instance_id: str) -> None:
        """Take note that an instance is being changed: what the view has of it is not current."""
        self.writes[instance_id] = math.inf

    def end_write(self, instance_id: str) -> None:
        """Take note that it was answered: the view is current once it is proven as of now."""
        self.writes[instance_id] = time.monotonic()

    def prove(self, sent_s: float) -> None:
        """Everything that was published before `sent_s` is here."""
        self.proven_s = sent_s
        if self.writes:
            self.writes = {name: at for name, at in self.writes.items() if at >= sent_s}


def _pairs(flat: Sequence[str]) -> Iterator[tuple[str, str]]:
    return zip(flat[::2], flat[1::2], strict=True)
