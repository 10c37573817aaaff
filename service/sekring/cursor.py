"""Places in the streams of transitions: in one partition's, and in all of them.

Every partition has a stream of its own, on a server of its own in a cluster. So where a reader is
takes a place per partition. Most of them are at rest at any time, and a `Cursor` names only those
that are not: it has a base, a time up to which everything of every partition was read, and the
partitions that were read beyond it. In quiet times that is the base alone.
"""

import base64
import zlib
from collections.abc import Iterator, Mapping
from typing import Final, NamedTuple

__all__ = ["Cursor", "Place"]

_SEQUENCE_MAX: Final = 2**64 - 1

#: First byte of an encoded cursor: the way it is encoded.
_VERSION: Final = 1

_CHECKSUM_BYTES: Final = 3


class Place(NamedTuple):
    """The id of a stream's entry, or a place between two: what follows it was not read yet."""

    #: By the clock of the stream's server.
    ms: int
    sequence: int

    @classmethod
    def parse(cls, text: str) -> "Place":
        """Read an id as Redis has it, `ms-sequence`."""
        ms, _, sequence = text.partition("-")
        return cls(int(ms), int(sequence))

    @classmethod
    def end_of(cls, ms: int) -> "Place":
        """Return the place behind everything of that millisecond."""
        return cls(ms, _SEQUENCE_MAX)

    def before(self) -> "Place":
        """Return the place right in front of this one."""
        return Place(self.ms, self.sequence - 1) if self.sequence else Place.end_of(self.ms - 1)

    def __str__(self) -> str:
        return f"{self.ms}-{self.sequence}"


class Cursor:
    """Up to where all partitions were read."""

    def __init__(self, base_ms: int, ahead: Mapping[int, Place] | None = None) -> None:
        """Stand at the end of `base_ms`, and in some partitions `ahead` of it."""
        self.base_ms = base_ms
        self._ahead: dict[int, Place] = {}
        for partition, place in (ahead or {}).items():
            self.advance(partition, place)

    def __getitem__(self, partition: int) -> Place:
        """Return the place in one partition."""
        return self._ahead.get(partition) or Place.end_of(self.base_ms)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Cursor):
            return NotImplemented
        return (self.base_ms, self._ahead) == (other.base_ms, other._ahead)

    __hash__ = None  # type: ignore[assignment] # it changes

    def __repr__(self) -> str:
        return f"Cursor({self.base_ms}, {self._ahead})"

    def advance(self, partition: int, place: Place) -> None:
        """Note that a partition was read up to `place`; a place behind is passed over."""
        if place > self[partition]:
            self._ahead[partition] = place

    def rebase(self, base_ms: int) -> None:
        """Note that everything up to the end of `base_ms` was read, in every partition."""
        if base_ms > self.base_ms:
            self.base_ms = base_ms
            self._ahead = {n: place for n, place in self._ahead.items() if place.ms > base_ms}

    def encode(self) -> str:
        """Return it as a short text of A-Z a-z 0-9 - _."""
        encoded = bytearray((_VERSION,))
        _put(encoded, self.base_ms)
        last = 0
        for partition, place in sorted(self._ahead.items()):
            for number in (partition - last, place.ms - self.base_ms, place.sequence):
                _put(encoded, number)
            last = partition
        encoded += _checksum(encoded)
        return base64.urlsafe_b64encode(encoded).decode().rstrip("=")

    @classmethod
    def decode(cls, text: str, partitions: int) -> "Cursor":
        """Read what `encode` returned.

        Raises:
            ValueError: it is not what `encode` returned, or not with that count of partitions.
        """
        try:
            encoded = base64.b64decode(text + "=" * (-len(text) % 4), b"-_", validate=True)
        except ValueError as error:
            raise ValueError("no base64url") from error
        content, checksum = encoded[:-_CHECKSUM_BYTES], encoded[-_CHECKSUM_BYTES:]
        if content[:1] != bytes((_VERSION,)) or checksum != _checksum(content):
            raise ValueError("no cursor")
        numbers = _numbers(content[1:])
        cursor = cls(next(numbers, 0))
        partition = 0
        for step in numbers:
            partition += step
            place = Place(cursor.base_ms + next(numbers, 0), next(numbers, 0))
            if partition >= partitions:
                raise ValueError("no such partition")
            cursor.advance(partition, place)
        return cursor


def _put(encoded: bytearray, number: int) -> None:
    """Append a number in groups of seven bits, the lowest first; the last has no eighth bit."""
    while number > 0x7F:  # noqa: PLR2004
        encoded.append(number & 0x7F | 0x80)
        number >>= 7
    encoded.append(number)


def _numbers(encoded: bytes) -> Iterator[int]:
    number = shift = 0
    for byte in encoded:
        number |= (byte & 0x7F) << shift
        shift += 7
        if not byte & 0x80:
            yield number
            number = shift = 0


def _checksum(encoded: bytes | bytearray) -> bytes:
    return zlib.crc32(encoded).to_bytes(4, "big")[:_CHECKSUM_BYTES]
