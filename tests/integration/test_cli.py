"""The command line against a real service: what each subcommand says, and how it ends."""

import json
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from tests.commands import Here, in_pipe
from tests.servers import RedisServer
from tests.serving import ServiceProcess

ID = "6281234567890"
OTHER = "6289876543210"


@pytest.fixture(scope="module")
def process(redis_process: RedisServer) -> Iterator[ServiceProcess]:
    # Patient: a busy machine must not make it decide without Redis.
    with ServiceProcess(redis_process.url, redis_timeout_ms=20_000) as process:
        yield process


@pytest.fixture
def service(
    process: ServiceProcess,
    redis_server: RedisServer,  # noqa: ARG001 - empties it
) -> ServiceProcess:
    """The service that all tests here share, with nothing in its Redis."""
    return process


@pytest.fixture
def sekring(
    service: ServiceProcess, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Here:
    return Here(service.url, monkeypatch, capsys)


def fail(service: ServiceProcess, instance_id: str, times: int = 1, **outcome: Any) -> None:
    report = {"instance_id": instance_id, "outcome": "failure", "kind": "websocket", **outcome}
    httpx.post(f"{service.url}/v1/outcomes", json={"outcomes": [report] * times}).raise_for_status()


def ban(service: ServiceProcess, instance_id: str) -> None:
    fail(service, instance_id, kind="temporary_ban", ban_expires_in_ms=86_400_000)


def state_of(service: ServiceProcess, instance_id: str) -> str:
    state: str = httpx.get(f"{service.url}/v1/instances/{instance_id}").json()["state"]
    return state


# ---------------------------------------------------------------------------- status of one


def test_an_instance_that_was_never_seen_is_closed_and_permits(sekring: Here) -> None:
    ended = sekring("status", ID)

    assert ended.code == 0
    assert ended.lines[0] == f"{ID} is closed: attempts are permitted; nothing is known of it"
    assert "Failures 0 of 15 within 5 min" in ended.lines


def test_an_open_breaker_is_told_with_its_cause_and_times_and_exits_1(
    service: ServiceProcess, sekring: Here
) -> None:
    fail(service, ID, 15, detail="websocket: close 1006")
    fail(service, ID, 1)

    ended = sekring("status", ID)

    assert ended.code == 1
    assert ended.lines[:2] == [f"{ID} is open: attempts are refused", "State open"]
    shown = "\n".join(ended.lines)
    assert "Cause failures\n" in shown
    assert "(in 9 min 5" in shown
    assert "Failures 15 of 15 within 5 min (websocket 15)" in shown
    assert "While open 1 failure reported, not counted" in shown
    assert "Policy opens at 15 failures within 5 min, for 10 min; the fleet's" in shown


@pytest.mark.parametrize(
    ("make", "state", "code"),
    [
        (["trip", ID, "--reason", "x"], "forced_open", 1),
        (["disable", ID, "--reason", "x"], "disabled", 0),
        (["reset", ID], "closed", 0),
    ],
)
def test_the_exit_code_tells_whether_attempts_are_permitted(
    sekring: Here, make: list[str], state: str, code: int
) -> None:
    assert sekring(*make).code == 0

    ended = sekring("status", ID)

    assert (ended.code, ended.lines[1]) == (code, f"State {state}")


def test_a_half_open_breaker_permits(service: ServiceProcess, sekring: Here) -> None:
    sekring("policy", "set", "probes=2", "cooldown_ms=1", "failure_threshold=2", "--instance", ID)
    fail(service, ID, 2)

    ended = sekring("status", ID)

    assert (ended.code, ended.lines[1]) == (0, "State half_open")
    assert "Probes 0 of 2 succeeded, 0 in flight" in ended.lines
    assert (
        "Policy opens at 2 failures within 5 min, for 1 ms; "
        "cooldown_ms, failure_threshold, probes of its own"
    ) in ended.lines


def test_what_only_a_person_can_lift_has_no_time_left(
    service: ServiceProcess, sekring: Here
) -> None:
    fail(service, ID, kind="logged_out")

    assert "Until re-paired" in sekring("status", ID).lines
    assert f"{ID} open until re-paired now 0/15 logged_out" in sekring("status").lines


def test_what_a_gateway_wrote_cannot_steer_the_terminal(
    service: ServiceProcess, sekring: Here
) -> None:
    fail(service, ID, detail="\x1b]0;owned\x07\nState closed")

    ended = sekring("status", ID)

    assert r"\x1b]0;owned\x07\nState closed" in ended.out
    assert "\x1b" not in ended.out


# ---------------------------------------------------------------------------------- listing


def test_the_listing_has_every_breaker_that_is_not_closed_and_the_totals(
    service: ServiceProcess, sekring: Here
) -> None:
    fail(service, "open-1", 15)
    fail(service, "closed-1", 3)
    sekring("trip", "forced-1", "--reason", "number under review", "--for", "1d")
    sekring("disable", "off-1", "--reason", "testing")
    sekring("policy", "set", "failure_threshold=20", "--instance", "off-1")

    ended = sekring("status")

    assert ended.code == 0
    heading, opened, forced, disabled, totals = ended.lines
    assert heading == "INSTANCE STATE TIME LEFT OPENED FAILURES CAUSE"
    assert opened.startswith("open-1 open 9 min 5")
    assert opened.endswith("15/15 failures")
    assert forced.startswith("forced-1 forced_open 23 h 59 min ")
    assert forced.endswith("0/15 operator: number under review")
    assert disabled == "off-1 disabled until a reset 0/20 operator: testing"
    assert totals.startswith("1 open, 1 forced open, 0 half-open, 1 disabled; 4 known, ")


def test_columns_are_aligned_in_a_pipe(service: ServiceProcess, sekring: Here) -> None:
    fail(service, "a", 15)
    fail(service, "a-much-longer-instance-name-" + "x" * 60, 15)

    heading, *rows, _ = sekring("status").out.splitlines()

    column = heading.index("STATE")
    assert [row[column - 2 : column + 6] for row in rows] == ["  open  "] * 2
    assert all(line == line.rstrip() for line in (heading, *rows))


def test_a_fleet_without_any_trouble_says_so(sekring: Here) -> None:
    ended = sekring("status")

    assert ended.code == 0
    assert ended.lines[0] == "No breaker is open, forced open, half-open or disabled."
    assert sekring("status", "--state", "open").lines[0] == "No breaker is open."


def test_a_state_narrows_the_listing(service: ServiceProcess, sekring: Here) -> None:
    fail(service, "open-1", 15)
    fail(service, "closed-1", 3)

    assert [line.split()[0] for line in sekring("status", "--state", "closed").lines[1:-1]] == [
        "closed-1"
    ]


def test_a_prefix_narrows_the_listing(service: ServiceProcess, sekring: Here) -> None:
    for name in ("6281-open", "6282-open"):
        fail(service, name, 15)
    sekring("trip", "6281-forced", "--reason", "x")

    listed = sekring("status", "--prefix", "6281").lines
    assert [line.split()[0] for line in listed[1:3]] == ["6281-open", "6281-forced"]
    by_both = sekring("status", "--prefix", "6281", "--state", "open", "--json").json
    assert [one["instance_id"] for one in by_both["instances"]] == ["6281-open"]
    assert (
        "No breaker of an instance whose ID begins with 63"
        in sekring("status", "--prefix", "63").out
    )


def test_all_pages_are_listed_unless_a_limit_says_otherwise(
    service: ServiceProcess, sekring: Here
) -> None:
    names = [f"instance-{number:04}" for number in range(1_200)]
    for first in range(0, 1_200, 600):
        reports = [
            {"instance_id": name, "outcome": "failure", "kind": "logged_out"}
            for name in names[first : first + 600]
        ]
        httpx.post(
            f"{service.url}/v1/outcomes", json={"outcomes": reports}, timeout=60
        ).raise_for_status()

    everything = sekring("status", "--json")
    some = sekring("status", "--limit", "7")

    assert sorted(one["instance_id"] for one in everything.json["instances"]) == names
    assert everything.json["cursor"] is None
    assert len(some.lines) == 10
    assert some.lines[-2] == "There are more than these 7: raise --limit."


def test_a_limited_json_listing_goes_on_with_its_cursor(
    service: ServiceProcess, sekring: Here
) -> None:
    for number in range(5):
        fail(service, f"open-{number}", kind="logged_out")

    found: list[str] = []
    cursor: list[str] = []
    while True:
        page = sekring("status", "--state", "open", "--limit", "2", "--json", *cursor).json
        found += [one["instance_id"] for one in page["instances"]]
        if page["cursor"] is None:
            break
        cursor = ["--cursor", page["cursor"]]

    assert sorted(found) == [f"open-{number}" for number in range(5)]


# ----------------------------------------------------------------------------------- --json


@pytest.mark.parametrize(
    ("words", "path"),
    [
        (["health"], "/health"),
        (["policy"], "/v1/policy"),
        (["policy", ID], f"/v1/instances/{ID}/policy"),
        (["history", ID, "--limit", "5"], f"/v1/instances/{ID}/history?limit=5"),
    ],
)
def test_json_is_the_services_own_byte_for_byte(
    service: ServiceProcess, sekring: Here, words: list[str], path: str
) -> None:
    fail(service, ID, 15)

    assert sekring(*words, "--json").out == httpx.get(service.url + path).text + "\n"


def test_json_of_a_status_has_all_fields_and_the_same_exit_code(
    service: ServiceProcess, sekring: Here
) -> None:
    fail(service, ID, 15)

    ended = sekring("status", ID, "--json")

    assert ended.code == 1
    assert set(ended.json) == set(httpx.get(f"{service.url}/v1/instances/{ID}").json())


def test_a_refusal_is_a_json_document_too_and_a_sentence_on_stderr(sekring: Here) -> None:
    ended = sekring("policy", "set", "failure_threshold=0", "--json")

    assert ended.code == 1
    assert (ended.json["status"], ended.json["field"]) == (400, "failure_threshold")
    assert ended.err == f"sekring: {ended.json['detail']}\n"


# ------------------------------------------------------------------------------------ reset


def test_a_reset_says_what_each_instance_was(service: ServiceProcess, sekring: Here) -> None:
    fail(service, ID, 15)
    fail(service, OTHER, 3)

    ended = sekring("reset", ID, OTHER, "never-seen", "--reason", "the proxy is back")

    assert ended.code == 0
    assert ended.lines == [
        f"{ID}: closed; it was open.",
        f"{OTHER}: closed as before, its counters are cleared.",
        "never-seen: closed; nothing is known of it.",
    ]
    assert "the proxy is back" in sekring("history", ID).out


def test_one_answer_is_an_object_and_several_are_an_array(
    service: ServiceProcess, sekring: Here
) -> None:
    fail(service, ID, 15)

    one = sekring("reset", ID, "--json").json
    several = sekring("reset", ID, OTHER, "--json").json

    assert (one["instance_id"], one["was"], one["state"]) == (ID, "open", "closed")
    assert [answer["instance_id"] for answer in several] == [ID, OTHER]


def test_a_ban_is_not_reset_and_does_not_keep_the_others_from_it(
    service: ServiceProcess, sekring: Here
) -> None:
    ban(service, ID)
    fail(service, OTHER, 15)

    alone = sekring("reset", ID)
    together = sekring("reset", ID, OTHER, "--json")

    assert (alone.code, alone.out) == (1, "")
    assert alone.err.startswith(f"sekring: WhatsApp has banned {ID} for another ")
    assert together.code == 1
    assert [answer.get("status") for answer in together.json] == [409, None]
    assert together.err.startswith(f"sekring: {ID}: WhatsApp has banned ")
    assert (state_of(service, ID), state_of(service, OTHER)) == ("open", "closed")


def test_force_with_a_reason_lifts_a_ban(service: ServiceProcess, sekring: Here) -> None:
    ban(service, ID)

    ended = sekring("reset", ID, "--force", "--reason", "lifted, ticket 4711")

    assert (ended.code, ended.lines) == (0, [f"{ID}: closed; it was open."])


@pytest.mark.parametrize(
    "words",
    [
        ["--force"],
        ["--force", "--reason", "x"],
        [ID, "--force"],
        ["--all", "--force", "--reason", "x", "--yes"],
        ["--state", "open", "--force", "--reason", "x", "--yes"],
    ],
)
def test_force_takes_instances_and_a_reason(sekring: Here, words: list[str]) -> None:
    assert sekring("reset", *words).code == 2


def test_all_and_a_state_reset_many_and_count_them(service: ServiceProcess, sekring: Here) -> None:
    for name in ("open-1", "open-2"):
        fail(service, name, 15)
    ban(service, "banned-1")
    sekring("trip", "forced-1", "--reason", "x")

    by_state = sekring("reset", "--state", "open", "--yes")
    everything = sekring("reset", "--all", "--yes", "--json")

    assert by_state.lines == ["2 of 3 were reset; 1 left alone: a ban is in force."]
    assert everything.json == {"requested": 4, "reset": 3, "unchanged": 0, "banned": 1}
    assert state_of(service, "forced-1") == "closed"
    assert state_of(service, "banned-1") == "open"


def test_a_prefix_resets_those_alone(service: ServiceProcess, sekring: Here) -> None:
    for name in ("6281-open", "6282-open"):
        fail(service, name, 15)
    sekring("trip", "6281-forced", "--reason", "x")

    by_both = sekring("reset", "--prefix", "6281", "--state", "open", "--yes")
    states = [state_of(service, name) for name in ("6281-open", "6282-open", "6281-forced")]

    assert by_both.lines == ["1 of 1 were reset."]
    assert states == ["closed", "open", "forced_open"]
    assert sekring("reset", "--prefix", "62", "--yes").lines == ["3 of 3 were reset."]


@pytest.mark.parametrize("words", [["--all"], ["--state", "open"], ["--prefix", "62"]])
def test_without_a_terminal_to_ask_on_many_are_reset_only_with_yes(
    service: ServiceProcess, sekring: Here, words: list[str]
) -> None:
    fail(service, ID, 15)

    ended = sekring("reset", *words)

    assert (ended.code, ended.out) == (2, "")
    assert "no terminal to ask on: add --yes" in ended.err
    assert state_of(service, ID) == "open"


# --------------------------------------------------------------------------- trip, disable


@pytest.mark.parametrize(("verb", "state"), [("trip", "forced_open"), ("disable", "disabled")])
def test_a_state_is_forced_for_a_time_or_until_a_reset(
    sekring: Here, verb: str, state: str
) -> None:
    timed = sekring(verb, ID, "--reason", "number under review", "--for", "1h30m")
    endless = sekring(verb, ID, "--reason", "number under review")

    assert timed.lines[0].startswith(f"{ID}: {state} for 1 h 30 min, until ")
    assert timed.lines[0].endswith("; it was closed.")
    assert endless.lines == [f"{ID}: {state} until a reset; it was {state}."]
    assert "number under review" in sekring("history", ID).out


def test_an_answer_to_a_trip_has_the_time_left(sekring: Here) -> None:
    answer = sekring("trip", ID, "--reason", "x", "--for", "500ms", "--json").json

    assert (answer["state"], answer["remaining_ms"]) == ("forced_open", 500)


def test_a_time_that_the_service_does_not_take_is_refused_by_it(sekring: Here) -> None:
    ended = sekring("trip", ID, "--reason", "x", "--for", "366d")

    assert ended.code == 1
    assert ended.err.startswith("sekring: for_ms: ")


# ----------------------------------------------------------------------------------- policy


def test_a_policy_shows_each_value_and_where_it_comes_from(sekring: Here) -> None:
    sekring("policy", "set", "window_ms=6m", "backoff.base_ms=2s", "weights.dns=2")
    sekring("policy", "set", "backoff.cap_ms=30s", "weights.tls=0", "--instance", ID)

    fleet, own = sekring("policy"), sekring("policy", ID)

    assert fleet.lines[:2] == ["The fleet's policy (version 1)", "FIELD VALUE FROM"]
    assert {"window_ms 360000 6 min global", "failure_threshold 15 default"} <= set(fleet.lines)
    assert own.lines[0] == f"The policy of {ID} (version 1)"
    assert {
        "window_ms 360000 6 min global",
        "backoff.base_ms 2000 2 s global",
        "backoff.cap_ms 30000 30 s instance",
        "backoff.factor 2.0 default",
        "weights.dns 2 global",
        "weights.tls 0 instance",
        "probes 0 default",
    } <= set(own.lines)


@pytest.mark.parametrize(
    "words", [["show", ID], [ID], [ID, "show"], ["--instance", ID], ["show", "--instance", ID]]
)
def test_an_instances_policy_can_be_asked_for_in_any_order(sekring: Here, words: list[str]) -> None:
    assert sekring("policy", *words).lines[0] == f"The policy of {ID} (never set)"


def test_unset_goes_back_to_the_fleets_policy(sekring: Here) -> None:
    sekring("policy", "set", "failure_threshold=3", "--instance", ID)

    ended = sekring("policy", "unset", "--instance", ID)

    assert ended.code == 0
    assert "failure_threshold 15 default" in ended.lines


def test_unset_without_an_instance_goes_back_to_the_defaults(sekring: Here) -> None:
    sekring("policy", "set", "failure_threshold=3")

    ended = sekring("policy", "unset")

    assert ended.code == 0
    assert "failure_threshold 15 default" in ended.lines


@pytest.mark.parametrize(
    ("assignment", "field"),
    [
        ("failure_threshold=0", "failure_threshold"),
        ("window_ms=2d", "window_ms"),
        ("window_ms=soon", "window_ms"),
        ("backoff.cap_ms=1ms", "backoff.cap_ms"),
        ("weights.conflict=2", "weights.conflict"),
        ("backoff.speed=1", "backoff.speed"),
        ("colour=red", "colour"),
    ],
)
def test_an_impossible_policy_is_refused_by_the_service_which_names_the_field(
    sekring: Here, assignment: str, field: str
) -> None:
    ended = sekring("policy", "set", assignment)

    assert (ended.code, ended.out) == (1, "")
    assert ended.err.startswith(f"sekring: {field}")
    assert "version" not in sekring("policy").lines[0]


@pytest.mark.parametrize(
    "words",
    [
        ["set"],
        ["set", "probes"],
        ["unset", "probes", "--instance", ID],
        [ID, OTHER],
        ["show", ID, "--instance", ID],
        ["two words"],
    ],
)
def test_a_policy_command_that_makes_no_sense_sends_nothing(
    sekring: Here, words: list[str]
) -> None:
    ended = sekring("policy", *words, SEKRING_URL="http://127.0.0.1:1")

    assert (ended.code, ended.out) == (2, "")


# -------------------------------------------------------------------------- history, health


def test_history_tells_what_happened_newest_first(service: ServiceProcess, sekring: Here) -> None:
    fail(service, ID, 15)
    sekring("reset", ID, "--reason", "the proxy is back")

    heading, latest, first = sekring("history", ID).lines

    assert heading == "TIME AGO ACTION FROM TO CAUSE BY REASON"
    assert " reset open closed failures anonymous 127.0.0.1 the proxy is back" in latest
    assert " trip closed open failures anonymous 127.0.0.1" in first
    assert len(sekring("history", ID, "--limit", "1").lines) == 2


def test_an_instance_without_history_says_so(sekring: Here) -> None:
    assert sekring("history", ID).lines == [f"Nothing has changed the breaker of {ID} lately."]


def test_health_has_the_guides_figures_and_exits_0_however_the_fleet_is(
    service: ServiceProcess, sekring: Here
) -> None:
    fail(service, ID, 15)
    sekring("trip", OTHER, "--reason", "x")

    ended = sekring("health")

    assert ended.code == 0
    assert ended.lines == [
        f"Server is running ({service.url})",
        "Health score 65 of 100",
        "Instances 2",
        "Connected 0",
        "Connecting 0",
        "Breakers open 2 (1 forced by an operator)",
        "Breakers half-open 0",
        "Breakers disabled 0",
        "Fleet guard closed",
        "Recent failures 15",
        "Retry attempts 0",
    ]


# ------------------------------------------------------------------------------ usage, ids


@pytest.mark.parametrize(
    "words",
    [
        [],
        ["stauts"],
        ["status", "--limit", "0"],
        ["status", "--limit", "many"],
        ["status", "--state", "ajar"],
        ["status", "--cursor", "3:a"],
        ["status", ID, "--state", "open"],
        ["status", ID, OTHER],
        ["status", "--token", "x"],
        ["reset"],
        ["reset", ID, "--all", "--yes"],
        ["reset", "--all", "--state", "open", "--yes"],
        ["trip", ID],
        ["trip", "--reason", "x"],
        ["trip", ID, "--reason", "x", "--for", "5"],
        ["disable", ID],
        ["history"],
        ["health", "--timeout", "0s"],
        ["token"],
        ["token", "new"],
        ["token", "new", "--role", "king"],
        ["token", "new", "--role", "viewer", "--name", "two words"],
    ],
)
def test_wrong_usage_exits_2_says_why_and_sends_nothing(sekring: Here, words: list[str]) -> None:
    ended = sekring(*words, SEKRING_URL="http://127.0.0.1:1")

    assert (ended.code, ended.out) == (2, "")
    assert "sekring" in ended.err


@pytest.mark.parametrize(
    "words", [["status"], ["history"], ["reset"], ["reset", ID], ["trip", "--reason", "x"]]
)
@pytest.mark.parametrize("name", ["", "a b", "../policy", "a/b", "a?b", "é", "x" * 129, "a\n"])
def test_an_impossible_id_is_refused_before_anything_is_sent(
    sekring: Here, words: list[str], name: str
) -> None:
    ended = sekring(*words, name, SEKRING_URL="http://127.0.0.1:1")

    assert (ended.code, ended.out) == (2, "")
    assert "is no instance ID, which takes 1 to 128 of A-Z a-z 0-9 . _ : @ -" in ended.err


@pytest.mark.parametrize("name", ["-a", "..", ".", "a:b@c.d_e-f", "x" * 128])
def test_every_possible_id_reaches_its_instance(sekring: Here, name: str) -> None:
    assert sekring("trip", "--reason", "x", "--", name).code == 0

    ended = sekring("status", "--json", "--", name)

    assert (ended.code, ended.json["instance_id"]) == (1, name)
    assert [one["instance_id"] for one in sekring("status", "--json").json["instances"]] == [name]


@pytest.mark.parametrize(
    "command",
    ["serve", "status", "reset", "trip", "disable", "policy", "history", "health", "token"],
)
def test_help_describes_every_command(sekring: Here, command: str) -> None:
    everything, one = sekring("--help"), sekring(command, "--help")

    assert (everything.code, one.code) == (0, 0)
    assert f"    {command} " in everything.out
    assert one.out.startswith(f"usage: sekring {command} ")
    if command != "serve":
        assert f"examples:\n  sekring {command}" in one.out


def test_the_installed_command_does_the_same(service: ServiceProcess) -> None:
    refused = in_pipe(service.url, "policy", "set", "failure_threshold=0")
    tripped = in_pipe(service.url, "trip", ID, "--reason", "x", "--for", "1h", "--json")
    status = in_pipe(service.url, "status", ID)

    assert (refused.code, refused.out) == (1, "")
    assert (tripped.code, json.loads(tripped.out)["state"]) == (0, "forced_open")
    assert status.code == 1
    # Times are the machine's own, with their zone, and relative.
    assert "+07:00 (in 59 min " in status.out
