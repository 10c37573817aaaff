"""What a client knows of one instance."""

import re
from typing import Final

from msgspec import Struct

from sekring.errors import InvalidInput
from sekring.local.instance import Instance
from sekring.model import INSTANCE_ID_PATTERN, State
from sekring.policy import Policy

__all__ = ["Course", "Facts", "Record"]

_ID: Final = re.compile(INSTANCE_ID_PATTERN)


class Facts(Struct, frozen=True):
    """The breaker of an instance that is not closed, as the service has told of it."""

    state: State
    epoch: int
    cause: str = ""
    reason: str = ""
    #: When the state ends by itself, by Redis' clock; 0: never, as far as is known.
    until_ms: int = 0


class Record:
    """One instance. It is plain where there is nothing to say: closed, and no failure is known."""

    __slots__ = ("course", "epoch", "facts", "instance", "instance_id", "plain", "policy", "unsent")

    def __init__(self, instance_id: str) -> None:
        """Begin with nothing known.

        Raises:
            InvalidInput: no instance can have that id.
        """
        if not _is_id(instance_id):
            raise InvalidInput(
                f"instance_id is {instance_id!r:.200}; it takes 1 to 128 of A-Z a-z 0-9 . _ : @ -.",
                "instance_id",
            )
        self.instance_id = instance_id
        self.plain = True
        #: `None`: closed.
        self.facts: Facts | None = None
        #: The breaker in plain Python, where failures are known: it paces, and decides alone if it
        #: must.
        self.instance: Instance | None = None
        #: The highest epoch that is known.
        self.epoch = 0
        #: The instance's own policy; `None`: not asked for yet.
        self.policy: Policy | None = None
        #: Attempts that are under way or went well, and are yet to be reported, as one.
        self.course: Course | None = None
        #: Reports on their way to the service.
        self.unsent = 0

    def settle(self) -> None:
        """Say whether it is plain now; what is permitted from now on is another attempt."""
        self.plain = self.facts is None and self.instance is None
        self.course = None


def _is_id(name: object) -> bool:
    """Tell whether an instance can have that id, whatever a caller passes for one."""
    return isinstance(name, str) and _ID.match(name) is not None


class Course:
    """Attempts that the view has permitted within one flush, told as one unless they fail.

    The caller's thread writes `success_s` and then reads `taken`; the sender writes `taken` and
    then reads `success_s`: whatever comes in between, one of them sees the other.
    """

    __slots__ = ("attempt_id", "permitted_s", "record", "success_s", "taken", "traceparent")

    def __init__(
        self,
        record: Record,
        attempt_id: str | None,
        permitted_s: float,
        traceparent: str | None,
    ) -> None:
        """Begin with one that was permitted now (CLOCK_MONOTONIC, s), in its trace if any."""
        self.record = record
        self.attempt_id = attempt_id
        self.permitted_s = permitted_s
        self.traceparent = traceparent
        self.success_s = 0.0
        self.taken = False
