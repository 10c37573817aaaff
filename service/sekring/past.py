"""The last hour of a partition as its records tell it: whose failures, when, what is missing."""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence

from sekring.store.contract import PartitionMinutes
from sekring.store.records import HOUR_MS, MINUTE_MS, Record

__all__ = ["Past"]


class Past:
    """The failures of a partition, by instance, each list in the order of their times."""

    def __init__(self, minutes: PartitionMinutes) -> None:
        """Begin without any; `minutes` says how many there must be.

        It has to be read before the records are: so these are no fewer, if all are kept.
        """
        self.now_ms = minutes.now_ms
        self._began_ms = minutes.now_ms - HOUR_MS
        self._counted = Counter(
            {
                int(minute): int(count)
                for minute, count in zip(minutes.counts[::2], minutes.counts[1::2], strict=True)
            }
        )
        self._by_instance: dict[str, list[Record]] = {}

    @property
    def since_ms(self) -> int:
        """From when on there is a record of every failure that was counted; at most an hour ago."""
        missing = [minute for minute, count in self._counted.items() if count > 0]
        last = max((minute for minute in missing if self._is_whole(minute)), default=None)
        return self._began_ms if last is None else (last + 1) * MINUTE_MS

    def take(self, lines: Iterable[bytes], only: str | None = None) -> Iterator[None]:
        """Take records as Redis has them, of all instances or of one; a step a record."""
        for line in lines:
            record = Record.parse(line.decode())
            if record.at_ms > self._began_ms:
                if record.why in {"", "disabled"}:
                    self._counted[record.at_ms // MINUTE_MS] -= 1
                if only in {None, record.instance_id}:
                    self._by_instance.setdefault(record.instance_id, []).append(record)
            yield

    def instances(self) -> list[str]:
        """Return the instances that have a record, in the order of their ids."""
        return sorted(self._by_instance)

    def of(self, instance_id: str) -> Sequence[Record]:
        """Return an instance's records, each report's once.

        What was reported while open before anything else is left out: the trip that it followed is
        not on record.
        """
        records: list[Record] = []
        seen: set[str] = set()
        opened_unseen = True
        for record in sorted(self._by_instance.get(instance_id, ()), key=lambda one: one.at_ms):
            opened_unseen = opened_unseen and record.why == "open"
            if opened_unseen or (record.report_id and record.report_id in seen):
                continue
            seen.add(record.report_id)
            records.append(record)
        return records

    def _is_whole(self, minute: int) -> bool:
        """Tell whether none of the minute is more than an hour ago."""
        return minute * MINUTE_MS > self._began_ms
