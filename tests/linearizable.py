"""Looks for an order of concurrent calls in which the reference gives the recorded answers.

The search is Wing and Gong's with Lowe's memory: a call may come next if no other that is still to
come had returned before it was called; a set of calls done with an instance in a state is tried
once. Time plays no part but as order: window and cooldown must outlast the history, the policy's
backoff must be without jitter, and no more different failures may be reported than the breaker
remembers (4 times the threshold). Epochs are opaque and grow: only their order is compared.
"""

import copy
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass, replace
from types import MappingProxyType
from typing import Any

import msgspec
from msgspec import Struct

from sekring.local.instance import Instance
from sekring.model import State
from sekring.policy import Policy
from sekring.store.contract import PermitRequest, ReportRequest, ResetRequest
from sekring.taxonomy import EFFECTS, Kind

__all__ = [
    "Ask",
    "Operation",
    "Permit",
    "Read",
    "Refuted",
    "Report",
    "Reset",
    "answer",
    "linearize",
]

#: The only moment there is (ms). The first epoch is this; each further one is one more.
_NOW = 1

_INSTANCE = "628"


@dataclass(frozen=True)
class Permit:
    """Asked for an attempt."""


@dataclass(frozen=True)
class Report:
    """Reported an outcome, of an attempt permitted under `epoch` if that is known."""

    id: str
    outcome: str = "failure"
    kind: Kind = Kind.WEBSOCKET
    epoch: int | None = None


@dataclass(frozen=True)
class Reset:
    """Reset, as an operator."""


@dataclass(frozen=True)
class Read:
    """Looked, and changed nothing."""


Ask = Permit | Report | Reset | Read
Answer = Mapping[str, Any]

#: What is compared of an answer as it is.
_COMPARED: Mapping[type[Ask], str] = MappingProxyType(
    {
        Permit: "permitted epoch state failures backoff_ms cause",
        Report: "counted why state epoch failures threshold retry_attempts tripped",
        Reset: "known was state epoch",
        Read: "known state epoch failures failure_threshold retry_attempts suppressed cause reason"
        " terminal connection last_failure_kind",
    }
)


@dataclass(frozen=True)
class Operation:
    """One call: when it was made and answered, by one clock, and the answer's JSON."""

    called: float
    returned: float
    ask: Ask
    answer: Answer


@dataclass(frozen=True)
class Refuted:
    """No order explains the answers: the longest beginning of one, and where it ends."""

    done: tuple[Operation, ...]
    #: What could have come next, and what the reference would have answered.
    stuck: tuple[tuple[Operation, Answer], ...]

    def __str__(self) -> str:
        lines = ["no order of the calls explains the answers; the longest beginning of one:"]
        lines += [f"  {_line(one)}" for one in self.done]
        lines.append("what could come next:")
        for one, expected in self.stuck:
            lines += [f"  {_line(one)}", f"      but by now it would be {dict(expected)}"]
        return "\n".join(lines)


def linearize(history: Sequence[Operation], policy: Policy) -> list[Operation] | Refuted:
    """Return an order that explains the answers of one instance, new at first, or say why none."""
    return _Search(_compared(history), Instance(_INSTANCE, policy)).run()


def answer(instance: Instance, ask: Ask, clock: int, token: str = "") -> dict[str, Any]:
    """Let the reference do what is asked; return its answer as the JSON that clients get."""
    found: Struct
    match ask:
        case Permit():
            permit = PermitRequest(instance_id=_INSTANCE, token=token, random=0)
            found = instance.permit(permit, clock, None)
        case Report():
            failed = ask.outcome == "failure"
            report = ReportRequest(
                instance_id=_INSTANCE,
                id=ask.id,
                outcome=ask.outcome,
                kind=ask.kind if failed else None,
                effect=EFFECTS[ask.kind] if failed else None,
                epoch=ask.epoch,
                random=0,
            )
            found = instance.report(report, clock)
        case Reset():
            found = instance.reset(ResetRequest(instance_id=_INSTANCE), clock)
        case Read():
            instance.advance(clock)
            found = instance.snapshot(clock)
    return dict(msgspec.to_builtins(found))


# ------------------------------------------------------------------------------- what is compared


