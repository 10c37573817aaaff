"""What the scripted driver plays: a TOML file that says what happens to whom, and when.

::

    seed = 7                             # for all that is random; default 0

    [[rule]]                             # the first rule whose `instances` match is played
    instances = ["demo-0?", "vip-*"]     # globs; a single one may stand without the list
    repeat = "last"                      # after the last connect: that one again ("last", the
                                         # default), or all from the first ("all")

    [[rule.connect]]                     # the first connect under a lease ...
    times = 3                            # ... and the second and third (default 1)
    steps = [
      { do = "wait", ms = [200, 900] },  # a random time between; or one number
      { do = "fail", kind = "dns", detail = "no such host" },
    ]

    [[rule.connect]]                     # the fourth
    steps = [{ do = "wait", ms = 50 }, { do = "connect" }, { do = "stay" }]

The steps:

=============  ===================================================================================
`wait`         wait `ms`
`qr`           show a QR code (`code`, default a random one) that expires in `expires_in_ms`
               (default 20000)
`pair`         be paired by a phone, as `device` (default a random one)
`connect`      be logged in
`keep_alive`   the keep-alive times out (`healthy = false`) or is restored (`healthy = true`)
`print`        print `text` on stdout, as a library does
`fail` *       break, with a `kind`; or with `protocol`, `code` and perhaps `ban_expire`; with a
               `detail`
`crash` *      the process dies: `by = "kill"` (SIGKILL, the default) or `by = "abort"` (SIGABRT,
               after some words on stderr)
`hang` *       nothing happens any more, not even at an order to stop; `blocking = true` (the
               default) blocks the event loop of the whole process as well
`stay` *       go on as it is until it is told to stop
=============  ===================================================================================

A connect ends with one of those that have an asterisk, and has only one of them. Sessions without
a rule connect after 50 ms and stay. The same seed, instance and number of the connect always give
the same play.
"""

import fnmatch
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Final, Literal

import msgspec
from msgspec import Meta, Struct

from sekring.errors import SettingsError
from sekring.taxonomy import Kind, Protocol

__all__ = [
    "Crash",
    "Fail",
    "Hang",
    "KeepAliveStep",
    "LogIn",
    "PairStep",
    "Play",
    "Print",
    "Qr",
    "Rule",
    "Scenario",
    "Stay",
    "Step",
    "Wait",
    "demo_instances",
    "demo_path",
    "load_scenario",
]

_Ms = Annotated[int, Meta(ge=0, le=86_400_000)]


class _Step(Struct, frozen=True, kw_only=True, tag_field="do", forbid_unknown_fields=True):
    pass


class Wait(_Step, frozen=True, kw_only=True, tag="wait"):
    """Wait a time, or a random one between two."""

    #: Bounded in `_trouble`: msgspec 0.22 crashes the interpreter over bounds in such a union.
    ms: int | tuple[int, int]


class Qr(_Step, frozen=True, kw_only=True, tag="qr"):
    """Show a QR code."""

    code: str | None = None
    expires_in_ms: _Ms = 20_000


class PairStep(_Step, frozen=True, kw_only=True, tag="pair"):
    """Be paired."""

    device: str | None = None


class LogIn(_Step, frozen=True, kw_only=True, tag="connect"):
    """Be logged in."""


class KeepAliveStep(_Step, frozen=True, kw_only=True, tag="keep_alive"):
    """Lose the keep-alive, or get it back."""

    healthy: bool


class Print(_Step, frozen=True, kw_only=True, tag="print"):
    """Print on stdout."""

    text: str


class Fail(_Step, frozen=True, kw_only=True, tag="fail"):
    """Break."""

    detail: str = "as the scenario says"
    kind: Kind | None = None
    protocol: Protocol | None = None
    code: int | None = None
    ban_expire: Annotated[int, Meta(ge=0)] | None = None


class Crash(_Step, frozen=True, kw_only=True, tag="crash"):
    """End the process."""

    by: Literal["kill", "abort"] = "kill"


class Hang(_Step, frozen=True, kw_only=True, tag="hang"):
    """Never answer again."""

    blocking: bool = True


class Stay(_Step, frozen=True, kw_only=True, tag="stay"):
    """Go on until it is told to stop."""


Step = Wait | Qr | PairStep | LogIn | KeepAliveStep | Print | Fail | Crash | Hang | Stay

