"""`sekring watch`: what it shows of a real service, and what its keys do to it."""

import os
import re
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from sekring.tokens import NewToken, Role
from tests.replicas import Replica
from tests.servers import RedisServer
from tests.watching import Screen, watching

ID = "6281234567890"
OTHER = "6289876543210"
TOKENS = {role: NewToken.make(f"the-{role}", role) for role in Role}
OPERATOR = TOKENS[Role.OPERATOR].token
SIZES = [(120, 40), (80, 24), (60, 20)]


@pytest.fixture(scope="module")
def process(redis_process: RedisServer) -> Iterator[Replica]:
    with Replica(redis_process.url) as process:
        yield process


@pytest.fixture
def service(
    process: Replica,
    redis_server: RedisServer,  # noqa: ARG001 - empties it
) -> Replica:
    return process


@pytest.fixture
def guarded(redis_server: RedisServer) -> Iterator[Replica]:
    """A service with one token of each role, asked by its operator."""
    entries = [made.entry for made in TOKENS.values()]
    tokens = " ".join(f"{entry.name}={entry.role}:{entry.hash}" for entry in entries)
    service = Replica(redis_server.url, tokens=tokens)
    service._client.headers["Authorization"] = f"Bearer {OPERATOR}"
    with service:
        yield service


def trip(service: Replica, instance_id: str, **body: object) -> None:
    service.post(f"/v1/instances/{instance_id}/trip", {"reason": "number under review"} | body)


def state(service: Replica, instance_id: str) -> object:
    return service.instance(instance_id)["state"]


def row(screen: Screen, instance_id: str) -> str:
    """The line of the list that is this instance's."""
    found = [line for line in screen.text.splitlines() if line.startswith(instance_id)]
    return found[0] if found else ""


def order(screen: Screen) -> list[str]:
    return re.findall(r"^628\d+(?= )", screen.text, flags=re.MULTILINE)


# -------------------------------------------------------------------------------- what is shown


async def test_it_shows_the_fleet_in_figures(service: Replica) -> None:
    service.fail(ID, 15)
    service.fail(OTHER, 2)
    service.report("6280000000001", "success")
    trip(service, "6280000000002")

    async with watching(service.url) as screen:
        await screen.sees("● live", "4 known 1 connected 0 connecting 17 failures guard closed")
        await screen.sees("0 not closed 2 1 open 1 2 half-open 0 3 forced open 1 4 disabled 0")
        await screen.sees("5 closed 2 6 all 4", service.url, "anonymous (operator)")
        score = service.health()["health_score"]
        await screen.sees(f"health {score}")


@pytest.mark.parametrize("size", SIZES, ids=str)
async def test_it_lists_what_is_not_closed(service: Replica, size: tuple[int, int]) -> None:
    service.fail(ID, 15)
    service.fail(OTHER, 2)
    trip(service, "6280000000002")

    async with watching(service.url, size=size) as screen:
        await screen.sees("2 not closed, by time left.")

        assert re.match(rf"{ID} open (10:00|9:5\d) 15/15 failures", row(screen, ID))
        assert re.search(r"forced_open (until )?a reset 0/15 operator", screen.text)
        assert not row(screen, OTHER)
        assert max(map(len, screen.lines)) <= size[0]
        assert ("websocket" in row(screen, ID)) == (size[0] >= 80)


async def test_the_time_left_counts_down_by_itself(service: Replica) -> None:
    service.fail(ID, 15)

    async with watching(service.url) as screen:
        await screen.sees("1 not closed")
        left, lefts = "", []
        for _ in range(4):
            left = await screen.finds(rf"{ID} open (\d+:\d\d)", other_than=left)
            minutes, seconds = left.split(":")
            lefts.append(60 * int(minutes) + int(seconds))
        assert 600 > lefts[1] > lefts[2] > lefts[3]