def _comparable(ask: Ask, given: Answer) -> dict[str, Any]:
    """Pick what is compared; when to ask again is a matter of time, whether it is known is not."""
    picked = {name: given.get(name) for name in _COMPARED[type(ask)].split()}
    if isinstance(ask, Permit):
        attempt_id = given.get("attempt_id")
        picked["ever"] = given["retry_after_ms"] is not None
        picked["attempt_of"] = int(attempt_id.partition("-")[0], 16) if attempt_id else None
    if isinstance(ask, Report):
        closed = given["state"] == State.CLOSED
        picked["backoff_ms"] = given["retry_after_ms"] if closed else None
    return picked


def _compared(history: Sequence[Operation]) -> list[Operation]:
    """Leave of each answer what is compared, and of each epoch its place among all of them."""
    picked = [_comparable(one.ask, one.answer) for one in history]
    epochs = sorted({0, *(found["epoch"] for found in picked)})
    places = {epoch: place for place, epoch in enumerate(epochs)}

    def place_of(epoch: int | None) -> int | None:
        # One that no answer has is none that the instance ever had.
        return None if epoch is None else places.get(epoch, -1)

    compared = []
    for one, found in zip(history, picked, strict=True):
        ask = (
            replace(one.ask, epoch=place_of(one.ask.epoch))
            if isinstance(one.ask, Report)
            else one.ask
        )
        for name in {"epoch", "attempt_of"} & set(found):
            found[name] = place_of(found[name])
        compared.append(replace(one, ask=ask, answer=found))
    return compared


# ------------------------------------------------------------------------------------ the search


class _Search:
    def __init__(self, history: Sequence[Operation], start: Instance) -> None:
        self._history = sorted(history, key=lambda one: one.returned)
        self._start = start
        self._all = (1 << len(history)) - 1
        self._tried: set[tuple[int, object]] = set()
        self._order: list[int] = []
        self._best = Refuted((), ())

    def run(self) -> list[Operation] | Refuted:
        return self._ordered() if self._go_on(0, self._start) else self._best

    def _ordered(self) -> list[Operation]:
        return [self._history[place] for place in self._order]

    def _go_on(self, done: int, instance: Instance) -> bool:
        if done == self._all:
            return True
        state = (done, _fingerprint(instance))
        if state in self._tried:
            return False
        self._tried.add(state)
        stuck = []
        for place in self._next(done):
            one = self._history[place]
            after = _clone(instance)
            expected = _comparable(one.ask, answer(after, one.ask, _NOW, f"{place:08}"))
            if expected != one.answer:
                stuck.append((one, expected))
                continue
            self._order.append(place)
            if self._go_on(done | 1 << place, after):
                return True
            self._order.pop()
        if stuck and len(self._order) >= len(self._best.done):
            self._best = Refuted(tuple(self._ordered()), tuple(stuck))
        return False

    def _next(self, done: int) -> Iterator[int]:
        """Yield the calls that nothing still to come had to precede."""
        first_return = None
        for place, one in enumerate(self._history):
            if done >> place & 1:
                continue
            # They are in the order of their returns.
            first_return = one.returned if first_return is None else first_return
            if one.called <= first_return:
                yield place


def _clone(instance: Instance) -> Instance:
    new = copy.copy(instance)
    new.history = []
    new.partition = replace(instance.partition)
    new.seen = dict(instance.seen)
    new.window = replace(
        instance.window,
        kinds=dict(instance.window.kinds),
        reporters=dict(instance.window.reporters),
    )
    new.slots = replace(
        instance.slots,
        probing=dict(instance.slots.probing),
        proving=dict(instance.slots.proving),
    )
    return new


def _fingerprint(part: object) -> object:
    """Return something hashable that is the same for two instances that are alike."""
    if isinstance(part, dict):
        return frozenset(part.items())
    if is_dataclass(part):
        names = (field.name for field in fields(part))
        left_out = {"instance_id", "policy", "history"}
        return tuple(_fingerprint(getattr(part, name)) for name in names if name not in left_out)
    return part


def _line(one: Operation) -> str:
    return f"{one.called:.6f}-{one.returned:.6f} {one.ask} -> {dict(one.answer)}"
