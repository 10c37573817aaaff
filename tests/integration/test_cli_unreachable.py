"""The command line where no Sekring answers: one line that names the URL and what to check."""

import contextlib
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.commands import Here
from tests.servers import RedisServer, free_port
from tests.serving import ServiceProcess

ID = "6281234567890"
NOTHING_THERE = f"http://127.0.0.1:{free_port()}"


@pytest.fixture
def sekring(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Here:
    return Here(NOTHING_THERE, monkeypatch, capsys)


@contextlib.contextmanager
def answering(answer: bytes | None) -> Iterator[str]:
    """Give the URL of a server that answers every connection with these bytes, or never."""
    kept = []
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            while True:
                try:
                    connection, _ = server.accept()
                except OSError:
                    return
                if answer is None:
                    kept.append(connection)
                    continue
                with connection:
                    connection.recv(65_536)
                    connection.sendall(answer)

        thread = threading.Thread(target=serve)
        thread.start()
        yield f"http://127.0.0.1:{server.getsockname()[1]}"
        server.shutdown(socket.SHUT_RDWR)
    thread.join()
    for connection in kept:
        connection.close()


def http(status: str, media_type: str, body: str, *headers: str) -> bytes:
    head = [f"HTTP/1.1 {status}", f"Content-Type: {media_type}", f"Content-Length: {len(body)}"]
    return "\r\n".join([*head, *headers, "", body]).encode()


@pytest.mark.parametrize(
    "words",
    [
        ["status"],
        ["status", ID],
        ["status", "--json"],
        ["reset", ID],
        ["reset", ID, "other"],
        ["reset", "--all", "--yes"],
        ["trip", ID, "--reason", "x"],
        ["disable", ID, "--reason", "x"],
        ["policy"],
        ["policy", "set", "probes=1"],
        ["policy", "unset", "--instance", ID],
        ["history", ID],
        ["health"],
    ],
    ids=" ".join,
)
def test_every_command_says_that_nothing_listens_and_exits_3(
    sekring: Here, words: list[str]
) -> None:
    ended = sekring(*words)

    assert (ended.code, ended.out) == (3, "")
    assert ended.err == (
        f"sekring: Nothing listens at {NOTHING_THERE}. Is Sekring running? "
        "Start it with `sekring serve`, or set SEKRING_URL to where it is.\n"
    )


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (
            http("502 Bad Gateway", "text/html; charset=utf-8", "<html>"),
            "answered 502 Bad Gateway, and not as Sekring does (text/html): check SEKRING_URL",
        ),
        (http("200 OK", "text/html", "<html>"), "answered 200 OK, and not as Sekring does"),
        (http("404 Not Found", "application/json", '{"detail":"Not Found"}'), "not as Sekring"),
        (http("401 Unauthorized", "text/plain", "no"), "answered 401 Unauthorized, and not as"),
        (http("204 No Content", "text/plain", ""), "answered 204 No Content, and not as Sekring"),
        (http("500 Oops", "application/problem+json", "[1]"), "answered 500 Oops, and not as"),
        (http("500 Oops", "application/problem+json", "{}"), "answered 500 Oops, and not as"),
        (
            http("200 OK", "application/json", '{"status": "ok"}'),
            "check SEKRING_URL and that command and service have the same version",
        ),
        (
            b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 1\r\n\r\n\xff",
            "answered 200 OK, and not as Sekring does",
        ),
        (
            http("301 Moved", "text/html", "", "Location: https://breaker.example/"),
            "redirects to https://breaker.example/: set SEKRING_URL",
        ),
        (b"SSH-2.0-OpenSSH_9.2\r\n", "does not answer in HTTP"),
        (b"", "does not answer in HTTP"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{", "does not answer in HTTP"),
    ],
)
def test_what_is_not_sekring_is_told_with_what_to_check(
    sekring: Here, answer: bytes, said: str
) -> None:
    with answering(answer) as url:
        ended = sekring("health", "--url", url)

    assert (ended.code, ended.out) == (3, "")
    assert ended.err.startswith(f"sekring: {url} ")
    assert said in ended.err
    assert ended.err.count("\n") == 1


def test_what_a_stranger_writes_cannot_steer_the_terminal(sekring: Here) -> None:
    answer = http("400 Bad", "application/problem+json", r'{"detail":"\u001b[2Jgone"}')

    with answering(answer) as url:
        ended = sekring("health", "--url", url)

    assert (ended.code, ended.err) == (1, "sekring: \\x1b[2Jgone\n")


def test_who_does_not_answer_is_given_up(sekring: Here) -> None:
    with answering(None) as url:
        ended = sekring("health", "--url", url, "--timeout", "200ms")

    assert (ended.code, ended.out) == (3, "")
    assert ended.err == (
        f"sekring: {url} gave no answer within 0.2 s; is it overloaded, or not Sekring?\n"
    )


def test_a_host_that_nobody_knows_is_named(sekring: Here) -> None:
    ended = sekring("health", "--url", "http://breaker.invalid:8000")

    assert ended.code == 3
    assert "the host name breaker.invalid is not known; check SEKRING_URL" in ended.err


def test_tls_where_there_is_none_is_said(sekring: Here) -> None:
    with answering(http("400 Bad Request", "text/plain", "")) as url:
        secure = url.replace("http:", "https:")
        ended = sekring("health", "--url", secure)

    assert ended.code == 3
    assert ended.err.startswith(f"sekring: {secure}: the TLS connection failed (")
    assert "Is it https there?" in ended.err


def test_a_url_that_is_none_exits_2_and_nothing_is_sent(sekring: Here) -> None:
    ended = sekring("health", SEKRING_URL="localhost:8000")

    assert (ended.code, ended.out) == (2, "")
    assert "Did you mean http://localhost:8000?" in ended.err


def test_a_service_without_its_redis_answers_not_now(sekring: Here, tmp_path: Path) -> None:
    with RedisServer(tmp_path) as redis, ServiceProcess(redis.url) as service:
        redis.kill()
        ended = sekring("reset", ID, "--url", service.url, "--json")

    assert (ended.code, ended.json["status"]) == (3, 503)
    assert ended.err == f"sekring: {ended.json['detail']}\n"