async def test_what_happens_is_seen_without_a_key(service: Replica) -> None:
    async with watching(service.url) as screen:
        await screen.sees("● live", "No breaker is not closed.", "Nothing has changed")

        service.fail(ID, 15)
        await screen.sees(f"{ID} trip closed → open failures by anonymous", "1 not closed")
        assert "open" in row(screen, ID)

        service.reset(ID)
        await screen.sees(f"{ID} reset open → closed", "No breaker is not closed.")
        assert not row(screen, ID)


async def test_a_recovery_takes_it_from_the_list(service: Replica) -> None:
    service.set_policy(cooldown_ms=1_000)

    async with watching(service.url) as screen:
        await screen.sees("● live")
        service.fail(ID, 15)

        await screen.sees(f"{ID} recover open → closed", "No breaker is not closed.")


async def test_the_guard_is_shown(service: Replica) -> None:
    async with watching(service.url) as screen:
        await screen.sees("● live", "guard closed")

        service.post("/v1/guard/trip", {"reason": "WhatsApp is down"})

        await screen.sees("guard forced_open, 20 permits/s", "the fleet guard_force_open")


async def test_an_instance_is_shown_with_all_that_is_known_of_it(service: Replica) -> None:
    service.fail(ID, 15)
    service.post("/v1/sessions", {"instance_id": ID})
    claim = {"gateway": "gateway-7", "capacity": 5, "held": 0}
    assert service.post("/v1/leases/claim", claim)["leases"]

    async with watching(service.url, size=(120, 60)) as screen:
        await screen.sees("1 not closed")
        await screen.press("enter")

        await screen.sees(f"{ID} is open: attempts are refused", "Cause failures")
        await screen.sees("Failures in the last 5 min", "15 of 15 open the breaker")
        await screen.sees("trip closed → open failures by anonymous 127.0.0.1")
        await screen.sees("Lease owner gateway-7", "Attempts in flight 0")
        await screen.sees("failure_threshold 15 default", "cooldown_ms 10 min default")

        service.post(f"/v1/instances/{ID}/reset", {"reason": "the proxy is back"})
        await screen.sees(f"{ID} is closed", "by anonymous 127.0.0.1 the proxy is back")

        await screen.press("escape")
        await screen.sees("No breaker is not closed.")


# ------------------------------------------------------------------------- search, filter, sort


async def test_a_search_finds_the_beginning_of_an_id_as_it_is_typed(service: Replica) -> None:
    for name in ("6281111", "6281112", "6282222"):
        trip(service, name)

    async with watching(service.url) as screen:
        await screen.sees("3 not closed")
        await screen.press("slash")
        await screen.type("6281 [1!1")
        # What no id has is not taken.
        await screen.sees("2 not closed, its id beginning with 628111,")
        assert order(screen) == ["6281111", "6281112"]

        await screen.press("enter", "down", "t")
        await screen.sees("Force 6281112 open?")
        await screen.press("escape", "escape")
        await screen.sees("3 not closed, by")


async def test_an_id_that_is_not_on_the_list_is_opened_all_the_same(service: Replica) -> None:
    service.fail(OTHER, 3)

    async with watching(service.url) as screen:
        await screen.sees("● live")
        await screen.press("slash")
        await screen.type(OTHER)
        await screen.sees("Enter opens the id all the same")
        await screen.press("enter")

        await screen.sees(f"{OTHER} is closed", "Failures 3 of 15 within 5 min")


async def test_the_digits_choose_the_states(service: Replica) -> None:
    service.fail("6281", 15)
    trip(service, "6283")
    service.post("/v1/instances/6284/disable", {"reason": "test"})
    service.fail("6285", 1)

    async with watching(service.url) as screen:
        await screen.sees("2 not closed")
        for key, words, found in (
            ("1", "1 open, by", ["6281"]),
            ("2", "No breaker is half-open.", []),
            ("3", "1 forced open, by", ["6283"]),
            ("4", "1 disabled, by", ["6284"]),
            ("5", "1 closed, by", ["6285"]),
            ("6", "4 in any state, by", ["6281", "6283", "6284", "6285"]),
            ("0", "2 not closed, by", ["6281", "6283"]),
        ):
            await screen.press(key)
            await screen.sees(words)
            assert order(screen) == found, key


