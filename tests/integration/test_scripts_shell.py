"""The shell scripts, started as a user starts them."""

import http.server
import os
import shutil
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

REPOSITORY: Final = Path(__file__).parents[2]
RESET: Final = REPOSITORY / "scripts" / "reset-circuit-breaker.sh"


class Answering(http.server.ThreadingHTTPServer):
    """Answers every POST with what a test put here, and keeps what it was sent."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.answers = [(200, b"{}")]
        self.seen: list[tuple[str, str | None]] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class Handler(http.server.BaseHTTPRequestHandler):
    server: Answering

    def do_POST(self) -> None:
        self.server.seen.append((self.path, self.headers["Authorization"]))
        answers = self.server.answers
        status, body = answers.pop(0) if len(answers) > 1 else answers[0]
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def service() -> Iterator[Answering]:
    with Answering() as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def reset(*instance_ids: str, **environ: str) -> subprocess.CompletedProcess[str]:
    """Run the script with nothing of this process's environment but PATH."""
    return subprocess.run(
        [RESET, *instance_ids],
        env={"PATH": os.environ["PATH"], **environ},
        capture_output=True,
        text=True,
        check=False,
    )


# --------------------------------------------------------------------------- the reset script


def test_a_reset_prints_the_services_sentence(service: Answering) -> None:
    service.answers = [(200, b'{"status":"success","message":"Circuit breaker of a was reset"}')]

    done = reset("a", SEKRING_URL=service.url + "/")

    assert (done.returncode, done.stdout, done.stderr) == (
        0,
        "Circuit breaker of a was reset\n",
        "",
    )
    assert service.seen == [("/reset-circuit-breaker/a", None)]


def test_several_instances_are_reset_in_turn(service: Answering) -> None:
    done = reset("a", "b", "c", SEKRING_URL=service.url)

    assert done.returncode == 0
    assert done.stdout.splitlines() == [
        f"The circuit breaker of {name} was reset." for name in "abc"
    ]
    assert [path for path, _ in service.seen] == [
        f"/reset-circuit-breaker/{name}" for name in "abc"
    ]


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b'{"status":"error","message":"A ban is in force"}', "A ban is in force"),
        (b'{"title":"Forbidden","status":403,"detail":"Needs \\"operator\\""}', 'Needs "operator"'),
        (b'{"title": "Forbidden"}', "Forbidden"),
        (b"<html>", "the service gave no reason"),
    ],
)
def test_a_refusal_carries_the_services_own_message(
    service: Answering, body: bytes, said: str
) -> None:
    service.answers = [(403, body)]

    done = reset("a", SEKRING_URL=service.url)

    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == f"a was not reset (HTTP 403): {said}\n"


def test_a_refused_instance_does_not_stop_the_others(service: Answering) -> None:
    service.answers = [(409, b'{"message":"no"}'), (200, b'{"message":"done"}')]

    done = reset("a", "b", SEKRING_URL=service.url)

    assert (done.returncode, done.stdout) == (1, "done\n")


@pytest.mark.parametrize("token", ["plain", 'with"quote', "with\\backslash", "with#hash"])
def test_the_token_is_sent_as_it_is(service: Answering, token: str) -> None:
    reset("a", SEKRING_URL=service.url, SEKRING_TOKEN=token)

    assert service.seen == [("/reset-circuit-breaker/a", f"Bearer {token}")]


def test_a_token_that_would_add_a_line_is_refused(service: Answering) -> None:
    done = reset("a", SEKRING_URL=service.url, SEKRING_TOKEN='x"\nurl = "http://elsewhere')

    assert done.returncode == 2
    assert "SEKRING_TOKEN" in done.stderr
    assert service.seen == []


def test_the_token_is_on_no_command_line(tmp_path: Path) -> None:
    spy = tmp_path / "curl"
    spy.write_text(f'#!/bin/sh\nprintf "%s\\n" "$@" >"{tmp_path}/arguments"\nprintf 200\n')
    spy.chmod(0o755)

    reset("a", PATH=f"{tmp_path}:{os.environ['PATH']}", SEKRING_TOKEN="hunter2")

    arguments = (tmp_path / "arguments").read_text()
    assert "http://localhost:8000/reset-circuit-breaker/a" in arguments
    assert "hunter2" not in arguments


