"""`sekring health --every`, and the guide's own `watch` with `curl` and `jq`."""

import shutil
import signal
import subprocess
from collections.abc import Iterator

import msgspec
import pytest

from tests.commands import Terminal, in_pipe, start
from tests.replicas import Replica
from tests.servers import RedisServer, free_port

ID = "6281234567890"


@pytest.fixture
def service(redis_server: RedisServer) -> Iterator[Replica]:
    with Replica(redis_server.url) as service:
        yield service


def test_it_goes_on_by_itself_until_ctrl_c(service: Replica) -> None:
    with Terminal(service.url, "health", "--every", "100ms") as terminal:
        terminal.sees("100 of 100")
        service.fail(ID, 15)
        terminal.sees("50 of 100")
        terminal.process.send_signal(signal.SIGINT)

        assert terminal.ended() == 130
        assert "Traceback" not in terminal.written


def test_it_says_that_the_service_is_away_and_goes_on_when_it_is_back(service: Replica) -> None:
    with Terminal(service.url, "health", "--every", "100ms") as terminal:
        terminal.sees("100 of 100")
        service.kill()
        terminal.sees("Nothing listens at")
        service.start()
        service.fail(ID, 15)
        terminal.sees("50 of 100")


def test_a_program_gets_a_document_each_time(service: Replica) -> None:
    with start(service.url, "health", "--every", "50ms", "--json") as process:
        assert process.stdout
        documents = [msgspec.json.decode(process.stdout.readline()) for _ in range(3)]
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == 130

    assert [document["data"]["health_score"] for document in documents] == [100] * 3


@pytest.mark.parametrize("words", ["0s", "5", "soon"])
def test_what_is_no_time_is_refused(words: str) -> None:
    ended = in_pipe(f"http://127.0.0.1:{free_port()}", "health", "--every", words)

    assert ended.code == 2
    assert f"'{words}' is no length of time" in ended.err


def test_what_the_guide_gives_to_watch_works(service: Replica) -> None:
    needed = ("watch", "curl", "jq")
    missing = [name for name in needed if shutil.which(name) is None]
    if missing:
        pytest.skip(f"{', '.join(missing)} is missing")
    piped = f"curl -s {service.url}/health | jq .data.health_score"
    shown = subprocess.run(["sh", "-c", piped], capture_output=True, text=True, check=True)

    assert shown.stdout == "100\n"
