"""What the Node client decides without the service: compared with what the service decides."""

import json
import os
import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any, Final

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sekring.local.instance import Instance
from sekring.model import State
from sekring.policy import DAY_MS, Policy
from sekring.store.contract import PermitRequest, ReportRequest
from sekring.taxonomy import COUNTED_KINDS, EFFECTS, Effect, Kind, classify
from tests.nodeclient import CLIENT, node_fixture

EXAMPLES: Final = int(os.environ.get("SEKRING_TEST_EXAMPLES", "2000"))
START: Final = 1_700_000_000_000

Step = dict[str, Any]
History = dict[str, Any]
Play = Callable[[History], list[Step]]

node = pytest.fixture(scope="module")(node_fixture)


@pytest.fixture(scope="module")
def play(node: str) -> Iterator[Play]:
    """Plays a history on the client's breaker."""
    with ExitStack() as stack:
        player = stack.enter_context(
            subprocess.Popen(
                [node, CLIENT / "test" / "histories.js"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
            )
        )
        stdin, stdout = player.stdin, player.stdout
        assert stdin
        assert stdout

        def on_client(history: History) -> list[Step]:
            stdin.write(json.dumps(history) + "\n")
            stdin.flush()
            answers: list[Step] = json.loads(stdout.readline())
            return answers

        yield on_client
        stdin.close()
        assert player.wait(20) == 0


# ------------------------------------------------------------------------------- how it is drawn

#: Small figures, so that little is needed for much to happen.
POLICIES: Final = st.fixed_dictionaries(
    {
        "failure_threshold": st.integers(1, 5),
        "window_ms": st.sampled_from([1_000, 10_000, 60_000]),
        "cooldown_ms": st.sampled_from([1, 1_000, 5_000]),
        "cooldown_factor": st.sampled_from([1.0, 1.0, 1.5, 2.0]),
        "cooldown_max_ms": st.sampled_from([6_000, 20_000]),
        "probes": st.sampled_from([0, 0, 1, 2, 3]),
        "probe_ttl_ms": st.sampled_from([1_000, 3_000]),
        "backoff": st.fixed_dictionaries(
            {
                "base_ms": st.sampled_from([0, 100]),
                "factor": st.sampled_from([1.0, 2.5]),
                "cap_ms": st.sampled_from([100, 1_000]),
                "jitter": st.sampled_from([0.0, 0.5, 1.0]),
            }
        ),
        "stable_after_ms": st.sampled_from([0, 1, 1_000, 5_000]),
        "success_clears": st.booleans(),
        "weights": st.dictionaries(st.sampled_from(COUNTED_KINDS[:4]), st.integers(0, 3)),
        "min_reporters": st.sampled_from([1, 1, 1, 2]),
    }
)

HELD: Final = [kind for kind in Kind if EFFECTS[kind] is not Effect.COUNT]

SOONEST: Final = [1, 1, 10, 500, 999, 1_000]


def histories(
    outcomes: list[str], kinds: list[Any], *, permits: int, waits: list[int]
) -> st.SearchStrategy[list[tuple[int, float, Step | None]]]:
    """Mostly these outcomes and kinds, and so many permits to one report."""
    told = st.fixed_dictionaries(
        {
            "outcome": st.sampled_from(outcomes),
            "kind": st.sampled_from(kinds),
            "attempt": st.sampled_from([None, "last", "last", "first"]),
            "epoch": st.sampled_from([None, None, None, None, 0, -1]),
            "ban_ms": st.sampled_from([0, 1, 30_000]),
            "gateway": st.sampled_from(["gw-1", "gw-1", "gw-2"]),
        }
    )
    step = st.tuples(
        # Failures of one millisecond have an order of their own in the service: none here.
        st.sampled_from(waits),
        st.sampled_from([0.0, 0.25, 0.9]),
        st.one_of(*[st.none()] * permits, told),
    )
    return st.lists(step, min_size=8, max_size=40)


THEMES: Final = {
    "counting": (
        POLICIES,
        histories(
            [*["failure"] * 5, "success", "disconnected"],
            [*COUNTED_KINDS[:4] * 5, *Kind],
            permits=1,
            waits=[*SOONEST, 3_000, 20_000],
        ),
    ),
    "half-open": (
        POLICIES.map(lambda drawn: {**drawn, "probes": 2, "stable_after_ms": 5_000}),
        histories(
            ["failure", *["success"] * 4, *["disconnected"] * 3],
            [*COUNTED_KINDS[:4], Kind.PAIRING],
            permits=2,
            waits=SOONEST,
        ),
    ),
    "held": (
        POLICIES,
        histories(
            [*["failure"] * 4, "success"],
            [*HELD, Kind.TEMPORARY_BAN, Kind.TEMPORARY_BAN, Kind.DNS],
            permits=1,
            waits=[*SOONEST, 20_000],
        ),
    ),
}

#: What was last known of the instance when the service went away.
BEGIN: Final = st.fixed_dictionaries(
    {
        "state": st.sampled_from([*[State.CLOSED] * 5, *State]),
        "epoch": st.sampled_from([0, START - 5_000]),
        "until": st.sampled_from([0, START + 1_500]),
    }
)


def begun(policy: Policy, begin: Step) -> Instance:
    instance = Instance("a", policy)
    instance.touched = START
    for name, value in begin.items():
        setattr(instance, name, value)
    return instance


@pytest.mark.parametrize("theme", THEMES)
@settings(max_examples=EXAMPLES // 10, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data(), begin=BEGIN)
def test_the_clients_breaker_answers_as_the_services_own_does(
    play: Play, theme: str, data: st.DataObject, begin: Step
) -> None:
    policies, histories = THEMES[theme]
    drawn, steps = data.draw(policies), data.draw(histories)
    if theme == "half-open":
        begin = {**begin, "state": State.HALF_OPEN}
    if begin["state"] is State.CLOSED or begin["state"] is State.HALF_OPEN:
        begin = {**begin, "until": 0}
    begin = {**begin, "cause": "operator" if begin["state"] in {"open", "forced_open"} else ""}
    policy = msgspec.convert(drawn, Policy)
    instance = begun(policy, begin)
    clock = START
    attempts: list[str] = []
    expected: list[Step] = []
    played: list[Step] = []
    for number, (wait, chance, told) in enumerate(steps):
        clock += wait
        step: Step = {"clock": clock, "chance": chance}
        if told is None:
            token = f"token{number:03}"
            request = PermitRequest(instance_id="a", token=token, random=chance)
            admission = instance.permit(request, clock, None)
            if admission.attempt_id:
                attempts.append(admission.attempt_id)
            expected.append({"answer": plain(admission), "memory": memory_of(instance)})
            played.append({**step, "token": token})
        else:
            report = report_of(number, told, attempts, instance.epoch, chance)
            verdict = instance.report(report, clock)
            expected.append({"answer": plain(verdict), "memory": memory_of(instance)})
            played.append({**step, "told": told_of(report)})
    start = {**begin, "touched": START}
    answers = play({"policy": msgspec.to_builtins(policy), "begin": start, "steps": played})
    assert [{**said, "answer": spelled(said["answer"])} for said in answers] == expected
    assert clock < START + DAY_MS  # after a day of silence the service forgets, the client does not


def report_of(
    number: int, told: Step, attempts: list[str], epoch: int, chance: float
) -> ReportRequest:
    kind = Kind(told["kind"]) if told["outcome"] == "failure" else None
    attempt = {"first": attempts[:1], "last": attempts[-1:]}.get(told["attempt"] or "", [])
    return ReportRequest(
        instance_id="a",
        id=f"r{number}",
        outcome=told["outcome"],
        kind=kind,
        effect=EFFECTS[kind] if kind else None,
        attempt_id=attempt[0] if attempt else None,
        epoch=None if told["epoch"] is None else max(0, epoch + told["epoch"]),
        ban_ms=told["ban_ms"],
        gateway=told["gateway"],
        random=chance,
    )


def told_of(report: ReportRequest) -> Step:
    told = {
        "id": report.id,
        "outcome": report.outcome,
        "kind": report.kind,
        "attemptId": report.attempt_id,
        "epoch": report.epoch,
        "banMs": report.ban_ms,
        "gateway": report.gateway,
    }
    return {name: value for name, value in told.items() if value is not None}


def plain(answer: msgspec.Struct) -> Step:
    """An answer of the service; that it is given without it is the caller's to say."""
    data: Step = msgspec.to_builtins(answer)
    return {**data, "degraded": True}


def memory_of(instance: Instance) -> Step:
    return {
        "terminal": instance.terminal,
        "ban_until": instance.ban_until,
        "window": {name: at for name, (at, _) in instance.window.kinds.items()},
        "reporters": instance.window.reporters.copy(),
        "probing": instance.slots.probing.copy(),
        "proving": instance.slots.proving.copy(),
        "connection": instance.connection,
        "connection_since": instance.connection_since,
        "proven": instance.proven,
        "attempts": instance.attempts,
        "level": instance.level,
        "closed": instance.closed,
    }


def spelled(answer: Step) -> Step:
    """The client's answer with the service's names."""
    return {
        "".join(f"_{letter.lower()}" if letter.isupper() else letter for letter in name): value
        for name, value in answer.items()
    }


def test_the_client_classifies_as_the_service_does(node: str) -> None:
    details = ["", "Connection was lost", "QR refs attempts ended", "Unexpected server response: 1"]
    script = f"""
        import {{ EFFECTS, kindOf }} from {json.dumps(str(CLIENT / "src" / "taxonomy.js"))};
        const kinds = [];
        for (const protocol of ["baileys", "whatsmeow"])
          for (let code = 0; code < 1000; code++)
            for (const detail of {json.dumps(details)})
              kinds.push(kindOf({{ protocol, code, detail }}));
        console.log(JSON.stringify([EFFECTS, kinds]));
    """
    command = [node, "--input-type=module", "--eval", script]
    effects, kinds = json.loads(subprocess.check_output(command, text=True))
    assert effects == {kind.value: effect.value for kind, effect in EFFECTS.items()}
    assert kinds == [
        classify(protocol, code, detail).value
        for protocol in ("baileys", "whatsmeow")
        for code in range(1_000)
        for detail in details
    ]


def test_the_client_begins_with_the_services_default_policy(node: str) -> None:
    script = f"""
        import {{ DEFAULT_POLICY }} from {json.dumps(str(CLIENT / "src" / "model.js"))};
        console.log(JSON.stringify(DEFAULT_POLICY));
    """
    command = [node, "--input-type=module", "--eval", script]
    policy = json.loads(subprocess.check_output(command, text=True))
    default = msgspec.to_builtins(Policy())
    assert policy == {name: default[name] for name in default if name != "fleet_guard"}