async def test_it_is_sorted_as_one_likes(service: Replica) -> None:
    service.fail("6282", 15)
    trip(service, "6281", for_ms=60_000)
    trip(service, "6283", for_ms=3_600_000)

    async with watching(service.url) as screen:
        await screen.sees("3 not closed, by time left.")
        assert order(screen) == ["6281", "6282", "6283"]
        for words, found in (
            ("failures", ["6282", "6281", "6283"]),
            ("opened last", ["6283", "6281", "6282"]),
            ("instance", ["6281", "6282", "6283"]),
        ):
            await screen.press("s")
            await screen.sees(f"3 not closed, by {words}.")
            assert order(screen) == found


async def test_the_cursor_stays_on_its_breaker(service: Replica) -> None:
    trip(service, "6285", for_ms=600_000)
    trip(service, "6286", for_ms=700_000)

    async with watching(service.url) as screen:
        await screen.sees("2 not closed")
        await screen.press("down")
        trip(service, "6281", for_ms=60_000)
        trip(service, "6282", for_ms=61_000)
        await screen.sees("4 not closed")
        await screen.press("r")

        await screen.sees("Reset 6286?")


# ----------------------------------------------------------------------------- what is changed


async def test_a_reset_by_key_is_in_the_audit_trail_with_who_and_why(guarded: Replica) -> None:
    guarded.fail(ID, 15)
    guarded.fail(OTHER, 15)

    async with watching(guarded.url, OPERATOR) as screen:
        await screen.sees("2 not closed", "the-operator (operator)")
        await screen.press("r")
        await screen.sees(f"Reset {ID}?", "It is open.")
        await screen.type("the proxy is back")
        await screen.press("enter")

        await screen.sees(f"{ID}: closed; it was open.", "1 not closed")
        await screen.sees(f"{ID} reset open → closed")

    entry = guarded.get(f"/v1/instances/{ID}/history")["transitions"][0]
    who_and_why = (entry["action"], entry["actor"], entry["reason"])
    assert who_and_why == ("reset", "the-operator", "the proxy is back")
    assert state(guarded, OTHER) == "open"


async def test_escape_resets_nothing(service: Replica) -> None:
    service.fail(ID, 15)

    async with watching(service.url) as screen:
        await screen.sees("1 not closed")
        for key, question in (("r", f"Reset {ID}?"), ("R", "Reset 1 breaker?"), ("t", "Force")):
            await screen.press(key)
            await screen.sees(question)
            await screen.press("escape")
            await screen.misses(question)

    assert service.history(ID) == ["trip"]


async def test_a_trip_takes_a_reason_and_an_end(service: Replica) -> None:
    service.fail(ID, 15)

    async with watching(service.url) as screen:
        await screen.sees("1 not closed")
        await screen.press("t", "enter")
        await screen.sees("A trip takes a reason.")
        await screen.type("fraud report")
        await screen.press("tab")
        await screen.type("soon")
        await screen.press("enter")
        await screen.sees("'soon' is no length of time, which is written like 90s")
        assert state(service, ID) == "open"

        await screen.press(*["backspace"] * 4)
        await screen.type("30m")
        await screen.press("enter")
        await screen.sees(f"{ID}: forced_open for 30 min; it was open.")
        await screen.sees(f"{ID} forced_open", "operator: fraud report")

    found = service.instance(ID)
    assert (found["state"], found["reason"]) == ("forced_open", "fraud report")
    assert 1_700_000 < found["remaining_ms"] <= 1_800_000


