"""`sekring watch` on a real terminal: what it leaves behind, and where it does not run."""

import re
import signal
from collections.abc import Iterator

import pytest

from sekring.tokens import NewToken, Role
from tests.commands import Terminal, in_pipe, on_terminal
from tests.replicas import Replica
from tests.servers import RedisServer, free_port

ID = "6281234567890"
TOKEN = NewToken.make("ops", Role.OPERATOR)

#: What brings the terminal back: the main screen, the cursor, no mouse.
RESTORED = ("\x1b[?1049l", "\x1b[?25h", "\x1b[?1000l")


@pytest.fixture(scope="module")
def process(redis_process: RedisServer) -> Iterator[Replica]:
    with Replica(redis_process.url) as process:
        yield process


@pytest.fixture
def service(
    process: Replica,
    redis_server: RedisServer,  # noqa: ARG001 - empties it
) -> Replica:
    """A service with one breaker that is open."""
    process.fail(ID, 15)
    return process


@pytest.mark.parametrize(
    ("where", "key", "code"),
    [
        ("the list", "q", 0),
        ("the list", "\x03", 130),
        # There a q is a letter.
        ("a question", "\x03", 130),
        ("the search", "\x03", 130),
    ],
    ids=["q", "Ctrl-C", "Ctrl-C in a question", "Ctrl-C in the search"],
)
def test_a_key_ends_it_and_the_terminal_is_as_before(
    service: Replica, where: str, key: str, code: int
) -> None:
    with Terminal(service.url, "watch") as terminal:
        terminal.sees(ID)
        if where != "the list":
            terminal.type("r" if where == "a question" else "/")
            terminal.sees("Reason, for the audit" if where == "a question" else "beginning of")
        terminal.type(key)

        assert terminal.ended() == code
        assert terminal.now == terminal.before
        assert all(sequence in terminal.written for sequence in RESTORED)
        assert "Traceback" not in terminal.written


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=str)
def test_a_signal_ends_it_and_the_terminal_is_as_before(
    service: Replica, number: signal.Signals
) -> None:
    with Terminal(service.url, "watch") as terminal:
        terminal.sees(ID)
        terminal.process.send_signal(number)

        assert terminal.ended() == 130
        assert terminal.now == terminal.before
        assert all(sequence in terminal.written for sequence in RESTORED)
        assert "Traceback" not in terminal.written


def test_it_ends_with_its_terminal(service: Replica) -> None:
    with Terminal(service.url, "watch") as terminal:
        terminal.sees(ID)

        assert terminal.hang_up() is not None


def test_it_can_be_left_while_the_service_hangs(service: Replica) -> None:
    with Terminal(service.url, "watch") as terminal:
        terminal.sees(ID)
        service.signal(signal.SIGSTOP)
        try:
            terminal.type("r\r")
            terminal.sees("Reset")
            terminal.type("\x03")
            assert terminal.ended() == 130, terminal.written[-3000:]
        finally:
            service.signal(signal.SIGCONT)


def test_a_reset_by_key_reaches_the_service(service: Replica) -> None:
    with Terminal(service.url, "watch") as terminal:
        terminal.sees(ID)
        terminal.type("r")
        terminal.sees("Reason, for the audit")
        terminal.type("the proxy is back\r")
        terminal.sees("it was open")

    entry = service.get(f"/v1/instances/{ID}/history")["transitions"][0]
    assert (entry["action"], entry["reason"]) == ("reset", "the proxy is back")


@pytest.mark.parametrize("no_color", ["", "1"])
def test_no_color_takes_the_colours_away(service: Replica, no_color: str) -> None:
    with Terminal(service.url, "watch", NO_COLOR=no_color) as terminal:
        terminal.sees(ID)
        terminal.type("r")
        terminal.sees("Reason, for the audit")

        styles = re.findall(r"\x1b\[([0-9;]*)m", terminal.written)
        codes = {code for style in styles for code in style.split(";")}
        colours = {str(code) for code in (*range(30, 39), *range(40, 49), *range(90, 108))}
        assert bool(codes & colours) == (not no_color)


# ----------------------------------------------------------------------- where it does not run


def test_in_a_pipe_it_names_what_to_use_instead(service: Replica) -> None:
    ended = in_pipe(service.url, "watch")

    assert (ended.code, ended.out) == (2, "")
    assert ended.err == (
        "sekring: watch needs a terminal; in a pipe or a script, `sekring health` and "
        "`sekring status` (with --json) say the same once.\n"
    )


def test_a_terminal_without_a_screen_is_none(service: Replica) -> None:
    ended = on_terminal(service.url, "watch", TERM="dumb")

    assert ended.code == 2
    assert "TERM says that this one cannot; `sekring health` and `sekring status`" in ended.out


def test_a_token_that_nobody_knows_is_said_on_the_command_line(redis_server: RedisServer) -> None:
    entry = TOKEN.entry
    tokens = f"{entry.name}={entry.role}:{entry.hash}"
    with Replica(redis_server.url, tokens=tokens) as service:
        for token in ("", NewToken.make("x", Role.OPERATOR).token):
            ended = on_terminal(service.url, "watch", SEKRING_TOKEN=token)

            assert ended.code == 1
            assert re.search(r"\x1b\[\?1049l.*sekring: [^\n]+\n$", ended.out, flags=re.DOTALL)
            assert "Put a token of this service into SEKRING_TOKEN." in ended.out
            assert "Traceback" not in ended.out


def test_a_url_that_is_none_exits_2(service: Replica) -> None:
    ended = on_terminal(service.url, "watch", SEKRING_URL=f"localhost:{free_port()}")

    assert ended.code == 2
    assert "Did you mean http://localhost" in ended.out