@pytest.mark.parametrize(
    ("instance_id", "path"),
    [
        ("62811.a_b:c@d-e", "62811.a_b%3Ac%40d-e"),
        ("../v1/resets", "..%2Fv1%2Fresets"),
        ("a?b#c", "a%3Fb%23c"),
        ("a b", "a%20b"),
        ("[1-3]{a,b}", "%5B1-3%5D%7Ba%2Cb%7D"),
        ("é", "%C3%A9"),
        ("50%", "50%25"),
    ],
)
def test_an_instance_id_cannot_name_another_path(
    service: Answering, instance_id: str, path: str
) -> None:
    reset(instance_id, SEKRING_URL=service.url)

    assert [seen for seen, _ in service.seen] == [f"/reset-circuit-breaker/{path}"]


def test_an_instance_id_may_begin_with_a_dash_after_two(service: Answering) -> None:
    assert reset("--", "-a", SEKRING_URL=service.url).returncode == 0
    assert [path for path, _ in service.seen] == ["/reset-circuit-breaker/-a"]


def test_a_service_that_is_not_there_is_said_plainly(service: Answering) -> None:
    url = service.url
    service.shutdown()
    service.server_close()

    done = reset("a", SEKRING_URL=url)

    assert (done.returncode, done.stdout) == (3, "")
    assert f"Sekring could not be reached at {url}" in done.stderr
    assert "scripts/serve" in done.stderr


@pytest.mark.parametrize("arguments", [(), ("",), ("--",), ("--force", "a")])
def test_wrong_usage_prints_the_usage(arguments: tuple[str, ...]) -> None:
    done = reset(*arguments)

    assert (done.returncode, done.stdout) == (2, "")
    assert "Usage: reset-circuit-breaker.sh INSTANCE_ID..." in done.stderr


@pytest.mark.parametrize("option", ["-h", "--help"])
def test_help_goes_to_stdout(option: str) -> None:
    done = reset(option)

    assert (done.returncode, done.stderr) == (0, "")
    for name in ("INSTANCE_ID", "SEKRING_URL", "SEKRING_TOKEN", "Exit status"):
        assert name in done.stdout


# ---------------------------------------------------------------------------- serve and test


def clone_without_environment(folder: Path) -> Path:
    shutil.copytree(REPOSITORY / "scripts", folder / "scripts")
    for name in ("pyproject.toml", "requirements.lock"):
        shutil.copy(REPOSITORY / name, folder)
    return folder


def folder_of_programs(folder: Path, *names: str) -> Path:
    folder.mkdir()
    for name in names:
        program = shutil.which(name)
        assert program is not None
        (folder / name).symlink_to(program)
    return folder


@pytest.mark.parametrize("script", ["serve", "test"])
def test_without_any_python_it_says_which_is_needed(tmp_path: Path, script: str) -> None:
    clone = clone_without_environment(tmp_path / "clone")
    programs = folder_of_programs(
        tmp_path / "bin", "bash", "cat", "cksum", "dirname", "basename", "readlink", "mktemp", "rm"
    )

    done = subprocess.run(
        [clone / "scripts" / script],
        env={"PATH": str(programs)},
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 1
    assert "needs Python 3.11 or newer" in done.stderr
    assert "apt-get install python3" in done.stderr


def test_a_python_without_venv_is_told_how_to_get_it(tmp_path: Path) -> None:
    clone = clone_without_environment(tmp_path / "clone")
    programs = folder_of_programs(
        tmp_path / "bin", "bash", "cat", "cksum", "dirname", "basename", "readlink"
    )
    # As on a Debian without python3-venv: new enough, but the import fails.
    stub = programs / "python3"
    stub.write_text('#!/bin/sh\ncase "$2" in *ensurepip*) exit 1 ;; esac\nexit 0\n')
    stub.chmod(0o755)

    done = subprocess.run(
        [clone / "scripts" / "serve"],
        env={"PATH": str(programs)},
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 1
    assert "python3-venv" in done.stderr
    assert not (clone / ".venv").exists()