async def test_all_that_are_shown_are_reset_and_no_others(service: Replica) -> None:
    for name in ("6281111", "6281112", "6281113", "6282222"):
        service.fail(name, 15)
    trip(service, "6281114")

    async with watching(service.url) as screen:
        await screen.sees("5 not closed")
        await screen.press("slash")
        await screen.type("6281")
        await screen.press("enter", "1")
        await screen.sees("3 open, its id beginning with 6281, by time left.")
        await screen.press("R")
        await screen.sees("Reset 3 breakers?", "All that are shown: open, its id beginning with")
        await screen.type("the proxy is back")
        await screen.press("enter")
        # Not yet: it takes the button.
        await screen.sees("Reset 3 breakers?")
        assert state(service, "6281111") == "open"
        await screen.press("enter")
        await screen.sees("3 of 3 were reset.")

    states = [state(service, f"628{rest}") for rest in (1111, 1112, 1113, 1114, 2222)]
    assert states == ["closed", "closed", "closed", "forced_open", "open"]
    (entry, *_) = service.get("/v1/instances/6281112/history")["transitions"]
    assert (entry["action"], entry["reason"]) == ("reset", "the proxy is back")


@pytest.fixture
def patient(redis_server: RedisServer) -> Iterator[Replica]:
    """A service that waits longer for Redis: 1,100 trips at once take a while."""
    with Replica(redis_server.url, redis_timeout_ms=10_000) as service:
        yield service


async def test_more_than_the_list_holds_are_counted_and_reset_to_the_last(patient: Replica) -> None:
    service = patient
    service.set_policy(failure_threshold=1)
    reports = [{"instance_id": f"628{n:05d}", "outcome": "failure"} for n in range(1_100)]
    for some in (reports[:600], reports[600:]):
        service.post("/v1/outcomes", {"outcomes": some})
    assert service.health()["circuit_breaker_activations"] == 1_100

    async with watching(service.url) as screen:
        await screen.sees("1,000 of all not closed, by time left; / finds the others.")
        await screen.press("slash")
        await screen.type("6280109")
        await screen.sees("10 not closed, its id beginning with 6280109")
        await screen.press("escape")
        await screen.sees("1,000 of all not closed")
        await screen.press("R")
        await screen.sees("Reset 1,100 breakers?")
        await screen.press("enter", "enter")
        await screen.sees("1,100 of 1,100 were reset.")
        await screen.sees("No breaker is not closed.")

    assert service.health()["circuit_breaker_activations"] == 0


async def test_a_ban_is_lifted_only_if_that_is_chosen(service: Replica) -> None:
    service.report(ID, kind="temporary_ban", ban_expires_in_ms=3_600_000)

    async with watching(service.url) as screen:
        await screen.sees("1 not closed", "temporary_ban")
        await screen.press("r", "enter")
        await screen.sees("ban", "force")
        assert state(service, ID) == "open"

        await screen.press("r", "tab", "space", "shift+tab", "enter")
        await screen.sees("Lifting a ban takes a reason.")
        await screen.type("ticket 4711")
        await screen.press("enter")
        await screen.sees(f"{ID}: closed; it was open.")

    assert state(service, ID) == "closed"


@pytest.mark.parametrize("role", [Role.VIEWER, Role.GATEWAY])
async def test_who_may_only_look_is_offered_nothing_else_and_told_why(
    guarded: Replica, role: Role
) -> None:
    guarded.fail(ID, 15)

    async with watching(guarded.url, TOKENS[role].token) as screen:
        await screen.sees("1 not closed", f"the-{role} ({role})", "? Help")
        await screen.misses("Reset", "Trip")
        for keys in (["r"], ["t"], ["R"], ["enter", "r"]):
            await screen.press(*keys)
            await screen.sees(f"'the-{role}' has the role {role}")
            await screen.misses("Reset", "Force", "Trip")

    assert guarded.history(ID) == ["trip"]


async def test_an_operator_is_offered_all(guarded: Replica) -> None:
    async with watching(guarded.url, OPERATOR, size=(60, 20)) as screen:
        await screen.sees("/ Search s Sort R Reset all r Reset t Trip ? Help q Quit")