_LAST: Final = (Fail, Crash, Hang, Stay)


class Play(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What happens in one connect, or in several in a row."""

    steps: tuple[Step, ...]
    times: Annotated[int, Meta(ge=1, le=1_000_000)] = 1


class Rule(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What happens to some sessions."""

    instances: str | tuple[str, ...]
    connect: tuple[Play, ...]
    repeat: Literal["last", "all"] = "last"

    def matches(self, instance_id: str) -> bool:
        """Whether it is about that session."""
        globs = (self.instances,) if isinstance(self.instances, str) else self.instances
        return any(fnmatch.fnmatchcase(instance_id, glob) for glob in globs)

    def steps(self, number: int) -> tuple[Step, ...]:
        """Return what happens in the connect of that number, counted from 0."""
        if self.repeat == "all":
            number %= sum(play.times for play in self.connect)
        for play in self.connect:
            number -= play.times
            if number < 0:
                return play.steps
        return self.connect[-1].steps


class Scenario(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """All rules."""

    seed: int = 0
    rule: tuple[Rule, ...] = ()

    def steps(self, instance_id: str, number: int) -> tuple[Step, ...]:
        """Return what happens to a session in its connect of that number, counted from 0."""
        for rule in self.rule:
            if rule.matches(instance_id):
                return rule.steps(number)
        return (Wait(ms=50), LogIn(), Stay())


def load_scenario(path: str | Path | None) -> Scenario:
    """Read a scenario; without a path, the one in which all sessions are well.

    Raises:
        SettingsError: it cannot be read, or says what cannot be played; names the field.
    """
    if path is None:
        return Scenario()
    try:
        scenario = msgspec.convert(tomllib.loads(Path(path).read_text("utf-8")), Scenario)
        for rule_index, rule in enumerate(scenario.rule):
            _check_rule(rule, f"rule[{rule_index}]")
    except OSError as error:
        raise SettingsError(f"SEKRING_SCENARIO: {path} cannot be read: {error.strerror}.") from None
    except (UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise SettingsError(f"SEKRING_SCENARIO: {path} is not TOML: {error}.") from None
    except (msgspec.ValidationError, ValueError) as error:
        raise SettingsError(f"SEKRING_SCENARIO: {path}: {error}.") from None
    return scenario


def demo_path() -> Path:
    """Return where the demo's scenario is."""
    return Path(__file__).with_name("demo.toml")


def demo_instances() -> Sequence[str]:
    """Return the sessions that the demo's scenario is about."""
    return tuple(f"demo-{number:02}" for number in range(1, 41))


def _check_rule(rule: Rule, where: str) -> None:
    if not rule.instances:
        raise ValueError(f"it takes at least one glob - at `$.{where}.instances`")
    if not rule.connect:
        raise ValueError(f"it takes at least one connect - at `$.{where}.connect`")
    for index, play in enumerate(rule.connect):
        _check_steps(play.steps, f"{where}.connect[{index}].steps")


def _check_steps(steps: Sequence[Step], where: str) -> None:
    logged_in = False
    for index, step in enumerate(steps):
        trouble = _trouble(step, logged_in=logged_in)
        if isinstance(step, _LAST) and index < len(steps) - 1:
            trouble = "nothing can happen after this step"
        if trouble:
            raise ValueError(f"{trouble} - at `$.{where}[{index}]`")
        logged_in = logged_in or isinstance(step, LogIn)
    if not steps or not isinstance(steps[-1], _LAST):
        raise ValueError(f"the last step must be fail, crash, hang or stay - at `$.{where}`")


def _trouble(step: Step, *, logged_in: bool) -> str | None:
    trouble = None
    match step:
        case Wait(ms=ms):
            times = (ms,) if isinstance(ms, int) else ms
            if list(times) != sorted(times) or times[0] < 0:
                trouble = f"ms takes 0 or more, or two such times with the shorter first, got {ms}"
        case Fail(kind=kind, protocol=protocol, code=code):
            by_code = protocol is not None and code is not None
            if by_code == (kind is not None) or (protocol is None) != (code is None):
                trouble = "fail takes either a kind, or a protocol and a code, and not both"
        case Qr() | PairStep() | LogIn() if logged_in:
            trouble = "it is logged in already"
        case KeepAliveStep() if not logged_in:
            trouble = "keep_alive takes a connect before it"
        case _:
            pass
    return trouble
