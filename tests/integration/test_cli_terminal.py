"""The command line on a terminal and in a pipe: colours, questions, and being cut short."""

import re
import signal
import socket
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.commands import in_pipe, on_terminal, start
from tests.servers import RedisServer
from tests.serving import ServiceProcess

ID = "6281234567890"
ESCAPE = "\x1b["


@pytest.fixture(scope="module")
def process(redis_process: RedisServer) -> Iterator[ServiceProcess]:
    with ServiceProcess(redis_process.url) as process:
        yield process


@pytest.fixture
def service(
    process: ServiceProcess,
    redis_server: RedisServer,  # noqa: ARG001 - empties it
) -> ServiceProcess:
    """A service with one instance that is forced open."""
    body = {"reason": "number under review", "for_ms": 3_600_000}
    httpx.post(f"{process.url}/v1/instances/{ID}/trip", json=body).raise_for_status()
    return process


def state(service: ServiceProcess) -> object:
    return httpx.get(f"{service.url}/v1/instances/{ID}").json()["state"]


def plain(text: str) -> str:
    return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", text)


# ---------------------------------------------------------------------------------- colours


def test_a_terminal_gets_colours(service: ServiceProcess) -> None:
    shown = on_terminal(service.url, "status").out

    assert f"{ESCAPE}1m" in shown
    assert re.search(r"\x1b\[[0-9;]*35mforced_open", shown)
    assert re.search(rf"{ID} +forced_open +59 min", plain(shown))


def test_no_color_takes_the_colours_away(service: ServiceProcess) -> None:
    shown = on_terminal(service.url, "status", NO_COLOR="1").out

    assert not re.search(r"\x1b\[(3[0-7]|9[0-7]|38[;:])", shown)


def test_a_dumb_terminal_gets_none(service: ServiceProcess) -> None:
    assert "\x1b" not in on_terminal(service.url, "status", TERM="dumb").out


@pytest.mark.parametrize("words", [["status"], ["status", ID], ["health"], ["policy"]])
def test_a_pipe_never_gets_colours(service: ServiceProcess, words: list[str]) -> None:
    ended = in_pipe(service.url, *words, TERM="xterm-256color", FORCE_COLOR="1", COLUMNS="20")

    assert "\x1b" not in ended.out
    assert ID in ended.out or words in (["health"], ["policy"])


def test_json_is_indented_for_a_person_and_plain_in_both(service: ServiceProcess) -> None:
    shown = on_terminal(service.url, "status", ID, "--json").out

    assert shown.startswith(f'{{\n  "instance_id": "{ID}",\n')
    assert in_pipe(service.url, "status", ID, "--json").out.count("\n") == 1


@pytest.mark.parametrize("columns", [40, 80, 200])
@pytest.mark.parametrize("words", [["status"], ["status", ID], ["history", ID]])
def test_nothing_is_lost_on_a_narrow_terminal(
    service: ServiceProcess, words: list[str], columns: int
) -> None:
    lines = plain(on_terminal(service.url, *words, columns=columns).out).splitlines()

    assert max(map(len, lines)) <= columns
    # Words may be wrapped, so only their characters can be counted.
    shown = Counter("".join(lines))
    assert Counter("forced_open number under review") <= shown
    assert words[0] == "history" or Counter(ID) <= shown


def test_a_history_too_wide_for_the_terminal_becomes_paragraphs(service: ServiceProcess) -> None:
    wide = plain(on_terminal(service.url, "history", ID, columns=200).out).splitlines()
    narrow = plain(on_terminal(service.url, "history", ID, columns=80).out).splitlines()

    assert [len(line.split()[0]) for line in wide] == [len("TIME"), len("2026-11-23")]
    assert [line.split()[0] for line in narrow if line.strip()] == [
        "TIME", "AGO", "ACTION", "FROM", "TO", "CAUSE", "BY", "REASON"
    ]  # fmt: skip


# -------------------------------------------------------------------------------- questions


@pytest.mark.parametrize("typed", ["y\n", "YES\n"])
def test_a_yes_resets_all(service: ServiceProcess, typed: str) -> None:
    ended = on_terminal(service.url, "reset", "--all", typed=typed)

    assert f"Reset every instance at {service.url}? [y/N]" in ended.out
    assert "1 of 1 were reset." in ended.out
    assert (ended.code, state(service)) == (0, "closed")


@pytest.mark.parametrize("typed", ["n\n", "\n", "yeah?\n", "\x04"])
def test_anything_else_resets_nothing(service: ServiceProcess, typed: str) -> None:
    ended = on_terminal(service.url, "reset", "--state", "forced_open", typed=typed)

    assert "Reset every instance that is forced_open at" in ended.out
    assert "sekring: nothing was reset." in ended.out
    assert (ended.code, state(service)) == (1, "forced_open")


def test_yes_on_the_command_line_asks_nothing(service: ServiceProcess) -> None:
    ended = on_terminal(service.url, "reset", "--all", "--yes")

    assert "[y/N]" not in ended.out
    assert (ended.code, state(service)) == (0, "closed")


def test_one_instance_is_reset_without_asking(service: ServiceProcess) -> None:
    ended = on_terminal(service.url, "reset", ID)

    assert (ended.code, ended.out) == (0, f"{ID}: closed; it was forced_open.\n")


# ---------------------------------------------------------------------------- being cut short


@pytest.mark.parametrize("words", [["policy"], ["status", "--json"], ["--help"], ["token", "-h"]])
def test_a_reader_that_has_enough_is_no_error(service: ServiceProcess, words: list[str]) -> None:
    with start(service.url, *words) as process:
        assert process.stdout
        assert process.stderr
        process.stdout.close()

        assert process.stderr.read() == ""
        assert process.wait(60) == 0


def test_a_full_disk_is_said_in_one_line(service: ServiceProcess) -> None:
    with Path("/dev/full").open("w") as full, start(service.url, "health", out=full) as process:
        assert process.stderr

        assert process.stderr.read() == "sekring: No space left on device.\n"
        assert process.wait(60) == 1


def test_ctrl_c_ends_it_with_130_and_no_traceback() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        silent.settimeout(60)
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        with start(url, "health") as process:
            connection, _ = silent.accept()
            process.send_signal(signal.SIGINT)
            out, err = process.communicate(timeout=60)
        connection.close()

    assert (process.returncode, out, err) == (130, "", "")