@pytest.mark.parametrize("size", SIZES, ids=str)
async def test_help_names_every_key(service: Replica, size: tuple[int, int]) -> None:
    async with watching(service.url, size=size) as screen:
        await screen.sees("● live")
        await screen.press("question_mark")
        await screen.sees("Keys", "search by the beginning of the id")
        await screen.press("end")
        await screen.sees("quit")
        await screen.press("q")
        await screen.misses("Keys")


# ------------------------------------------------------------------- where the service is away


async def test_it_says_since_when_the_service_is_away_and_goes_on_when_it_is_back(
    redis_server: RedisServer,
) -> None:
    with Replica(redis_server.url) as service, Replica(redis_server.url) as other:
        service.fail(ID, 15)
        async with watching(service.url) as screen:
            await screen.sees("● live", "1 not closed")
            service.kill()
            await screen.sees("● away since", "The service is away since 20", "Nothing listens at")
            await screen.sees("What is shown is what was last known.")
            assert row(screen, ID)

            # What is asked for meanwhile is refused, and said.
            await screen.press("r", "enter")
            await screen.sees("Nothing listens at")
            await screen.press("enter")
            await screen.sees("Not current since 20")
            await screen.press("escape")

            other.fail(OTHER, 15)
            service.start()
            await screen.sees("● live", "2 not closed")
            await screen.misses("away")
            # It happened while nobody was listening.
            await screen.sees(f"{OTHER} trip closed → open")
            assert screen.text.count("trip closed → open") == 1

            other.reset(ID)
            await screen.sees(f"{ID} reset open → closed", "1 not closed")


async def test_a_service_that_hangs_is_away_too(redis_server: RedisServer) -> None:
    with Replica(redis_server.url) as service:
        async with watching(service.url) as screen:
            await screen.sees("● live")
            os.killpg(service.pid, signal.SIGSTOP)
            try:
                await screen.sees("● away since", "gave no answer within 5 s")
            finally:
                os.killpg(service.pid, signal.SIGCONT)
            await screen.sees("● live")


async def test_it_begins_before_the_service_does(redis_server: RedisServer) -> None:
    service = Replica(redis_server.url)
    async with watching(service.url) as screen:
        await screen.sees("● away since", "Nothing listens at", "No figures yet.")
        service.start()
        try:
            await screen.sees("● live", "No breaker is not closed.")
        finally:
            service.stop()


async def test_without_redis_it_says_that_the_figures_are_old(tmp_path: Path) -> None:
    with RedisServer(tmp_path) as redis, Replica(redis.url) as service:
        service.fail(ID, 15)
        async with watching(service.url) as screen:
            await screen.sees("1 not closed")
            redis.kill()
            await screen.sees("Degraded: Redis is not reachable")


# --------------------------------------------------------------------------- hostile words


HOSTILE = "[bold red]x[/] [@click=app.quit]y[/] \x1b]0;owned\x07\x1b[2J \u202eback"
SHOWN = "[bold red]x[/] [@click=app.quit]y[/] \\x1b]0;owned\\x07\\x1b[2J"


async def test_what_others_wrote_is_shown_as_it_is_and_steers_nothing(service: Replica) -> None:
    service.fail(ID, 14)
    service.report(ID, kind="dns", detail=HOSTILE)

    async with watching(service.url, size=(160, 50)) as screen:
        await screen.sees("● live", "1 not closed")
        trip(service, OTHER, reason=HOSTILE)
        # On the list, in the feed, and in all that is known of it.
        await screen.sees(f"operator: {SHOWN[:20]}", f"{OTHER} force_open closed → forced_open")
        await screen.press("enter")
        await screen.sees(f"{ID} is open", SHOWN)
        assert not re.search(r"[\x00-\x09\x0b-\x1f\u202e]", screen.text)
